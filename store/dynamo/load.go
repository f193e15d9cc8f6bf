package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// Load implements durable.Store. The head is one strongly consistent read;
// LoadAll also reads the segments, in pages.
func (s *Store) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	h, err := s.read(ctx, id)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, durable.ErrNotFound
	}
	return s.record(ctx, h, what)
}

// Delete implements durable.Store. The head goes first, and with it the
// execution; then what belonged to it, an item at a time. If that fails the
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
	return s.sweep(ctx, id, incarnation(h.creator))
}

// sweep deletes the items of one incarnation. Those of the next execution by
// the same ID may be there already.
func (s *Store) sweep(ctx context.Context, id, incarnation string) error {
	in := &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		FilterExpression:          aws.String("#i = :i"),
		ProjectionExpression:      aws.String("#sk"),
		ExpressionAttributeNames:  map[string]string{"#pk": aPK, "#sk": aSK, "#i": aIncarnation},
		ExpressionAttributeValues: item{":pk": text(pkOf(id)), ":i": text(incarnation)},
	}
	for {
		out, err := call(ctx, &s.caller, "Query", in, s.api.Query)
		if err != nil {
			return err
		}
		for _, m := range out.Items {
			del := &dynamodb.DeleteItemInput{TableName: &s.table, Key: keyOf(pkOf(id), (&reader{item: m}).text(aSK))}
			if _, err := call(ctx, &s.caller, "DeleteItem", del, s.api.DeleteItem); err != nil {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
