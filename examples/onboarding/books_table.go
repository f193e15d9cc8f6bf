package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/clewdev/clew/examples/internal/booktable"
)

// dynamoDB is the part of *dynamodb.Client that books in a table use. What runs
// onboardings needs dynamodb:GetItem, PutItem and UpdateItem on the table; pages,
// lists of mails and audits GetItem and Scan.
type dynamoDB interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// tableBooks are books in a DynamoDB table. A key is one item, and what changes it
// one write on a condition, so that it does not matter who asks, when, or how
// often.
type tableBooks struct {
	client dynamoDB
	name   string
}

// callTimeout bounds a call with the SDK's own repetitions. The saga repeats what
// it cuts off.
const callTimeout = 5 * time.Second

// The table's keys, and what their values begin with.
const (
	hashName, rangeName = booktable.Hash, booktable.Range

	hashKey     = "key/" // and the key
	rangeEffect = "effect"
	pageKey     = "page" // hash and range of where links lead
)

type itemID struct {
	Hash  string `dynamodbav:"pk"`
	Range string `dynamodbav:"sk"`
}

type effectItem struct {
	itemID
	Hire     string `dynamodbav:"hire,omitempty"`
	Kind     string `dynamodbav:"kind,omitempty"`
	To       string `dynamodbav:"mail_to,omitempty"`
	Text     string `dynamodbav:"content,omitempty"`
	Callback string `dynamodbav:"callback,omitempty"`
	State    string `dynamodbav:"standing"`
	Began    int64  `dynamodbav:"began"`   // microseconds since 1970, as all times here
	Changed  int64  `dynamodbav:"changed"` // the state
}

type pageItem struct {
	itemID
	URL string `dynamodbav:"url"`
}

func idOfKey(key string) itemID { return itemID{hashKey + key, rangeEffect} }

func (i *effectItem) entry() entry {
	key := strings.TrimPrefix(i.Hash, hashKey)
	return entry{Effect: Effect{Hire: i.Hire, Kind: i.Kind, To: i.To, Text: i.Text, Callback: i.Callback},
		Key: key, ID: idOf(i.Kind, key), State: i.State, At: time.UnixMicro(i.Changed)}
}

// Do implements outside.
func (b *tableBooks) Do(ctx context.Context, key string, e Effect) (string, error) {
	var old *entry
	var err error
	if e.refusal(key, nil) == nil {
		old, err = b.put(ctx, key, e, stands)
	} else { // whatever is there, nothing is to be written
		old, err = b.find(ctx, key)
	}
	if err == nil {
		err = e.refusal(key, old)
	}
	return idOf(e.Kind, key), err
}

// Undo implements outside. A key goes from nothing to barred, or over standing to
// undone, and never back: so this ends.
func (b *tableBooks) Undo(ctx context.Context, forwardKey string) error {
	for {
		if is, err := b.undoStanding(ctx, forwardKey); is || err != nil {
			return err
		}
		old, err := b.put(ctx, forwardKey, Effect{}, barred)
		if err != nil || old == nil || old.State != stands {
			return err
		}
	}
}

// undoStanding marks an effect that stands as undone, and tells whether it was so.
func (b *tableBooks) undoStanding(ctx context.Context, key string) (bool, error) {
	id, err := attributevalue.MarshalMap(idOfKey(key))
	if err != nil {
		return false, err
	}
	values, err := attributevalue.MarshalMap(map[string]any{":stands": stands, ":undone": undone, ":now": time.Now().UnixMicro()})
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = b.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &b.name, Key: id, ExpressionAttributeValues: values,
		ConditionExpression: aws.String("standing = :stands"), UpdateExpression: aws.String("SET standing = :undone, changed = :now")})
	if failed := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &failed) {
		return false, nil
	}
	return err == nil, b.explain(err)
}

// Settle implements outside.
func (b *tableBooks) Settle(ctx context.Context, key string) (id string, done bool, err error) {
	old, err := b.put(ctx, key, Effect{}, barred)
	if err != nil || old == nil || old.State != stands {
		return "", false, err
	}
	return old.ID, true, nil
}

// put writes what becomes of a key of which nothing is known, or returns what is.
func (b *tableBooks) put(ctx context.Context, key string, e Effect, state string) (*entry, error) {
	now := time.Now().UnixMicro()
	item, err := attributevalue.MarshalMap(effectItem{itemID: idOfKey(key), Hire: e.Hire, Kind: e.Kind, To: e.To, Text: e.Text,
		Callback: e.Callback, State: state, Began: now, Changed: now})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = b.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &b.name, Item: item,
		ConditionExpression: aws.String("attribute_not_exists(" + hashName + ")")})
	if known := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &known) {
		return b.find(ctx, key) // items are never deleted
	}
	return nil, b.explain(err)
}

// find returns what is known of a key, nil for nothing.
func (b *tableBooks) find(ctx context.Context, key string) (*entry, error) {
	var i effectItem
	if found, err := b.get(ctx, idOfKey(key), &i); !found || err != nil {
		return nil, err
	}
	e := i.entry()
	return &e, nil
}

func (b *tableBooks) get(ctx context.Context, id itemID, to any) (found bool, err error) {
	key, err := attributevalue.MarshalMap(id)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := b.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &b.name, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil || len(out.Item) == 0 {
		return false, b.explain(err)
	}
	return true, attributevalue.UnmarshalMap(out.Item, to)
}

// all implements records. It reads the whole table: this is for a person who looks
// at an example.
func (b *tableBooks) all(ctx context.Context) ([]entry, error) {
	var items []effectItem
	in := &dynamodb.ScanInput{TableName: &b.name, ConsistentRead: aws.Bool(true)}
	for pages := dynamodb.NewScanPaginator(b.client, in); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err)
		}
		for _, attributes := range out.Items {
			var i effectItem
			if err := attributevalue.UnmarshalMap(attributes, &i); err != nil {
				return nil, fmt.Errorf("the books of the outside world, table %s: %w", b.name, err)
			}
			switch {
			case i.Range == rangeEffect && strings.HasPrefix(i.Hash, hashKey):
				items = append(items, i)
			case i.Range != pageKey:
				return nil, fmt.Errorf("the books of the outside world, table %s: the item %q, %q is not theirs: name another table", b.name, i.Hash, i.Range)
			}
		}
	}
	slices.SortFunc(items, func(a, b effectItem) int {
		return cmp.Or(cmp.Compare(a.Began, b.Began), strings.Compare(a.Hash, b.Hash))
	})
	var entries []entry
	for i := range items {
		if items[i].Kind != "" { // no tombstone
			entries = append(entries, items[i].entry())
		}
	}
	return entries, nil
}

// page implements records.
func (b *tableBooks) page(ctx context.Context) (string, error) {
	var p pageItem
	_, err := b.get(ctx, itemID{pageKey, pageKey}, &p)
	return p.URL, err
}

// setPage implements records. What is there already is not written again, because
// every sandbox of a function says it.
func (b *tableBooks) setPage(ctx context.Context, url string) error {
	if is, err := b.page(ctx); is == url || err != nil {
		return err
	}
	item, err := attributevalue.MarshalMap(pageItem{itemID{pageKey, pageKey}, url})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = b.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &b.name, Item: item})
	return b.explain(err)
}

// Close has nothing to close.
func (b *tableBooks) Close() error { return nil }

// explain says which table an error is about, and what to do.
func (b *tableBooks) explain(err error) error {
	var missing *types.ResourceNotFoundException
	var api smithy.APIError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return fmt.Errorf("the books of the outside world: there is no table %s here: begin with `onboarding`, which makes it, or mend its name or the region: %w", b.name, err)
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		return fmt.Errorf("the books of the outside world, table %s: allow GetItem, PutItem and UpdateItem on it, and Scan to who lists mails or audits: %w", b.name, err)
	}
	return fmt.Errorf("the books of the outside world, table %s: %w", b.name, err)
}
