package dynamo

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// meter is an API that counts what calls on the table consume, as the service
// reports it, index writes included. Polls of the index due are the workers',
// not the executions', and stand apart.
type meter struct {
	API
	mu    sync.Mutex
	used  usage
	polls usage
}

type usage struct {
	requests int
	wru, rru float64
}

func (u usage) minus(v usage) usage {
	return usage{u.requests - v.requests, u.wru - v.wru, u.rru - v.rru}
}

func (m *meter) total() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// write counts a write. A failed condition is charged by the size of the item
// that failed it, which no answer says.
func (m *meter) write(c *types.ConsumedCapacity, err error) {
	var failed *types.ConditionalCheckFailedException
	units := 0.0
	switch {
	case errors.As(err, &failed):
		units = max(1, float64((sizeOf(failed.Item)+1023)/1024))
	case c != nil:
		units = *c.CapacityUnits
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used.requests++
	m.used.wru += units
}

func (m *meter) read(u *usage, c *types.ConsumedCapacity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u.requests++
	if c != nil {
		u.rru += *c.CapacityUnits
	}
}

func (m *meter) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	in.ReturnConsumedCapacity = capacity
	out, err := m.API.GetItem(ctx, in, opts...)
	if err == nil {
		m.read(&m.used, out.ConsumedCapacity)
	}
	return out, err
}

func (m *meter) Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	in.ReturnConsumedCapacity = capacity
	out, err := m.API.Query(ctx, in, opts...)
	if err == nil {
		u := &m.used
		if in.IndexName != nil {
			u = &m.polls
		}
		m.read(u, out.ConsumedCapacity)
	}
	return out, err
}

func (m *meter) PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	in.ReturnConsumedCapacity = capacity
	out, err := m.API.PutItem(ctx, in, opts...)
	var c *types.ConsumedCapacity
	if err == nil {
		c = out.ConsumedCapacity
	}
	m.write(c, err)
	return out, err
}

func (m *meter) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	in.ReturnConsumedCapacity = capacity
	out, err := m.API.UpdateItem(ctx, in, opts...)
	var c *types.ConsumedCapacity
	if err == nil {
		c = out.ConsumedCapacity
	}
	m.write(c, err)
	return out, err
}

func (m *meter) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	in.ReturnConsumedCapacity = capacity
	out, err := m.API.DeleteItem(ctx, in, opts...)
	var c *types.ConsumedCapacity
	if err == nil {
		c = out.ConsumedCapacity
	}
	m.write(c, err)
	return out, err
}

// report prints one line of the bill and holds it to the S column of DESIGN's
// table, per being what the table counts by.
func report(t *testing.T, name string, u usage, per, requests, wru float64) {
	t.Helper()
	r, w := float64(u.requests)/per, u.wru/per
	t.Logf("cost: %s requests=%.4g wru=%.4g rru=%.4g", name, r, w, u.rru/per)
	if r > requests || w > wru {
		t.Errorf("%s costs %.4g requests and %.4g write units, want at most %g and %g", name, r, w, requests, wru)
	}
}
