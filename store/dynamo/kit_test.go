package dynamo

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// Times of the tests' stories.
var (
	now  = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	late = now.Add(time.Hour)
)

func identity(id string) durable.Identity {
	return durable.Identity{ID: id, Definition: "order", Version: "1", Created: now, Input: []byte(`"in"`)}
}

// batch is commit seq of a claim with one entry.
func batch(id string, epoch, seq int64, status durable.Status) *durable.Commit {
	return &durable.Commit{ID: id, Epoch: epoch, Seq: seq, Now: now, Status: status,
		Entries: []durable.Entry{{Kind: durable.EntryStart, Op: seq, At: now}}}
}

// running is an execution born claimed, for an hour.
func running(id string) *durable.Create {
	first := batch(id, 1, 1, durable.StatusRunning)
	first.Lease = late
	return &durable.Create{Identity: identity(id), Now: now, Owner: "creator/" + id, First: first}
}

// pending is an execution that is due.
func pending(id string) *durable.Create {
	return &durable.Create{Identity: identity(id), Now: now, Owner: "creator/" + id, Due: now}
}

func create(t testing.TB, s *Store, c *durable.Create) {
	t.Helper()
	if err := s.Create(t.Context(), c); err != nil {
		t.Fatalf("Create(%s): got %v, want nil", c.ID, err)
	}
}

func commit(t testing.TB, s *Store, c *durable.Commit) {
	t.Helper()
	if _, err := s.Commit(t.Context(), c); err != nil {
		t.Fatalf("Commit(%s, %d): got %v, want nil", c.ID, c.Seq, err)
	}
}

func load(t testing.TB, s *Store, id string) *durable.Record {
	t.Helper()
	rec, err := s.Load(t.Context(), id, durable.LoadAll)
	if err != nil {
		t.Fatalf("Load(%s): got %v, want nil", id, err)
	}
	return rec
}

// wantBroken checks that an error tells a person what to do.
func wantBroken(t testing.TB, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, durable.ErrStoreBroken) {
		t.Fatalf("got %v, want ErrStoreBroken", err)
	}
	wantSays(t, err, says...)
}

func wantSays(t testing.TB, err error, says ...string) {
	t.Helper()
	for _, s := range says {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("got %v, want it to say %q", err, s)
		}
	}
}
