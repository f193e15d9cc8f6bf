package dynamo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
	prices "github.com/clewdev/clew/internal/bill"
)

// meter is an API that counts what calls on the table consume, as the service
// reports it, index writes included. Polls of the index due, and looks for a
// pause of the definition every ten seconds or so, are the workers', not the
// executions', and stand apart.
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
		u := &m.used
		if pk, ok := in.Key[aPK].(*types.AttributeValueMemberS); ok && strings.HasPrefix(idOf(pk.Value), durable.PauseDefinition+"/") {
			u = &m.polls
		}
		m.read(u, out.ConsumedCapacity)
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

// report prints one line of the bill, holds it to the most that it may be, and
// sees that the README says the same. All of it is per what the table counts
// by: an execution, or a step.
func (w *world) report(t *testing.T, name string, u usage, per, requests, wru float64) {
	t.Helper()
	r, units, reads := float64(u.requests)/per, u.wru/per, u.rru/per
	t.Logf("cost: %s requests=%.4g wru=%.4g rru=%.4g", name, r, units, reads)
	if r > requests || units > wru {
		t.Errorf("%s costs %.4g requests and %.4g write units, want at most %g and %g", name, r, units, requests, wru)
	}
	rec, err := w.look(t).Load(t.Context(), "order-00017", durable.LoadAll)
	if err != nil {
		t.Fatal(err)
	}
	count, p := prices.Of(rec), prices.Listed()
	others := count.At(p)
	row := fmt.Sprintf("`%s` | %.4g | %.4g | %.4g | $%.2f | $%.2f | $%.2f |", name, r, units, reads,
		units*p.WriteUnits+reads*p.ReadUnits, 1e6*others.DurableFunctions/per, 1e6*others.StepFunctions/per)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), row) {
		t.Errorf("README.md has no row that ends in\n%s", row)
	}
}
