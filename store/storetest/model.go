package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// walk makes the same random calls on a store and on the oracle. It looks at
// the oracle to choose calls that mostly make sense.
type walk struct {
	*kit
	rand   *rand.Rand
	oracle oracle
	now    time.Time
	count  int    // makes names that were never used
	sent   []call // to be sent again
	log    []string
}

// call is one call with its arguments fixed, and its answer as text.
type call struct {
	id, text string
	do       func(s durable.Store) string
}

// recent is how many of the last calls a failure prints.
const recent = 25

// model returns the calls it made, each followed by a look at its record.
func model(k *kit, seed uint64, ops int) (log []string) {
	k.Helper()
	w := &walk{kit: k, rand: rand.New(rand.NewPCG(seed, 0)), oracle: oracle{}, now: at(0)}
	for range ops {
		// A clock that runs on, and sometimes is somebody else's.
		w.now = w.now.Add(time.Duration(w.rand.IntN(12)-2) * time.Second)
		c := w.next()
		if len(w.sent) > 0 && w.chance(25) {
			c = w.sent[len(w.sent)-1-w.rand.IntN(min(len(w.sent), 20))]
		}
		w.sent = append(w.sent, c)
		w.compare(seed, c)
		w.compare(seed, w.look(c.id))
	}
	return w.log
}

func (w *walk) compare(seed uint64, c call) {
	w.Helper()
	want := c.do(w.oracle)
	got := c.do(w.store)
	w.log = append(w.log, fmt.Sprintf("%s\n\t= %s", c.text, want))
	if got != want {
		w.Fatalf("seed %d, after\n%s\n got %s", seed, strings.Join(w.log[max(0, len(w.log)-recent):], "\n"), got)
	}
}

// answer is what a call gave, as text: all that matters of an error is which
// one it is.
func answer(v any, err error) string {
	var lost *durable.DeliveredError
	if errors.As(err, &lost) {
		return fmt.Sprintf("delivered: %q by %q", lost.Key, lost.Winner)
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			err = sentinel
		}
	}
	if err != nil && err != durable.ErrUnseen {
		v = nil
	}
	if rec, ok := v.(*durable.Record); ok && rec != nil {
		own := *rec
		own.Heartbeats = nil // those of closed callbacks are a store's own
		v = &own
	}
	return fmt.Sprintf("%s, %v", show(v), err)
}

// look reads what a call may have changed.
func (w *walk) look(id string) call {
	now, definition, head := w.now, w.definition(id), w.rand.IntN(4) == 0
	k := *w.kit
	return call{id: id, text: "look at " + id, do: func(s durable.Store) string {
		k.store = s
		what := durable.LoadAll
		if head {
			what = durable.LoadHead
		}
		rec, err := s.Load(k.ctx, id, what)
		if head && err == nil && rec.Status == durable.StatusRunning {
			own := *rec
			own.Revision, own.Seq = 0, 0 // may lag
			rec = &own
		}
		ids, later := k.walkDue(&durable.DueQuery{Definition: definition, Version: "1", Now: now, Limit: 2})
		heads := idsOf(k.listAll(&durable.ListQuery{Definition: definition, Limit: 2}))
		tagged := idsOf(k.listAll(&durable.ListQuery{Definition: definition, Tags: map[string]string{"colour": "red"}, To: now, Limit: 2}))
		return fmt.Sprint(answer(rec, err), "\n\tdue ", show(ids), " later ", show(later), " heads ", show(heads), " tagged ", show(tagged))
	}}
}

func (w *walk) definition(id string) string { return "def" + id[:1] }

func (w *walk) name(prefix string) string {
	w.count++
	return fmt.Sprintf("%s%d", prefix, w.count)
}

// chance is true p times in a hundred.
func (w *walk) chance(p int) bool { return w.rand.IntN(100) < p }

func pick[T any](w *walk, from ...T) T { return from[w.rand.IntN(len(from))] }

// next makes a call.
func (w *walk) next() call {
	id := pick(w, "a1", "a2", "b1")
	s := w.oracle[id]
	if s == nil {
		if w.chance(90) {
			return w.nextCreate(id)
		}
		s = &sheet{}
	}
	running := s.Status == durable.StatusRunning
	switch n := w.rand.IntN(100); {
	case n < 20, running && n < 65:
		return w.nextCommit(id, s)
	case n < 50, running && n < 70:
		return w.nextClaim(id)
	case n < 95:
		return w.nextDelivery(id, s)
	case n < 97:
		return w.nextCreate(id)
	}
	return call{id, "delete " + id, func(st durable.Store) string { return answer(nil, st.Delete(w.ctx, id)) }}
}

func (w *walk) nextCreate(id string) call {
	identity := durable.Identity{ID: id, Definition: w.definition(id), Version: "1", Input: []byte(w.name("in")), Created: w.now}
	if w.chance(50) {
		identity.Tags = map[string]string{"colour": pick(w, "red", "green")}
		identity.Retention = time.Duration(w.rand.IntN(100)) * time.Second
	}
	c := &durable.Create{Identity: identity, Now: w.now, Owner: w.name("creator/"), Due: w.soon()}
	if w.chance(60) {
		c.First = w.commitOf(id)
		c.First.Epoch, c.First.Seq, c.First.Seen = 1, 1, 0
		if c.First.Lease.IsZero() {
			c.First.Lease = w.now.Add(10 * time.Second)
		}
	}
	return call{id, "create " + show(c), func(s durable.Store) string { return answer(nil, s.Create(w.ctx, c)) }}
}

func (w *walk) nextClaim(id string) call {
	c := &durable.Claim{ID: id, Owner: w.name("w/"), Now: w.now, Lease: w.now.Add(time.Duration(5+w.rand.IntN(25)) * time.Second)}
	return call{id, "claim " + show(c), func(s durable.Store) string {
		rec, err := s.Claim(w.ctx, c)
		return answer(rec, err)
	}}
}

func (w *walk) nextCommit(id string, s *sheet) call {
	c := w.commitOf(id)
	c.Epoch, c.Seq, c.Seen = s.Epoch, s.Seq+1, s.Seen
	if w.chance(8) {
		c.Epoch += pick[int64](w, -1, 1)
	}
	if w.chance(8) {
		c.Seq += pick[int64](w, -2, -1, 1)
	}
	if n := s.Delivered - s.Seen; n > 0 {
		c.Seen += w.rand.Int64N(n + 1)
	}
	return call{id, "commit " + show(c), func(s durable.Store) string {
		receipt, err := s.Commit(w.ctx, c)
		return answer(receipt.Unseen, err)
	}}
}

// commitOf makes all of a commit but its numbers.
func (w *walk) commitOf(id string) *durable.Commit {
	c := &durable.Commit{ID: id, Now: w.now, IfSeen: w.chance(40), Progress: w.chance(30), Due: w.soon()}
	for range w.rand.IntN(3) {
		c.Entries = append(c.Entries, durable.Entry{Kind: durable.EntryResult, Op: w.rand.Int64N(9), At: w.now, Name: w.name("n"), First: true})
	}
	for _, key := range []string{"k1", "k2", "k3"} {
		if w.chance(30) {
			c.Open = append(c.Open, key)
		} else if w.chance(15) {
			c.Close = append(c.Close, key)
		}
	}
	c.Anew = w.chance(15)
	if w.chance(30) {
		c.Lease = w.now.Add(20 * time.Second)
	}
	if w.chance(30) {
		c.Detail = w.name("detail ")
	}
	c.Status = pick(w, durable.StatusRunning, durable.StatusRunning, durable.StatusRunning, durable.StatusRunning, durable.StatusSuspended,
		durable.StatusSuspended, durable.StatusSuspended, durable.StatusParked, durable.StatusParked, durable.StatusSucceeded, durable.StatusFailed, durable.StatusTerminated)
	switch c.Status {
	case durable.StatusParked:
		c.Park = &durable.Park{Reason: durable.ParkPanic, Message: w.name("m"), At: w.now}
	case durable.StatusSucceeded:
		c.Result = []byte(w.name("out"))
	case durable.StatusFailed, durable.StatusTerminated:
		c.Error = &durable.Error{Type: "T", Message: w.name("m")}
	}
	return c
}

// soon is a due time, or none.
func (w *walk) soon() time.Time {
	if w.chance(30) {
		return time.Time{}
	}
	return w.now.Add(time.Duration(w.rand.IntN(20)-5) * time.Second)
}

func (w *walk) nextDelivery(id string, s *sheet) call {
	d := &durable.Delivery{ID: id, Now: w.now, Nonce: w.name("d"), Payload: []byte("p"), Actor: "ada"}
	if w.chance(25) {
		d.Nonce = pick(w, "d1", "d2") // may have been the winner's
	}
	switch n := w.rand.IntN(100); {
	case n < 40:
		d.Kind, d.Key = durable.DeliverCallback, pick(w, "k1", "k2", "k3")
	case n < 55:
		d.Kind, d.Key = durable.DeliverSignal, pick(w, "signal/1", "signal/2", w.name("signal/"))
	case n < 65:
		d.Kind, d.Key = durable.DeliverHeartbeat, pick(w, "k1", "k2", "k3")
	case n < 75:
		d.Kind, d.Key = durable.DeliverCancel, "cancel"
	default:
		d.Kind, d.Key, d.Revision = durable.DeliverVerb, w.name("verb/"), s.Revision
		if w.chance(20) {
			d.Revision += pick[int64](w, -1, 1)
		}
	}
	return call{id, "deliver " + show(d), func(s durable.Store) string { return answer(nil, s.Deliver(w.ctx, d)) }}
}
