package dynamo

import (
	"context"
	"errors"
	"time"

	"github.com/clewdev/clew/durable"
)

// Create implements durable.Store: one PutItem, and before it one for each
// payload that does not fit into the head.
func (s *Store) Create(ctx context.Context, c *durable.Create) error {
	ctx, spent := tallied(ctx)
	h, m, err := s.newHead(ctx, c)
	if err != nil {
		return err
	}
	was, taken, err := s.putNew(ctx, m)
	if err != nil {
		return err
	}
	if !taken {
		h.used = spent.sum()
		s.remember(h)
		return nil
	}
	old, err := s.headOf(ctx, c.ID, was)
	switch {
	case err != nil:
		return err
	case old == nil:
		return errors.New("dynamo: the record that stood in the way is gone: try again")
	case old.creator == c.Owner:
		return nil // our own earlier write
	}
	return durable.ErrExists
}

// newHead makes the head item of a new execution.
func (s *Store) newHead(ctx context.Context, c *durable.Create) (*head, item, error) {
	m := item{
		aPK: text(pkOf(c.ID)), aSK: text(skHead), aFormat: number(format),
		aDefinition: text(c.Definition), aVersion: text(c.Version), aCreator: text(c.Owner),
		aDueHash: text(duePartition(c.Definition, c.Version, shardOf(c.ID, int(s.shards.Load())))),
		aStatus:  number(int64(durable.StatusPending)),
		aOpen:    mapping(item{}), aWinners: mapping(item{}), aInbox: list(), aJournal: list(),
	}
	for _, name := range []string{aEpoch, aSeq, aSafe, aNextSafe, aCrashes, aNextCrashes, aRevision, aDelivered, aSeen} {
		m[name] = number(0)
	}
	if c.Fingerprint != "" {
		m[aFingerprint] = text(c.Fingerprint)
	}
	if len(c.Digest) > 0 {
		m[aDigest] = asBytes(c.Digest)
	}
	putMilli(m, aCreated, c.Created)
	putMilli(m, aDeadline, c.Deadline)
	if extras := c.EncodeExtras(); extras != nil {
		m[aExtras] = asBytes(extras)
	}
	if err := s.beforeSpill(ctx, c); err != nil {
		return nil, nil, err
	}
	input, err := s.spill(ctx, c.ID, c.Owner, c.Input, inlineInput, asBytes)
	if err != nil {
		return nil, nil, err
	}
	if input != nil {
		m[aInput] = input
	}
	switch {
	case c.First != nil:
		if err := s.born(ctx, m, c); err != nil {
			return nil, nil, err
		}
	default:
		b := bill{before: spentSoFar(ctx), wake: 1}
		if !c.Due.IsZero() {
			m[aDue] = text(dueKey(c.Due, c.ID))
			b.index, b.wake = 1, indexMove
		}
		m[aUsage] = asBytes(b.encode())
	}
	h, err := s.decodeHead(m)
	return h, m, err
}

// beforeSpill sees whether the ID is free before large items are written for
// it, so that starting the same twice leaves no garbage.
func (s *Store) beforeSpill(ctx context.Context, c *durable.Create) error {
	size := len(c.Input)
	if c.First != nil {
		size += len(durable.EncodeEntries(c.First.Entries)) // many small ones are large too
	}
	if size <= endHead {
		return nil
	}
	old, err := s.read(ctx, c.ID)
	if err != nil || old == nil || old.creator == c.Owner {
		return err
	}
	return durable.ErrExists
}

// born lets the first commit's update say what the head is like after it.
func (s *Store) born(ctx context.Context, m item, c *durable.Create) error {
	m[aStatus], m[aEpoch], m[aNextCrashes] = number(int64(durable.StatusRunning)), number(1), number(1)
	h, err := s.decodeHead(m)
	if err != nil {
		return err
	}
	first := *c.First
	first.ID, first.Epoch, first.Seq, first.Seen, first.IfSeen, first.Anew = c.ID, 1, 1, 0, false, false
	w, err := s.writing(ctx, h, &first, recordOf(&first, 1))
	if err != nil {
		return err
	}
	w.apply(m)
	return nil
}

func putMilli(m item, name string, t time.Time) {
	if !t.IsZero() {
		m[name] = milli(t)
	}
}
