package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clewdev/clew/durable"
)

// Options configure a Store. Region, endpoint and credentials are the
// client's.
type Options struct {
	// Table is the name of the table. Needed.
	Table string
	// AttemptTimeout bounds one attempt of a request; attempts are repeated
	// until the call's context ends. Default 2 s.
	AttemptTimeout time.Duration

	// For CreateTable:

	// Shards is over how many partitions of the index each definition version
	// spreads what is due; what the table says holds. It may grow, by another
	// CreateTable: who runs takes it in within a minute. The first Open of a table
	// that something else made sets it, too. Default 4.
	Shards int
	// PointInTimeRecovery lets the table be restored to any second of the last
	// 35 days. It costs by the size of the table.
	PointInTimeRecovery bool
	// DeletionProtection refuses to delete the table.
	DeletionProtection bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Shards == 0 {
		o.Shards = 4
	}
	if o.AttemptTimeout == 0 {
		o.AttemptTimeout = 2 * time.Second
	}
	switch {
	case o.Table == "":
		return o, fmt.Errorf("%w: dynamo: Options.Table is empty", durable.ErrInvalid)
	case o.Shards < 0 || o.Shards > maxShards:
		return o, fmt.Errorf("%w: dynamo: Options.Shards is %d, want 1 to %d", durable.ErrInvalid, o.Shards, maxShards)
	case o.AttemptTimeout < 0:
		return o, fmt.Errorf("%w: dynamo: Options.AttemptTimeout is %v", durable.ErrInvalid, o.AttemptTimeout)
	}
	return o, nil
}

const maxShards = 1000

// Store is a durable.Store in a DynamoDB table. It is safe for concurrent use
// and needs no closing.
type Store struct {
	caller
	api    API
	shards atomic.Int64
	looked atomic.Int64 // when shards was read last, in ms of whoever polls
	roomy  int          // see roomyHead

	mu    sync.Mutex
	turns map[string]*head // heads of the claims held here, as the last write left them
}

var _ durable.Store = (*Store)(nil)

// maxTurns bounds what a Store remembers of claims, lost ones included. One
// that was forgotten costs a read before its next commit.
const maxTurns = 10_000

// Open returns a Store over a table that exists, after it has compared its
// keys and indexes with what clew needs. One that CreateTable did not make gets
// its settings, if these credentials may write.
func Open(ctx context.Context, client API, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		caller: caller{table: opts.Table, attempt: opts.AttemptTimeout}, api: client,
		roomy: roomyHead, turns: map[string]*head{},
	}
	s.shards.Store(int64(opts.Shards))
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// remembered returns the head as the commit before this one left it, if it is
// known here. It is exact: nothing but commits changes what they change.
func (s *Store) remembered(id string, epoch, seq int64) *head {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.turns[id]; h != nil && h.Epoch == epoch && h.Seq == seq {
		return h
	}
	return nil
}

// remember keeps the head of a claim for its next commit.
func (s *Store) remember(h *head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Status != durable.StatusRunning {
		delete(s.turns, h.ID)
		return
	}
	if old := s.turns[h.ID]; old != nil && (old.Epoch > h.Epoch || old.Epoch == h.Epoch && old.Seq > h.Seq) {
		return
	}
	for id := range s.turns {
		if len(s.turns) < maxTurns {
			break
		}
		delete(s.turns, id)
	}
	s.turns[h.ID] = h
}

func (s *Store) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.turns, id)
}

// charge adds what was spent to the bill of a claim that is held here.
func (s *Store) charge(id string, spent durable.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.turns[id]; h != nil {
		next := *h
		next.used.Add(spent)
		s.turns[id] = &next
	}
}

// read returns the head, nil if there is none.
func (s *Store) read(ctx context.Context, id string) (*head, error) {
	m, err := s.get(ctx, pkOf(id), skHead)
	if err != nil || len(m) == 0 {
		return nil, err
	}
	return s.decodeHead(m)
}

// headOf decodes the head that a server sent along, or reads it if it did not.
func (s *Store) headOf(ctx context.Context, id string, m item) (*head, error) {
	if len(m) == 0 {
		return s.read(ctx, id)
	}
	return s.decodeHead(m)
}

// change sends an update of the head. If its condition fails, refused is the
// head as it is, nil if there is none: the server sends it along with the
// refusal, or is asked for it.
func (s *Store) change(ctx context.Context, id string, u *update) (done, refused *head, err error) {
	out, err := call(ctx, &s.caller, "UpdateItem", u.input(s.table, id), s.api.UpdateItem)
	if err == nil {
		done, err = s.decodeHead(out.Attributes)
		return done, nil, err
	}
	refused, is, err := s.refusal(ctx, id, err)
	if err == nil && is && refused == nil {
		err = durable.ErrNotFound
	}
	return nil, refused, err
}

// refusal reads what failed a condition, if that is what err says.
func (s *Store) refusal(ctx context.Context, id string, err error) (h *head, is bool, _ error) {
	old, is := refused(err)
	if !is {
		return nil, false, err
	}
	h, err = s.headOf(ctx, id, old)
	return h, true, err
}

// record completes a head to what callers get, for LoadAll with this journal.
// Nothing in it is shared.
func (s *Store) record(ctx context.Context, h *head, what durable.Load, journal []record) (*durable.Record, error) {
	rec := &durable.Record{Head: h.Head, Heartbeats: h.heartbeats()}
	rec.Usage = h.used
	rec.Digest = append([]byte(nil), h.Digest...)
	rec.Tags, rec.Trace = maps.Clone(h.Tags), maps.Clone(h.Trace)
	err := s.state(ctx, h, &rec.Head)
	if err == nil {
		rec.Inbox, err = s.inbox(ctx, h, h.Seen)
	}
	if err == nil && what == durable.LoadAll {
		rec.Input, err = s.fetch(ctx, h.ID, h.input)
		if err == nil {
			rec.Journal, err = s.entriesOf(ctx, h, journal)
		}
		if n := h.baseRev + int64(len(rec.Journal)); err == nil && h.released() && n != h.Revision {
			err = fmt.Errorf("the journal has %d entries, want %d", len(rec.Journal), h.Revision-h.baseRev)
		}
		rec.Revision = h.baseRev + int64(len(rec.Journal))
		for i := range journal {
			if journal[i].epoch == h.Epoch {
				rec.Seq = max(rec.Seq, journal[i].seq)
			}
		}
	}
	if err != nil {
		return nil, s.torn(ctx, h, err)
	}
	return rec, nil
}

// state fills in what stands in the head in its stored form.
func (s *Store) state(ctx context.Context, h *head, into *durable.Head) error {
	var fields [4][]byte
	for i, v := range [4]value{h.detail, h.result, h.park, h.failure} {
		b, err := s.fetch(ctx, h.ID, v)
		if err != nil {
			return err
		}
		fields[i] = b
	}
	into.Detail, into.Result = string(fields[0]), fields[1]
	var err, failed error
	into.Park, err = fromJSON[durable.Park](fields[2])
	into.Error, failed = fromJSON[durable.Error](fields[3])
	return firstOf(err, failed)
}

// torn explains why a record could not be put together: it was deleted
// meanwhile, or it is damaged.
func (s *Store) torn(ctx context.Context, h *head, err error) error {
	if ctx.Err() != nil || errors.Is(err, durable.ErrStoreBroken) {
		return err
	}
	if again, failed := s.read(ctx, h.ID); failed == nil && (again == nil || again.creator != h.creator) {
		return durable.ErrNotFound
	}
	if errors.Is(err, errDamaged) || errors.Is(err, errOutdated) { // and nobody writes it anew
		return broken(s.table, fmt.Sprintf("reading execution %q", h.ID), "its journal is damaged (%v): restore its items from a backup; other executions are not concerned", err)
	}
	return fmt.Errorf("dynamo: table %s: execution %q cannot be read: %w", s.table, h.ID, err)
}
