package mem

import (
	"maps"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
)

// row is one execution. What its slices and pointers lead to is never changed
// in place, only appended to or replaced, so a shallow copy taken under the
// mutex stays true after it.
type row struct {
	durable.Head
	creator    string // Owner of the Create that made the row
	dead       bool   // the owner of the claim is proven dead
	journal    []durable.Entry
	inbox      []durable.Delivery // unseen, in order of Seq
	heartbeats map[string]time.Time
	open       map[string]bool   // callback keys that accept deliveries
	winners    map[string]string // nonce of the first delivery, by key, for ever
}

// newRow returns the row that c describes, its first commit included.
func newRow(c *durable.Create) *row {
	r := &row{
		Head:       durable.Head{Identity: copyIdentity(c.Identity), Status: durable.StatusPending},
		creator:    c.Owner,
		heartbeats: map[string]time.Time{},
		open:       map[string]bool{},
		winners:    map[string]string{},
	}
	if c.First == nil {
		r.Due = plain(c.Due)
		return r
	}
	r.begin(c.Owner)
	first := copyCommit(c.First)
	first.Seq = 1
	r.apply(first)
	return r
}

// record is a shallow view of the row, good for copying without the mutex.
func (r *row) record() durable.Record {
	return durable.Record{
		Head:       r.Head,
		Journal:    slices.Clip(r.journal),
		Inbox:      slices.Clip(r.inbox),
		Heartbeats: maps.Clone(r.heartbeats),
	}
}

// isDue tells whether somebody must look at the execution. While it runs its
// due time is its lease end.
func (r *row) isDue(now time.Time) bool {
	if r.Status == durable.StatusRunning && r.dead {
		return true
	}
	return !r.Due.IsZero() && !r.Due.After(now)
}

func (r *row) claim(c *durable.Claim) error {
	running := r.Status == durable.StatusRunning
	switch {
	case running && r.Owner == c.Owner:
		return nil // our own earlier claim
	case r.Status.Ended():
		return durable.ErrEnded
	case !r.isDue(c.Now):
		return durable.ErrNotDue
	}
	if running {
		r.Crashes++
	}
	// An epoch is safe when its activation is over for certain and those
	// before it are. A lease that ran out proves nothing: its owner may be
	// slow, and its code still at work.
	if over := !running || r.dead; over && r.SafeEpoch >= r.Epoch-1 {
		r.SafeEpoch = r.Epoch
	}
	r.begin(c.Owner)
	r.Lease, r.Due = plain(c.Lease), plain(c.Lease)
	return nil
}

// begin opens a new claim. Park stays, for the owner to read.
func (r *row) begin(owner string) {
	r.Status, r.Owner, r.dead = durable.StatusRunning, owner, false
	r.Epoch++
	r.Activations++
	r.Seq = 0
}

func (r *row) commit(c *durable.Commit) ([]durable.Delivery, error) {
	unseen := r.after(c.Seen)
	switch {
	case c.Epoch == r.Epoch && c.Seq == r.Seq && c.Seq > 0:
		// Our own earlier write, whatever it made of the record.
		return unseen, nil
	case c.Epoch != r.Epoch:
		return nil, durable.ErrFenced
	case r.Status.Ended():
		return nil, durable.ErrEnded
	case c.Seq != r.Seq+1 || r.Status != durable.StatusRunning:
		return nil, durable.ErrFenced
	case c.IfSeen && len(unseen) > 0:
		return unseen, durable.ErrUnseen
	}
	r.apply(c)
	return unseen, nil
}

// apply writes a commit that was accepted. The row owns c from here on.
func (r *row) apply(c *durable.Commit) {
	r.Seq = c.Seq
	if c.Anew {
		r.journal = nil
	}
	r.journal = append(r.journal, c.Entries...)
	r.Revision += int64(len(c.Entries))
	r.Seen = max(r.Seen, c.Seen)
	r.inbox = r.after(r.Seen)
	for _, key := range c.Open {
		r.open[key] = true
	}
	for _, key := range c.Close {
		delete(r.open, key)
		delete(r.heartbeats, key) // nobody waits for the next one
	}
	r.Status, r.Detail, r.Park, r.Result, r.Error = c.Status, c.Detail, c.Park, c.Result, c.Error
	if c.Progress {
		r.Crashes = 0
	}
	switch {
	case c.Status == durable.StatusRunning:
		if !c.Lease.IsZero() {
			r.Lease, r.Due = c.Lease, c.Lease
		}
	case c.Status.Ended():
		r.Due, r.Ended = c.Due, c.Now
		clear(r.open)
		clear(r.heartbeats)
	default:
		r.Due = c.Due
		// A delivery that arrived while the record ran woke nobody then.
		if slices.ContainsFunc(r.inbox, func(d durable.Delivery) bool { return wakes(d.Kind, c.Status) }) {
			r.Due = c.Now
		}
	}
}

// after returns the deliveries with a higher sequence number than seen.
func (r *row) after(seen int64) []durable.Delivery {
	i := slices.IndexFunc(r.inbox, func(d durable.Delivery) bool { return d.Seq > seen })
	if i < 0 {
		return nil
	}
	return slices.Clip(r.inbox[i:])
}
