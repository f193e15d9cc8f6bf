package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// wrongStores have one fault each. want names the check that must find it.
var wrongStores = []struct {
	name string
	want string
	wrap func(right *mem.Store) durable.Store
}{
	{"ignores epochs", "Fencing", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Epoch < head.Epoch {
				own.Epoch, own.Seq = head.Epoch, head.Seq+1
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"takes a delayed duplicate for a new commit", "Order", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Epoch == head.Epoch && c.Seq > 0 && c.Seq < head.Seq {
				own.Seq = head.Seq + 1
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"says yes to a delayed duplicate", "Order", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			if c.Epoch == head.Epoch && c.Seq > 0 && c.Seq < head.Seq {
				return durable.Receipt{}, nil
			}
			return s.Commit(context.Background(), c)
		}}
	}},
	{"accepts gaps", "Order", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Epoch == head.Epoch && c.Seq > head.Seq+1 {
				own.Seq = head.Seq + 1
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"loses a write", "Commit/Head", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Seq == 2 {
				own.Entries = nil
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"lets leases fence", "TimeNeverDecidesSafety", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			if head.Status == durable.StatusRunning && c.Now.After(head.Lease) {
				return durable.Receipt{}, durable.ErrFenced
			}
			return s.Commit(context.Background(), c)
		}}
	}},
	{"forgets its own commit", "OwnWrite/Commit", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			if c.Epoch == head.Epoch && c.Seq == head.Seq && head.Status == durable.StatusRunning {
				return durable.Receipt{}, durable.ErrFenced
			}
			return s.Commit(context.Background(), c)
		}}
	}},
	{"forgets its own last commit", "OwnWrite/LastCommit", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			if head.Status.Ended() {
				return durable.Receipt{}, durable.ErrEnded
			}
			return s.Commit(context.Background(), c)
		}}
	}},
	{"forgets its own create", "OwnWrite/Create", func(s *mem.Store) durable.Store { return &forgetful{Store: s, create: true} }},
	{"forgets its own claim", "OwnWrite/Claim", func(s *mem.Store) durable.Store { return &forgetful{Store: s, claim: true} }},
	{"forgets its own delivery", "OwnWrite/Deliver", func(s *mem.Store) durable.Store { return &forgetful{Store: s, deliver: true} }},
	{"drops a wake-up", "NoLostWakeup/Deliver", func(s *mem.Store) durable.Store {
		return &deaf{Store: s, slept: map[string]time.Time{}}
	}},
	{"suspends whatever waits", "NoLostWakeup/IfSeen", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			own.IfSeen = false
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"keeps deliveries from its owner", "NoLostWakeup/Deliver", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			_, err := s.Commit(context.Background(), c)
			return durable.Receipt{}, err
		}}
	}},
	{"forgets who won once the inbox drained", "FirstDeliveryWins", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			err := s.Deliver(context.Background(), d)
			if errors.Is(err, durable.ErrDelivered) && len(head.Inbox) == 0 {
				return nil
			}
			return err
		}}
	}},
	{"does not name the winner", "FirstDeliveryWins", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, _ *durable.Record) error {
			err := s.Deliver(context.Background(), d)
			if errors.Is(err, durable.ErrDelivered) {
				return durable.ErrDelivered
			}
			return err
		}}
	}},
	{"lets a delivery fence the owner", "OwnWrite/Apart", func(s *mem.Store) durable.Store {
		return &touchy{Store: s, touched: map[string]int64{}}
	}},
	{"delivers after the end", "NothingAfterTheEnd", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			if head.Status.Ended() {
				return nil
			}
			return s.Deliver(context.Background(), d)
		}}
	}},
	{"commits after the end", "NothingAfterTheEnd", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			if head.Status.Ended() {
				return durable.Receipt{}, nil
			}
			return s.Commit(context.Background(), c)
		}}
	}},
	{"delivers to what is not open", "Callback", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, _ *durable.Record) error {
			err := s.Deliver(context.Background(), d)
			if errors.Is(err, durable.ErrNotOpen) {
				return nil
			}
			return err
		}}
	}},
	{"never drains", "InboxDrains", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			own.Seen = 0
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"has no room for a cancel", "InboxFull", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			if len(head.Inbox) >= durable.MaxInbox && d.Kind == durable.DeliverCancel {
				return durable.ErrInboxFull
			}
			return s.Deliver(context.Background(), d)
		}}
	}},
	{"takes verbs for any revision", "Verb", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			own := *d
			own.Revision = head.Revision
			return s.Deliver(context.Background(), &own)
		}}
	}},
	{"forgets who had it", "Claim/Host", func(s *mem.Store) durable.Store { return &ownerless{s} }},
	{"lets two owners in", "Claim/NotDue", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, head *durable.Record) (*durable.Record, error) {
			own := *c
			if head.Status == durable.StatusRunning && own.Now.Before(head.Lease) {
				own.Now = head.Lease
			}
			return s.Claim(context.Background(), &own)
		}}
	}},
	{"gives the claim away twice at once", "Race/Claims", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, head *durable.Record) (*durable.Record, error) {
			rec, err := s.Claim(context.Background(), c)
			if errors.Is(err, durable.ErrNotDue) && head.Status == durable.StatusRunning && head.Activations == 1 && head.Revision == 0 {
				return head, nil
			}
			return rec, err
		}}
	}},
	{"counts no crashes", "Claim/Poison", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, _ *durable.Record) (*durable.Record, error) {
			rec, err := s.Claim(context.Background(), c)
			if err == nil {
				rec.Crashes = 0
			}
			return rec, err
		}}
	}},
	{"takes a lease's end for a death", "Claim/SafeEpoch", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, head *durable.Record) (*durable.Record, error) {
			if head.Status == durable.StatusRunning && !head.Lease.After(c.Now) {
				s.KillOwner(head.Owner)
			}
			return s.Claim(context.Background(), c)
		}}
	}},
	{"shows half of what is due", "Due/Pages", func(s *mem.Store) durable.Store { return &halfBlind{s} }},
	{"cuts payloads at 400 KB", "BigPayloads", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			own.Result = c.Result[:min(len(c.Result), 400<<10)]
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"loses the trace on the way to an owner", "Create/Extras", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, _ *durable.Record) (*durable.Record, error) {
			rec, err := s.Claim(context.Background(), c)
			if err == nil {
				rec.Trace = nil
			}
			return rec, err
		}}
	}},
	{"cuts what a record is born with", "Create/Copied", func(s *mem.Store) durable.Store { return &cutting{s} }},
	{"keeps what a new journal drops", "Commit/Anew", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			own.Anew = false
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"counts its revision by what is left", "Commit/Anew", func(s *mem.Store) durable.Store { return &recounting{s} }},
	{"begins anew again", "OwnWrite/Anew", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, head *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Anew && c.Epoch == head.Epoch && c.Seq <= head.Seq {
				own.Seq = head.Seq + 1
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"remembers for an heir what was dropped", "Race/Anew", func(s *mem.Store) durable.Store {
		return &hoarding{Store: s, dropped: map[string][]durable.Entry{}}
	}},
	{"takes signals for callbacks", "Signal", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, _ *durable.Record) error {
			own := *d
			if d.Kind == durable.DeliverSignal {
				own.Kind = durable.DeliverCallback
			}
			return s.Deliver(context.Background(), &own)
		}}
	}},
	{"sleeps through signals", "NoLostWakeup/Signal", func(s *mem.Store) durable.Store {
		return &deaf{Store: s, only: durable.DeliverSignal, slept: map[string]time.Time{}}
	}},
	{"has room for every signal", "InboxFull/Signals", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			own := *d
			if d.Kind == durable.DeliverSignal && len(head.Inbox) >= durable.MaxInbox {
				own.Kind = durable.DeliverCancel
			}
			return s.Deliver(context.Background(), &own)
		}}
	}},
	{"goes on after a termination", "NothingAfterTheEnd", func(s *mem.Store) durable.Store {
		return &onDeliver{s, func(d *durable.Delivery, head *durable.Record) error {
			if head.Status == durable.StatusTerminated {
				return nil
			}
			return s.Deliver(context.Background(), d)
		}}
	}},
	{"shows who runs like who waits", "Due/Statuses", func(s *mem.Store) durable.Store { return &levelling{s} }},
	{"forgets when it may forget", "Due/Ended", func(s *mem.Store) durable.Store {
		return &onCommit{s, func(c *durable.Commit, _ *durable.Record) (durable.Receipt, error) {
			own := *c
			if c.Status.Ended() {
				own.Due = time.Time{}
			}
			return s.Commit(context.Background(), &own)
		}}
	}},
	{"lets everything be claimed that is due", "Due/Ended", func(s *mem.Store) durable.Store {
		return &onClaim{s, func(c *durable.Claim, head *durable.Record) (*durable.Record, error) {
			if head.Status.Ended() && !head.Due.IsZero() && !head.Due.After(c.Now) {
				return head, nil
			}
			return s.Claim(context.Background(), c)
		}}
	}},
	{"looks for tags on the first page", "List/Tags", func(s *mem.Store) durable.Store { return &sieve{s} }},
	{"takes a span's end in", "List/Created", func(s *mem.Store) durable.Store { return &inclusive{s} }},
	{"takes what goes on for ended before any time", "List/Ended", func(s *mem.Store) durable.Store { return &unended{s} }},
	{"hands out its own memory", "Isolation", func(s *mem.Store) durable.Store {
		return &sharing{Store: s, records: map[string]durable.Record{}}
	}},
}

// serial makes a wrong store wrong in one way only: it has no data races.
type serial struct {
	mu    sync.Mutex
	store durable.Store
}

func (s *serial) Create(ctx context.Context, c *durable.Create) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Create(ctx, c)
}

func (s *serial) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Claim(ctx, c)
}

func (s *serial) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Commit(ctx, c)
}

func (s *serial) Deliver(ctx context.Context, d *durable.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Deliver(ctx, d)
}

func (s *serial) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Load(ctx, id, what)
}

func (s *serial) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Due(ctx, q)
}

func (s *serial) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.List(ctx, q)
}

func (s *serial) Delete(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Delete(ctx, id)
}

// onCommit, onClaim and onDeliver replace one method by a function that also
// gets the record as it is before the call.
type onCommit struct {
	*mem.Store
	commit func(c *durable.Commit, before *durable.Record) (durable.Receipt, error)
}

func (s *onCommit) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	before, err := s.Load(ctx, c.ID, durable.LoadAll)
	if err != nil {
		return durable.Receipt{}, err
	}
	return s.commit(c, before)
}

type onClaim struct {
	*mem.Store
	claim func(c *durable.Claim, before *durable.Record) (*durable.Record, error)
}

func (s *onClaim) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	before, err := s.Load(ctx, c.ID, durable.LoadAll)
	if err != nil {
		return nil, err
	}
	return s.claim(c, before)
}

type onDeliver struct {
	*mem.Store
	deliver func(d *durable.Delivery, before *durable.Record) error
}

func (s *onDeliver) Deliver(ctx context.Context, d *durable.Delivery) error {
	before, err := s.Load(ctx, d.ID, durable.LoadAll)
	if err != nil {
		return err
	}
	return s.deliver(d, before)
}
