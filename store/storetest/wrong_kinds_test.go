package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// The wrong stores that are wrong in more than one call, or remember.

// forgetful answers a repeat as if it were somebody else's call.
type forgetful struct {
	*mem.Store
	create, claim, deliver bool
}

func (s *forgetful) Create(ctx context.Context, c *durable.Create) error {
	if _, err := s.Load(ctx, c.ID, durable.LoadHead); err == nil && s.create {
		return durable.ErrExists
	}
	return s.Store.Create(ctx, c)
}

func (s *forgetful) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	if rec, err := s.Load(ctx, c.ID, durable.LoadHead); err == nil && s.claim && rec.Owner == c.Owner {
		return nil, durable.ErrNotDue
	}
	return s.Store.Claim(ctx, c)
}

func (s *forgetful) Deliver(ctx context.Context, d *durable.Delivery) error {
	before, err := s.Load(ctx, d.ID, durable.LoadHead)
	if err != nil || !s.deliver || d.Kind == durable.DeliverHeartbeat {
		return s.Store.Deliver(ctx, d)
	}
	err = s.Store.Deliver(ctx, d)
	if after, _ := s.Load(ctx, d.ID, durable.LoadHead); err == nil && after != nil && after.Delivered == before.Delivered {
		return &durable.DeliveredError{Key: d.Key, Winner: d.Nonce}
	}
	return err
}

// deaf lets suspended records sleep on when something arrives, or only when
// something of one kind does: until slept, which is what was due before.
type deaf struct {
	*mem.Store
	only  durable.DeliveryKind
	slept map[string]time.Time
}

func (s *deaf) Deliver(ctx context.Context, d *durable.Delivery) error {
	before, err := s.Load(ctx, d.ID, durable.LoadHead)
	if err != nil {
		return err
	}
	heard := s.only != 0 && s.only != d.Kind
	if _, known := s.slept[d.ID]; !known && !heard && before.Status == durable.StatusSuspended {
		s.slept[d.ID] = before.Due
	}
	return s.Store.Deliver(ctx, d)
}

func (s *deaf) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := s.Store.Load(ctx, id, what)
	if due, ok := s.slept[id]; ok && err == nil && rec.Status == durable.StatusSuspended {
		rec.Due = due
	}
	return rec, err
}

func (s *deaf) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := s.Load(ctx, c.ID, durable.LoadHead)
	if err == nil && rec.Status == durable.StatusSuspended && (rec.Due.IsZero() || rec.Due.After(c.Now)) {
		return nil, durable.ErrNotDue
	}
	return s.Store.Claim(ctx, c)
}

// touchy numbers deliveries and commits from one counter: the commit after a
// delivery has the wrong number.
type touchy struct {
	*mem.Store
	touched map[string]int64 // epoch at the last delivery
}

func (s *touchy) Deliver(ctx context.Context, d *durable.Delivery) error {
	err := s.Store.Deliver(ctx, d)
	if rec, loadErr := s.Load(ctx, d.ID, durable.LoadHead); err == nil && loadErr == nil {
		s.touched[d.ID] = rec.Epoch
	}
	return err
}

func (s *touchy) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if epoch, ok := s.touched[c.ID]; ok && epoch == c.Epoch {
		return durable.Receipt{}, durable.ErrFenced
	}
	return s.Store.Commit(ctx, c)
}

// halfBlind has pages, but loses the one after the first.
type halfBlind struct{ *mem.Store }

func (s *halfBlind) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	page, err := s.Store.Due(ctx, q)
	if q.Cursor == "" && page.Next != "" {
		skipped, err := s.Store.Due(ctx, &durable.DueQuery{
			Definition: q.Definition, Version: q.Version, Now: q.Now, Limit: q.Limit, Cursor: page.Next,
		})
		page.Next = skipped.Next
		return page, err
	}
	return page, err
}

// ownerless drops the owner with the claim.
type ownerless struct{ *mem.Store }

func (s *ownerless) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := s.Store.Load(ctx, id, what)
	if err == nil && rec.Status != durable.StatusRunning {
		rec.Owner = ""
	}
	return rec, err
}

// levelling tells nobody apart who is due.
type levelling struct{ *mem.Store }

func (s *levelling) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	page, err := s.Store.Due(ctx, q)
	for i := range page.Entries {
		page.Entries[i].Running = false
	}
	return page, err
}

// cutting has room for a thousand entries of what a record is born with.
type cutting struct{ *mem.Store }

func (s *cutting) Create(ctx context.Context, c *durable.Create) error {
	if c.First == nil || len(c.First.Entries) <= 1000 {
		return s.Store.Create(ctx, c)
	}
	own, first := *c, *c.First
	first.Entries = first.Entries[:1000]
	own.First = &first
	return s.Store.Create(ctx, &own)
}

// recounting takes the length of the journal for its revision.
type recounting struct{ *mem.Store }

func (s *recounting) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := s.Store.Load(ctx, id, what)
	if err == nil && what == durable.LoadAll {
		rec.Revision = int64(len(rec.Journal))
	}
	return rec, err
}

// hoarding gives the next owner what a new journal has dropped.
type hoarding struct {
	*mem.Store
	dropped map[string][]durable.Entry
}

func (s *hoarding) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	before, _ := s.Load(ctx, c.ID, durable.LoadAll)
	receipt, err := s.Store.Commit(ctx, c)
	if err == nil && c.Anew && before != nil {
		s.dropped[c.ID] = before.Journal
	}
	return receipt, err
}

func (s *hoarding) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	if err == nil {
		rec.Journal = append(s.dropped[c.ID], rec.Journal...)
	}
	return rec, err
}

// sieve filters by tags what is on a page, and takes one on which little is
// left for the last.
type sieve struct{ *mem.Store }

func (s *sieve) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	own := *q
	own.Tags = nil
	page, err := s.Store.List(ctx, &own)
	n := len(page.Heads)
	page.Heads = slices.DeleteFunc(page.Heads, func(h durable.Head) bool { return !q.Matches(&h) })
	if len(page.Heads) < n {
		page.Next = ""
	}
	return page, err
}

// inclusive takes To for the last instant of the span.
type inclusive struct{ *mem.Store }

func (s *inclusive) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	own := *q
	if !q.To.IsZero() {
		own.To = q.To.Add(1)
	}
	return s.Store.List(ctx, &own)
}

// unended takes the missing end of what goes on for the earliest.
type unended struct{ *mem.Store }

func (s *unended) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	own := *q
	own.EndedFrom, own.EndedTo = time.Time{}, time.Time{}
	page, err := s.Store.List(ctx, &own)
	page.Heads = slices.DeleteFunc(page.Heads, func(h durable.Head) bool {
		return h.Ended.Before(q.EndedFrom) || !q.EndedTo.IsZero() && !h.Ended.Before(q.EndedTo)
	})
	return page, err
}

// sharing keeps what it loaded and hands it out again, the same slices every
// time.
type sharing struct {
	*mem.Store
	records map[string]durable.Record
}

func (s *sharing) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := s.Store.Load(ctx, id, what)
	if err != nil || what == durable.LoadHead {
		return rec, err
	}
	kept, ok := s.records[id]
	if !ok || kept.Epoch != rec.Epoch || kept.Seq != rec.Seq || kept.Delivered != rec.Delivered {
		s.records[id] = *rec
		return rec, nil
	}
	rec.Journal, rec.Inbox, rec.Park = kept.Journal, kept.Inbox, kept.Park
	return rec, nil
}
