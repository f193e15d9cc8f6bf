package dynamo

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// Claim implements durable.Store. Taking the record and reading it is one
// UpdateItem; journal items and large payloads, if there are any, are read
// after. Taken from an owner that has not released it, the record needs a seal
// too, see log.go.
func (s *Store) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	ctx, spent := tallied(ctx)
	h, again, err := s.take(ctx, c)
	if err != nil {
		return nil, err
	}
	journal, err := s.taken(ctx, h, again)
	if err != nil {
		return nil, err
	}
	rec, err := s.record(ctx, h, durable.LoadAll, journal)
	if err != nil {
		return nil, err
	}
	h.used.Add(spent.take())
	rec.Usage, h.Revision = h.used, rec.Revision
	s.remember(h)
	return rec, nil
}

// take makes the claim in the head, and returns the head with it. again tells
// that an earlier attempt had made it.
func (s *Store) take(ctx context.Context, c *durable.Claim) (h *head, again bool, err error) {
	for {
		in := claimUpdate(c).input(s.table, c.ID)
		in.ReturnValues = types.ReturnValueAllOld
		out, err := call(ctx, &s.caller, "UpdateItem", in, s.api.UpdateItem)
		if err == nil {
			h, err = s.claimed(out.Attributes, c)
			return h, false, err
		}
		old, is, err := s.refusal(ctx, c.ID, err)
		switch {
		case err != nil:
			return nil, false, err
		case is && old == nil:
			return nil, false, durable.ErrNotFound
		case old.Status == durable.StatusRunning && old.Owner == c.Owner:
			return old, true, nil // our own earlier claim
		case old.Status.Ended():
			return nil, false, durable.ErrEnded
		case old.Due.IsZero() || old.Due.UnixMilli() > c.Now.UnixMilli():
			return nil, false, durable.ErrNotDue
		}
		// It was moved between the refusal and the look at it.
	}
}

// claimed is the head after a claim, which has changed this item.
func (s *Store) claimed(m item, c *durable.Claim) (*head, error) {
	was, err := s.decodeHead(m)
	if err != nil {
		return nil, err
	}
	m = maps.Clone(m)
	m[aPrior], m[aStatus], m[aOwner] = m[aStatus], number(int64(durable.StatusRunning)), text(c.Owner)
	m[aEpoch], m[aSeq] = number(was.Epoch+1), number(0)
	m[aDue] = text(dueKey(c.Lease, c.ID))
	m[aCrashes], m[aNextCrashes] = number(was.nextCrashes), number(was.nextCrashes+1)
	m[aSafe] = number(was.nextSafe)
	delete(m, aAttention)
	h, err := s.decodeHead(m)
	if err == nil {
		h.used = was.used
	}
	return h, err
}

// taken reads the journal of a head that was just claimed, and seals it if the
// owner before may still write. Whoever has claimed it since makes this claim
// one that came too late.
func (s *Store) taken(ctx context.Context, h *head, again bool) (journal []record, err error) {
	forced := h.prior == durable.StatusRunning
	journal, err = s.history(ctx, h, !forced && !again)
	if errors.Is(err, errOutdated) {
		now, failed := s.read(ctx, h.ID)
		if failed == nil && (now == nil || now.Epoch > h.Epoch || now.creator != h.creator) {
			return nil, durable.ErrNotDue
		}
	}
	if err != nil {
		return nil, s.torn(ctx, h, err)
	}
	mine := func(r record) bool { return r.epoch == h.Epoch }
	if forced && !slices.ContainsFunc(journal, mine) {
		var fenced bool
		if journal, fenced, err = s.seal(ctx, h, journal); err != nil {
			return nil, err
		}
		if fenced {
			return nil, durable.ErrNotDue
		}
	}
	h.position = h.base + int64(len(journal))
	return journal, nil
}

// claimUpdate takes what is due, whoever had it. What depends on how the
// activation before ended, which an expression cannot compute, that one's
// last write has left ready: the crash count and the safe epoch that a claim
// finds now.
func claimUpdate(c *durable.Claim) *update {
	u := &update{}
	u.where(aFormat, "<=", number(format))
	u.where(aDue, "<", text(milliKey(c.Now.UnixMilli()+1)))
	u.where(aStatus, "<", number(int64(durable.StatusSucceeded))) // an ended one may be due too
	me := u.value(text(c.Owner))
	u.conds = append(u.conds, "NOT ("+u.path(aStatus)+" = "+u.value(number(int64(durable.StatusRunning)))+
		" AND ("+u.path(aOwner)+" = "+me+" OR (attribute_not_exists("+u.path(aOwner)+") AND "+u.path(aCreator)+" = "+me+")))")
	u.assign(u.path(aPrior), u.path(aStatus))
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
