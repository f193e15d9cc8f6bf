package sqlite

import (
	"context"

	"github.com/clewdev/clew/durable"
)

// Claim implements durable.Store. It reads the record first, decides, and then
// writes on the condition that nobody changed it in between. So a claim that
// is refused costs no write, no long journal holds the writer up, and an
// execution whose journal this build cannot read is left for one that can.
func (s *Store) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	for {
		r, err := s.load(ctx, c.ID, func(r *row) (bool, error) { return true, s.refuseClaim(r, c) })
		if err != nil {
			return nil, err
		}
		if r.heldBy(c) {
			return &r.Record, nil
		}
		dead := false
		if r.Status == durable.StatusRunning {
			if dead, err = s.provenDead(ctx, r.proc, c.Now); err != nil {
				return nil, err
			}
		}
		if !dead && !r.dueBy(c) {
			return nil, durable.ErrNotDue
		}
		if won, err := s.swap(ctx, r, c, dead); err != nil {
			return nil, err
		} else if won {
			return &r.Record, nil
		}
	}
}

// heldBy tells whether the record is claimed by an earlier try of this call.
func (r *row) heldBy(c *durable.Claim) bool {
	return r.Status == durable.StatusRunning && r.Owner == c.Owner
}

// dueBy tells whether somebody must look at the record. One that runs is due
// when its lease ends.
func (r *row) dueBy(c *durable.Claim) bool { return !r.Due.IsZero() && !r.Due.After(c.Now) }

// refuseClaim says from the head alone why the record cannot be claimed. A
// running one of another owner passes: that owner may be dead, which is looked
// into outside the transaction.
func (s *Store) refuseClaim(r *row, c *durable.Claim) error {
	switch {
	case r.Status.Ended():
		return durable.ErrEnded // due or not
	case r.heldBy(c) || r.dueBy(c):
		return nil
	case r.Status == durable.StatusRunning && r.proc != s.self.n:
		return nil
	}
	return durable.ErrNotDue
}

// swap writes the claim if the record is still as r says, and then makes r say
// how it is now. A record in which no claim, commit or delivery changed the
// numbers below is the same, journal and inbox included.
func (s *Store) swap(ctx context.Context, r *row, c *durable.Claim, dead bool) (won bool, err error) {
	next := r.Head
	running := r.Status == durable.StatusRunning
	if running {
		next.Crashes++
	}
	// An epoch is safe when its activation is over for certain and those
	// before it are. A lease that ran out proves nothing.
	if (!running || dead) && r.SafeEpoch >= r.Epoch-1 {
		next.SafeEpoch = r.Epoch
	}
	next.Status, next.Owner, next.Seq = durable.StatusRunning, c.Owner, 0
	next.Epoch++
	next.Activations++
	next.Lease, next.Due = stored(c.Lease), stored(c.Lease)
	err = s.writer.do(ctx, func(w *conn) {
		q := w.query(qSwap)
		q.text(c.Owner).int(s.self.n).time(c.Lease).int(next.SafeEpoch).int(int64(next.Crashes))
		q.text(r.ID).int(r.n).int(r.Epoch).int(r.Seq).int(int64(r.Status)).time(r.Due).int(r.Delivered)
		won = q.run() == 1
	})
	if err == nil && won {
		r.Head = next
	}
	return won && err == nil, err
}
