package dynamo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// Load implements durable.Store. The head is one strongly consistent read;
// LoadAll also reads the items of the journal, in pages. What the owner of the
// execution reads is part of its bill.
func (s *Store) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	ctx, spent := tallied(ctx)
	defer func() { s.charge(id, spent.take()) }()
	for before := (*head)(nil); ; {
		h, err := s.read(ctx, id)
		if err != nil {
			return nil, err
		}
		if h == nil {
			return nil, durable.ErrNotFound
		}
		if what != durable.LoadAll {
			return s.record(ctx, h, what, nil)
		}
		journal, err := s.history(ctx, h, h.released())
		if err == nil {
			err = s.whole(ctx, h, journal)
		}
		if err == nil {
			return s.record(ctx, h, what, journal)
		}
		if !errors.Is(err, errOutdated) || h.same(before) {
			return nil, s.torn(ctx, h, err)
		}
		before = h
	}
}

// Delete implements durable.Store. The head goes first, and with it the
// execution; then what belonged to it, an item at a time, with all that its
// journal has dropped. If that fails the
// error says so, the ID is free, and what is left is garbage that nothing
// will ever name.
func (s *Store) Delete(ctx context.Context, id string) error {
	h, err := s.read(ctx, id)
	switch {
	case err != nil:
		return err
	case h == nil:
		return durable.ErrNotFound
	case !h.Status.Ended():
		return durable.ErrNotEnded
	}
	x := &expression{}
	x.where(aCreator, "=", text(h.creator))
	in := &dynamodb.DeleteItemInput{
		TableName: &s.table, Key: keyOf(pkOf(id), skHead), ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}
	_, err = call(ctx, &s.caller, "DeleteItem", in, s.api.DeleteItem)
	var gone *types.ConditionalCheckFailedException
	if err != nil && !errors.As(err, &gone) { // gone by our own earlier attempt, or another's
		return err
	}
	return s.sweep(ctx, h)
}

// sweep deletes the items of one incarnation. Those of the next execution by
// the same ID may be there already. Seals stay until they expire: an owner
// that has slept through its takeover and the deletion must still find its way
// barred.
func (s *Store) sweep(ctx context.Context, h *head) error {
	found, err := s.items(ctx, h.ID, "")
	if err != nil {
		return err
	}
	for sk, m := range found {
		r := &reader{item: m}
		switch {
		case strings.HasPrefix(sk, recordPrefix(h.creator)):
			if records, err := decodeRecords(r.bytes(sBytes)); err == nil && sealed(records) {
				m[aExpires] = number(h.Ended.Add(keepSeals).Unix())
				if err := s.put(ctx, m); err != nil {
					return err
				}
				continue
			}
		case r.text(aIncarnation) != incarnation(h.creator):
			continue
		}
		in := &dynamodb.DeleteItemInput{TableName: &s.table, Key: keyOf(pkOf(h.ID), sk)}
		if _, err := call(ctx, &s.caller, "DeleteItem", in, s.api.DeleteItem); err != nil {
			return err
		}
	}
	return nil
}

// keepSeals is how long after the end of an execution an owner that lost it
// may still wake up.
const keepSeals = 90 * 24 * time.Hour

func sealed(records []record) bool {
	return slices.ContainsFunc(records, func(r record) bool { return r.seq == 0 && r.epoch > 0 })
}
