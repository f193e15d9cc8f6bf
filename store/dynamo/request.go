package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The requests that more than one call makes. All reads are strongly
// consistent; every request asks what it consumed.

// get reads one item, nil if there is none.
func (s *Store) get(ctx context.Context, pk, sk string) (item, error) {
	in := &dynamodb.GetItemInput{TableName: &s.table, Key: keyOf(pk, sk), ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: capacity}
	out, err := call(ctx, &s.caller, "GetItem", in, s.api.GetItem)
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// put writes an item whatever is there.
func (s *Store) put(ctx context.Context, m item) error {
	in := &dynamodb.PutItemInput{TableName: &s.table, Item: m, ReturnConsumedCapacity: capacity}
	_, err := call(ctx, &s.caller, "PutItem", in, s.api.PutItem)
	return err
}

// putNew writes an item where there is none. If there is one it is taken, and
// old is that item, when the server sends it along.
func (s *Store) putNew(ctx context.Context, m item) (old item, taken bool, err error) {
	in := &dynamodb.PutItemInput{
		TableName: &s.table, Item: m, ReturnConsumedCapacity: capacity,
		ConditionExpression:                 aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames:            map[string]string{"#pk": aPK},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	_, err = call(ctx, &s.caller, "PutItem", in, s.api.PutItem)
	if old, taken = refused(err); taken {
		err = nil
	}
	return old, taken, err
}

// queryInput asks the table itself for what x says of its keys.
func (s *Store) queryInput(x *expression) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: &s.table, ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: capacity,
		KeyConditionExpression: x.condition(), ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}
}

// items reads all items of an execution whose sort key begins so.
func (s *Store) items(ctx context.Context, id, prefix string) (found map[string]item, err error) {
	x := &expression{}
	x.where(aPK, "=", text(pkOf(id)))
	if prefix != "" {
		x.conds = append(x.conds, "begins_with("+x.path(aSK)+", "+x.value(text(prefix))+")")
	}
	in := s.queryInput(x)
	found = map[string]item{}
	for {
		out, err := call(ctx, &s.caller, "Query", in, s.api.Query)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			found[(&reader{item: m}).text(aSK)] = m
		}
		if len(out.LastEvaluatedKey) == 0 {
			return found, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
