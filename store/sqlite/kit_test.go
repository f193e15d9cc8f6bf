package sqlite

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/clewdev/clew/durable"
)

// openAt opens a store that is closed at the end of the test.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatalf("Open(%s): got %v, want nil", path, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Times of the tests' stories.
var (
	now  = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	late = now.Add(time.Hour)
)

func order(id string) durable.Identity {
	return durable.Identity{ID: id, Definition: "order", Version: "1", Created: now, Input: []byte(`"in"`)}
}

// step is commit seq of a claim with one entry.
func step(id string, epoch, seq int64, status durable.Status) *durable.Commit {
	return &durable.Commit{ID: id, Epoch: epoch, Seq: seq, Now: now, Status: status,
		Entries: []durable.Entry{{Kind: durable.EntryStart, Op: seq, At: now}}}
}

// running is an execution born claimed, for an hour.
func running(id string) *durable.Create {
	first := step(id, 1, 1, durable.StatusRunning)
	first.Lease = late
	return &durable.Create{Identity: order(id), Now: now, Owner: "creator/" + id, First: first}
}

// pending is an execution that is due.
func pending(id string) *durable.Create {
	return &durable.Create{Identity: order(id), Now: now, Owner: "creator/" + id, Due: now}
}

func create(t testing.TB, s *Store, c *durable.Create) {
	t.Helper()
	if err := s.Create(t.Context(), c); err != nil {
		t.Fatalf("Create(%s): got %v, want nil", c.ID, err)
	}
}

func due(t testing.TB, s *Store) []string {
	t.Helper()
	page, err := s.Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: now, Limit: 1000})
	if err != nil {
		t.Fatalf("Due: got %v, want nil", err)
	}
	return page.IDs()
}

// execute runs SQL on the file behind the store's back.
func execute(t testing.TB, path, script string) {
	t.Helper()
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err == nil {
		err = sqlitex.ExecuteScript(db, script, nil)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatalf("%s: got %v, want nil", script, err)
	}
}

// wantBroken checks that an error tells a person what to do.
func wantBroken(t testing.TB, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, durable.ErrStoreBroken) {
		t.Fatalf("got %v, want ErrStoreBroken", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("got %q, want it to say %q", err, s)
		}
	}
}
