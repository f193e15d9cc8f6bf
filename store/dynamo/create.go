package dynamo

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// Create implements durable.Store: one PutItem, and before it one for each
// payload that does not fit into the head.
func (s *Store) Create(ctx context.Context, c *durable.Create) error {
	h, m, err := s.newHead(ctx, c)
	if err != nil {
		return err
	}
	in := &dynamodb.PutItemInput{
		TableName: &s.table, Item: m,
		ConditionExpression:                 aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames:            map[string]string{"#pk": aPK},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	_, err = call(ctx, &s.caller, "PutItem", in, s.api.PutItem)
	if err == nil {
		s.remember(h)
		return nil
	}
	old, is, err := s.refusal(ctx, c.ID, err)
	switch {
	case err != nil:
		return err
	case is && old == nil:
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
		aDueHash: text(duePartition(c.Definition, c.Version, shardOf(c.ID, s.shards))),
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
	if err := s.beforeSpill(ctx, c); err != nil {
		return nil, nil, err
	}
	input, err := s.spill(ctx, c.ID, c.Owner, c.Input, inlineInput, asBytes)
	if err != nil {
		return nil, nil, err
	}
	put(m, aInput, input)
	if c.First == nil {
		if !c.Due.IsZero() {
			m[aDue] = text(dueKey(c.Due, c.ID))
		}
	} else if err := s.born(ctx, m, c); err != nil {
		return nil, nil, err
	}
	h, err := s.decodeHead(m)
	return h, m, err
}

// beforeSpill sees whether the ID is free before large items are written for
// it, so that starting the same twice leaves no garbage.
func (s *Store) beforeSpill(ctx context.Context, c *durable.Create) error {
	size := len(c.Input)
	if c.First != nil {
		for i := range c.First.Entries {
			size += len(c.First.Entries[i].Payload)
		}
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
	first.ID, first.Epoch, first.Seq, first.Seen, first.IfSeen = c.ID, 1, 1, 0, false
	w, err := s.writing(ctx, h, &first)
	if err != nil {
		return err
	}
	w.apply(m)
	return nil
}

func put(m item, name string, v value) {
	if v != nil {
		m[name] = v
	}
}

func putMilli(m item, name string, t time.Time) {
	if !t.IsZero() {
		m[name] = milli(t)
	}
}
