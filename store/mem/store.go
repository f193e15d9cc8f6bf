package mem

import (
	"context"
	"strings"
	"sync"

	"github.com/clewdev/clew/durable"
)

// Store is a durable.Store in memory. It is safe for concurrent use.
type Store struct {
	mu   sync.Mutex
	rows map[string]*row
}

var _ durable.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{rows: map[string]*row{}} }

// KillOwner proves the engine of this ID dead, as a released file lock would:
// no code of its activations can still run. Every claim now held under the
// nonce owner, or under one that begins with owner and a slash, as the nonces
// of an engine do, becomes claimable at once and counts for SafeEpoch. Claims
// made after the call are not touched, so a new engine may take the old ID.
//
// A write of the dead engine that was under way may still land until somebody
// else claims the record, as it may with any store.
func (s *Store) KillOwner(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if r.Owner == owner || strings.HasPrefix(r.Owner, owner+"/") {
			r.dead = true
		}
	}
}

// Create implements durable.Store.
func (s *Store) Create(ctx context.Context, c *durable.Create) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := newRow(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.rows[c.ID]; old != nil {
		if old.creator == c.Owner {
			return nil
		}
		return durable.ErrExists
	}
	s.rows[c.ID] = r
	return nil
}

// Claim implements durable.Store.
func (s *Store) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	return s.read(ctx, c.ID, func(r *row) error { return r.claim(c) })
}

// Commit implements durable.Store.
func (s *Store) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return durable.Receipt{}, err
	}
	own := copyCommit(c)
	unseen, err := s.commit(own)
	return durable.Receipt{Unseen: copyDeliveries(unseen)}, err
}

// commit returns stored deliveries, to be copied after the mutex is released.
func (s *Store) commit(c *durable.Commit) ([]durable.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[c.ID]
	if r == nil {
		return nil, durable.ErrNotFound
	}
	return r.commit(c)
}

// Deliver implements durable.Store. It leaves d as it is: the stored copy
// alone has the place in the order of arrival.
func (s *Store) Deliver(ctx context.Context, d *durable.Delivery) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	own := copyDelivery(*d)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[d.ID]
	if r == nil {
		return durable.ErrNotFound
	}
	return r.deliver(&own)
}

// Load implements durable.Store.
func (s *Store) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rec, err := s.snapshot(id, func(*row) error { return nil })
	if err != nil {
		return nil, err
	}
	if what == durable.LoadHead { // before the copy, or a look at a long execution would cost by its length
		rec.Input, rec.Journal = nil, nil
	}
	return copyRecord(rec), nil
}

// read returns a copy of a record as it is after change.
func (s *Store) read(ctx context.Context, id string, change func(*row) error) (*durable.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rec, err := s.snapshot(id, change)
	if err != nil {
		return nil, err
	}
	return copyRecord(rec), nil
}

func (s *Store) snapshot(id string, change func(*row) error) (durable.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[id]
	if r == nil {
		return durable.Record{}, durable.ErrNotFound
	}
	if err := change(r); err != nil {
		return durable.Record{}, err
	}
	return r.record(), nil
}

// Delete implements durable.Store.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[id]
	if r == nil {
		return durable.ErrNotFound
	}
	if !r.Status.Ended() {
		return durable.ErrNotEnded
	}
	delete(s.rows, id)
	return nil
}
