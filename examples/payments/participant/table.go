package participant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/examples/internal/booktable"
)

// DynamoDB is the part of *dynamodb.Client that participants and audits use.
// Participants need the permissions dynamodb:GetItem, PutItem and
// ConditionCheckItem on their table, audits GetItem and Scan.
type DynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// The table has two kinds of items, under ROLE/KEY: one for the key, which
// every transaction about it replaces, and one for each call with it, which
// also tells what the call did. A call so costs two items, and an undo three.
const (
	hashName, rangeName = booktable.Hash, booktable.Range

	rangeKey  = "key"
	rangeCall = "call#" // and the number of the call, in ten digits
)

// itemID is the primary key of an item.
type itemID struct {
	Hash  string `dynamodbav:"pk"`
	Range string `dynamodbav:"sk"`
}

func hashOf(role Role, key string) string { return string(role) + "/" + key }

// parts is the opposite of hashOf.
func (id itemID) parts() (Role, string) {
	role, key, _ := strings.Cut(id.Hash, "/")
	return Role(role), key
}

// keyItem is what is known about a key. Of a key that was only ever misused, or
// whose calls came to nothing, that is the number of its calls; then it has no
// state.
type keyItem struct {
	itemID
	Version int64  `dynamodbav:"version"` // of this item
	Calls   int64  `dynamodbav:"calls"`
	State   string `dynamodbav:"state,omitempty"`
	Kind    string `dynamodbav:"kind,omitempty"`
	Order   string `dynamodbav:"order_id,omitempty"`
	Input   string `dynamodbav:"input,omitempty"`
	Status  int    `dynamodbav:"status,omitempty"`
	Body    string `dynamodbav:"body,omitempty"`
}

// callItem is a line of the log, with the effects of the call and what it
// posted. The rows stand for no more than they say: nothing keeps two calls
// from claiming the same effect but the rules.
type callItem struct {
	itemID
	Kind     string        `dynamodbav:"kind"`
	Attempt  int           `dynamodbav:"attempt"`
	At       int64         `dynamodbav:"at"` // microseconds since 1970, as all times here
	Due      int64         `dynamodbav:"due"`
	Outcome  string        `dynamodbav:"outcome"`
	Fault    string        `dynamodbav:"fault,omitempty"`
	Effects  []effectItem  `dynamodbav:"effects,omitempty"`
	Postings []postingItem `dynamodbav:"postings,omitempty"`
}

type effectItem struct {
	At     int64  `dynamodbav:"at"`
	Order  string `dynamodbav:"order_id"`
	Kind   string `dynamodbav:"kind"`
	Act    string `dynamodbav:"act"`
	Key    string `dynamodbav:"key"`
	ID     string `dynamodbav:"effect_id"`
	Amount int64  `dynamodbav:"amount_cents"`
}

type postingItem struct {
	Entry   string `dynamodbav:"entry_id"`
	Order   string `dynamodbav:"order_id"`
	Account string `dynamodbav:"account"`
	Debit   int64  `dynamodbav:"debit_cents"`
	Credit  int64  `dynamodbav:"credit_cents"`
}

// CreateTable makes a table for the books of the four participants, billed on
// demand, and returns when it is ready. One that exists and fits is left as it
// is; one that does not fit is an error.
func CreateTable(ctx context.Context, client booktable.Maker, name string) error {
	if err := booktable.Create(ctx, client, name); err != nil {
		return fmt.Errorf("participant: %w", err)
	}
	return nil
}

// Table are the books of participants that NewHandler serves.
func Table(client DynamoDB, name string) Books { return &table{client: client, name: name} }

type table struct {
	client DynamoDB
	name   string
}

// get reads an item, if it is there, into to.
func (t *table) get(ctx context.Context, id itemID, to any) (found bool, err error) {
	key, err := attributevalue.MarshalMap(id)
	if err != nil {
		return false, err
	}
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.name, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return false, t.explain(err)
	}
	if len(out.Item) == 0 {
		return false, nil
	}
	return true, attributevalue.UnmarshalMap(out.Item, to)
}

// explain says which table an error is about, and what to do.
func (t *table) explain(err error) error {
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return fmt.Errorf("there is no table %s here: create it, or mend the name or the region: %w", t.name, err)
	}
	return fmt.Errorf("table %s: %w", t.name, err)
}

func (t *table) read(ctx context.Context, r reader) error {
	return t.scan(ctx, &dynamodb.ScanInput{}, func(page *dynamodb.ScanOutput) error {
		for _, item := range page.Items {
			if err := tell(item, r); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
		return nil
	})
}

// scan hands the table over in pages.
func (t *table) scan(ctx context.Context, in *dynamodb.ScanInput, page func(*dynamodb.ScanOutput) error) error {
	in.TableName, in.ConsistentRead = &t.name, aws.Bool(true)
	for pages := dynamodb.NewScanPaginator(t.client, in); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return t.explain(err)
		}
		if err := page(out); err != nil {
			return err
		}
	}
	return nil
}

// tell tells the rows of one item.
func tell(item map[string]types.AttributeValue, r reader) error {
	var c callItem
	if err := attributevalue.UnmarshalMap(item, &c); err != nil {
		return err
	}
	digits, isCall := strings.CutPrefix(c.Range, rangeCall)
	if c.Range == rangeKey {
		return nil // what it did, its calls tell
	}
	var n int64
	if _, err := fmt.Sscan(digits, &n); err != nil || !isCall {
		return fmt.Errorf("the item %q, %q is not a participant's: is this the table of the books?", c.Hash, c.Range)
	}
	role, key := c.parts()
	r.call(role, callRow{key: key, n: n, kind: c.Kind, attempt: c.Attempt, at: time.UnixMicro(c.At), due: time.UnixMicro(c.Due),
		outcome: c.Outcome, fault: c.Fault})
	for _, p := range c.Postings {
		r.posting(posting{entry: p.Entry, order: p.Order, account: p.Account, debit: p.Debit, credit: p.Credit})
	}
	for _, e := range c.Effects {
		if err := r.effect(role, effect{at: time.UnixMicro(e.At), order: e.Order, kind: e.Kind, key: e.Key, act: e.Act, id: e.ID, amount: e.Amount}); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) orderOf(ctx context.Context, role Role, key string) (string, error) {
	var k keyItem
	_, err := t.get(ctx, itemID{hashOf(role, key), rangeKey}, &k)
	return k.Order, err
}

func (t *table) watch(context.Context) (watcher, error) { return tableWatcher{t}, nil }

// tableWatcher sees held calls alone.
type tableWatcher struct{ table *table }

func (w tableWatcher) look(ctx context.Context) (_ []int64, held int64, err error) {
	values, err := attributevalue.MarshalMap(map[string]any{":held": outcomeHeld, ":lost": time.Now().Add(-lostAfter).UnixMicro()})
	if err != nil {
		return nil, 0, err
	}
	in := &dynamodb.ScanInput{Select: types.SelectCount,
		FilterExpression: aws.String("outcome = :held AND due > :lost"), ExpressionAttributeValues: values}
	err = w.table.scan(ctx, in, func(page *dynamodb.ScanOutput) error {
		held += int64(page.Count)
		return nil
	})
	return nil, held, err
}

// pause is long, because a look reads the whole table.
func (tableWatcher) pause() time.Duration { return time.Second }

func (tableWatcher) close() {}
