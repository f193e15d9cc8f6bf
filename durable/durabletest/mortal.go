package durabletest

import (
	"context"
	"sync"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// Mortal is a store in memory whose executions can lose their owner one by one, as
// if the process that runs them had died, while the engine lives on and takes them
// over again. It is for tests with crashes within bodies, of many executions beside
// each other; CrashEverywhere is for crashes at writes.
type Mortal struct {
	*mem.Store

	mu     sync.Mutex
	owners map[string]string // by execution
	epochs map[string]int64
	dead   map[string]int64 // the last epoch that nobody hears any more
}

// NewMortal returns an empty store.
func NewMortal() *Mortal {
	return &Mortal{Store: mem.New(), owners: map[string]string{}, epochs: map[string]int64{}, dead: map[string]int64{}}
}

// Kill ends the owner of an execution: its death is proven to the next one, and it
// hears at its next write that it is fenced. Nothing of it is recorded any more,
// and who calls Kill in a body returns from it without an effect.
func (m *Mortal) Kill(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead[id] = m.epochs[id]
	m.KillOwner(m.owners[id])
}

func (m *Mortal) owned(id, owner string, epoch int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owners[id], m.epochs[id] = owner, epoch
}

// Create implements durable.Store.
func (m *Mortal) Create(ctx context.Context, c *durable.Create) error {
	err := m.Store.Create(ctx, c)
	if err == nil && c.First != nil {
		m.owned(c.ID, c.Owner, 1)
	}
	return err
}

// Claim implements durable.Store.
func (m *Mortal) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := m.Store.Claim(ctx, c)
	if err == nil {
		m.owned(c.ID, c.Owner, rec.Epoch)
	}
	return rec, err
}

// Commit implements durable.Store.
func (m *Mortal) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	m.mu.Lock()
	dead := c.Epoch <= m.dead[c.ID]
	m.mu.Unlock()
	if dead {
		return durable.Receipt{}, durable.ErrFenced
	}
	return m.Store.Commit(ctx, c)
}
