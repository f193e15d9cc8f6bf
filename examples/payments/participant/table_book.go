package participant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// tableBook is a book in a table, for one call. It gathers what is read and
// what is to be written; commit writes all of it in one transaction, on the
// condition that everything is as it was read. So it does not matter when a
// request arrives, or how often.
type tableBook struct {
	ctx  context.Context // of the call
	on   *table
	role Role

	keys     map[string]*readKey
	effects  []effectItem
	postings []postingItem
	row      *callItem
	relogged bool // row was there, held
}

// readKey is a key as it was read, and as it is to be.
type readKey struct {
	item    keyItem
	read    int64 // the item's version, 0 for none
	changed bool
}

func newTableBook(ctx context.Context, on *table, role Role) *tableBook {
	return &tableBook{ctx: ctx, on: on, role: role, keys: make(map[string]*readKey)}
}

// key reads a key, once.
func (b *tableBook) key(key string) (*readKey, error) {
	if k := b.keys[key]; k != nil {
		return k, nil
	}
	id := itemID{hashOf(b.role, key), rangeKey}
	k := &readKey{item: keyItem{itemID: id}}
	if _, err := b.on.get(b.ctx, id, &k.item); err != nil {
		return nil, err
	}
	k.read = k.item.Version
	b.keys[key] = k
	return k, nil
}

func (b *tableBook) nextCall(key string) (int64, error) {
	k, err := b.key(key)
	if err != nil {
		return 0, err
	}
	k.item.Calls++
	k.changed = true
	return k.item.Calls, nil
}

func (b *tableBook) lookup(key string) (*keyRow, error) {
	k, err := b.key(key)
	if err != nil || k.item.State == "" {
		return nil, err
	}
	i := &k.item
	return &keyRow{key: key, kind: i.Kind, order: i.Order, input: i.Input, state: i.State, status: i.Status, body: []byte(i.Body)}, nil
}

func (b *tableBook) insertKey(row keyRow) error {
	k, err := b.key(row.key)
	if err != nil {
		return err
	}
	if k.item.State != "" {
		return fmt.Errorf("the key %q is known already", row.key)
	}
	i := &k.item
	i.State, i.Kind, i.Order, i.Input, i.Status, i.Body = row.state, row.kind, row.order, row.input, row.status, string(row.body)
	k.changed = true
	return nil
}

func (b *tableBook) markReversed(key string) error {
	k, err := b.key(key)
	if err != nil {
		return err
	}
	k.item.State, k.changed = stateReversed, true
	return nil
}

func (b *tableBook) appendEffect(e effect) error {
	b.effects = append(b.effects, effectItem{At: e.at.UnixMicro(), Order: e.order, Kind: e.kind, Act: e.act, Key: e.key, ID: e.id, Amount: e.amount})
	return nil
}

func (b *tableBook) appendPosting(p posting) error {
	b.postings = append(b.postings, postingItem{Entry: p.entry, Order: p.order, Account: p.account, Debit: p.debit, Credit: p.credit})
	return nil
}

func (b *tableBook) logCall(c *call, a answer) error {
	r := rowOf(c, a)
	b.row = &callItem{
		itemID: itemID{hashOf(b.role, r.key), fmt.Sprintf("%s%010d", rangeCall, r.n)},
		Kind:   r.kind, Attempt: r.attempt, At: r.at.UnixMicro(), Due: r.due.UnixMicro(), Outcome: r.outcome, Fault: r.fault,
	}
	return nil
}

func (b *tableBook) relogCall(c *call, a answer) error {
	b.relogged = true
	return b.logCall(c, a)
}

// commit writes what was gathered. Its error is of the transaction as a whole:
// it changed nothing, or, if the answer was lost, it may have changed all.
func (b *tableBook) commit() error {
	if b.row == nil {
		return errors.New("the call was not logged")
	}
	in := &dynamodb.TransactWriteItemsInput{}
	for _, key := range slices.Sorted(maps.Keys(b.keys)) {
		action, err := b.actionOn(b.keys[key])
		if err != nil {
			return err
		}
		in.TransactItems = append(in.TransactItems, action)
	}
	put, err := b.putRow()
	if err != nil {
		return err
	}
	in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Put: put})
	// The SDK repeats a request whose answer it lost, and gives it a token by
	// which the service knows it again.
	if _, err := b.on.client.TransactWriteItems(b.ctx, in); err != nil {
		return b.on.explain(err)
	}
	return nil
}

const isNew = "attribute_not_exists(" + hashName + ")"

// actionOn replaces a key's item, or just sees that it is as it was.
func (b *tableBook) actionOn(k *readKey) (types.TransactWriteItem, error) {
	condition, values := isNew, map[string]types.AttributeValue(nil)
	if k.read > 0 {
		var err error
		condition = "version = :read"
		if values, err = attributevalue.MarshalMap(map[string]int64{":read": k.read}); err != nil {
			return types.TransactWriteItem{}, err
		}
	}
	if !k.changed {
		id, err := attributevalue.MarshalMap(k.item.itemID)
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &b.on.name, Key: id,
			ConditionExpression: &condition, ExpressionAttributeValues: values}}, err
	}
	k.item.Version = k.read + 1
	item, err := attributevalue.MarshalMap(k.item)
	return types.TransactWriteItem{Put: &types.Put{TableName: &b.on.name, Item: item,
		ConditionExpression: &condition, ExpressionAttributeValues: values}}, err
}

func (b *tableBook) putRow() (*types.Put, error) {
	b.row.Effects, b.row.Postings = b.effects, b.postings
	item, err := attributevalue.MarshalMap(b.row)
	if err != nil {
		return nil, err
	}
	put := &types.Put{TableName: &b.on.name, Item: item, ConditionExpression: aws.String(isNew)}
	if b.relogged {
		put.ConditionExpression = aws.String("outcome = :held")
		put.ExpressionAttributeValues, err = attributevalue.MarshalMap(map[string]string{":held": outcomeHeld})
	}
	return put, err
}
