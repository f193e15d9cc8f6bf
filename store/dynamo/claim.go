package dynamo

import (
	"context"

	"github.com/clewdev/clew/durable"
)

// Claim implements durable.Store. Taking the record and reading it is one
// UpdateItem; segments and large payloads, if there are any, are read after.
func (s *Store) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	for {
		after, old, err := s.change(ctx, c.ID, claimUpdate(c))
		if err != nil {
			return nil, err
		}
		if old == nil {
			s.remember(after)
			return s.record(ctx, after, durable.LoadAll)
		}
		switch {
		case old.Status == durable.StatusRunning && old.Owner == c.Owner:
			s.remember(old)
			return s.record(ctx, old, durable.LoadAll) // our own earlier claim
		case old.Status.Ended():
			return nil, durable.ErrEnded
		case old.Due.IsZero() || old.Due.UnixMilli() > c.Now.UnixMilli():
			return nil, durable.ErrNotDue
		}
		// It was moved between the refusal and the look at it.
	}
}

// claimUpdate takes what is due, whoever had it. What depends on how the
// activation before ended, which an expression cannot compute, that one's
// last write has left ready: the crash count and the safe epoch that a claim
// finds now.
func claimUpdate(c *durable.Claim) *update {
	u := &update{}
	u.where(aFormat, "<=", number(format))
	u.where(aDue, "<", text(milliKey(c.Now.UnixMilli()+1)))
	me := u.value(text(c.Owner))
	u.conds = append(u.conds, "NOT ("+u.path(aStatus)+" = "+u.value(number(int64(durable.StatusRunning)))+
		" AND ("+u.path(aOwner)+" = "+me+" OR (attribute_not_exists("+u.path(aOwner)+") AND "+u.path(aCreator)+" = "+me+")))")
	u.set(aStatus, number(int64(durable.StatusRunning)))
	u.assign(u.path(aOwner), me)
	u.assign(u.path(aEpoch), u.path(aEpoch)+" + "+u.value(number(1)))
	u.set(aSeq, number(0))
	u.set(aDue, text(dueKey(c.Lease, c.ID)))
	u.assign(u.path(aCrashes), u.path(aNextCrashes))
	u.assign(u.path(aNextCrashes), u.path(aNextCrashes)+" + "+u.value(number(1)))
	u.assign(u.path(aSafe), u.path(aNextSafe))
	u.remove(aAttention)
	return u
}
