package sqlite

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) durable.Store { return openAt(t, filepath.Join(t.TempDir(), "clew.db")) })
}

// Two stores on one file are one store: whichever a call goes to.
func TestStoreShared(t *testing.T) {
	storetest.Run(t, func(t *testing.T) durable.Store {
		path := filepath.Join(t.TempDir(), "clew.db")
		return &pair{stores: [2]*Store{openAt(t, path), openAt(t, path)}}
	})
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
