package dynamo

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/store/storetest"
)

// faulty is an API whose answers pass through after, which may replace the
// error. It stands for servers and networks that behave otherwise.
type faulty struct {
	API
	after func(error) error
}

func (f *faulty) PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	out, err := f.API.PutItem(ctx, in, opts...)
	return out, f.after(err)
}

func (f *faulty) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	out, err := f.API.UpdateItem(ctx, in, opts...)
	return out, f.after(err)
}

func (f *faulty) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	out, err := f.API.DeleteItem(ctx, in, opts...)
	return out, f.after(err)
}

// TestStoreRoughly is two stores on one table, each of which gets every other
// call. One has a server that returns no item with a refusal, as dynalite, and
// must read it. Of the other's writes every third lands and loses its answer,
// so that the next attempt meets its own write; no caller may notice.
func TestStoreRoughly(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) durable.Store {
		client := dynamolocal.Client(t)
		var writes atomic.Int64
		loses := &faulty{API: client, after: func(err error) error {
			if err == nil && writes.Add(1)%3 == 0 {
				return syscall.ECONNRESET
			}
			return err
		}}
		silent := &faulty{API: client, after: func(err error) error {
			var failed *types.ConditionalCheckFailedException
			if errors.As(err, &failed) {
				failed.Item = nil
			}
			return err
		}}
		opts := newTable(t, client)
		return &pair{stores: [2]*Store{appending(open(t, loses, opts)), appending(open(t, silent, opts))}}
	})
}
