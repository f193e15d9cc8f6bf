package dynamo

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) durable.Store { return newStore(t, dynamolocal.Client(t)) })
}

// TestStoreOnDynalite is the same over an independent server, which sends no
// item with a refusal, so that all of them are read back.
func TestStoreOnDynalite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) durable.Store { return appending(newStore(t, dynamolocal.Dynalite(t))) })
}

// TestStoreAppends has a head that takes nothing along, so that each commit
// that may be appended is.
func TestStoreAppends(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) durable.Store { return appending(newStore(t, dynamolocal.Client(t))) })
}

func appending(s *Store) *Store {
	s.roomy = 0
	return s
}

// newTable makes a table that goes with the test.
func newTable(t testing.TB, client *dynamodb.Client) Options {
	t.Helper()
	opts := Options{Table: dynamolocal.Table(t)}
	if err := CreateTable(t.Context(), client, opts); err != nil {
		t.Fatalf("CreateTable: got %v, want nil", err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &opts.Table}); err != nil {
			t.Logf("DeleteTable: %v", err)
		}
	})
	return opts
}

func newStore(t testing.TB, client *dynamodb.Client) *Store {
	t.Helper()
	return open(t, client, newTable(t, client))
}

func open(t testing.TB, api API, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), api, opts)
	if err != nil {
		t.Fatalf("Open: got %v, want nil", err)
	}
	return s
}

// pair sends calls to its stores in turn.
type pair struct {
	stores [2]*Store
	calls  atomic.Uint64
}

func (p *pair) next() *Store { return p.stores[p.calls.Add(1)%2] }

func (p *pair) Create(ctx context.Context, c *durable.Create) error { return p.next().Create(ctx, c) }

func (p *pair) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	return p.next().Claim(ctx, c)
}

func (p *pair) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	return p.next().Commit(ctx, c)
}

func (p *pair) Deliver(ctx context.Context, d *durable.Delivery) error {
	return p.next().Deliver(ctx, d)
}

func (p *pair) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	return p.next().Due(ctx, q)
}

func (p *pair) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	return p.next().Load(ctx, id, what)
}

func (p *pair) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	return p.next().List(ctx, q)
}

func (p *pair) Delete(ctx context.Context, id string) error { return p.next().Delete(ctx, id) }
