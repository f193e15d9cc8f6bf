package sqlite

import (
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/clewdev/clew/durable"
)

// batches is how many rows the journals of a file have.
func batches(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = sqlitex.ExecuteTransient(db, "SELECT count(*) FROM journal", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n = s.ColumnInt(0)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A journal that begins anew leaves no rows behind, and one that has lost
// some since is found out, also when all of them are gone.
func TestJournalBeginsAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	create(t, s, running("other"))
	create(t, s, running("a"))
	commit := func(seq int64, anew bool) {
		t.Helper()
		c := step("a", 1, seq, durable.StatusRunning)
		if c.Anew = anew; anew && seq%2 == 0 {
			c.Entries = nil
		}
		if _, err := s.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	want := func(rows, length int, revision int64) {
		t.Helper()
		rec, err := s.Load(t.Context(), "a", durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		if n := batches(t, path) - 1; n != rows || len(rec.Journal) != length || rec.Revision != revision {
			t.Fatalf("got %d rows, %d entries, revision %d, want %d, %d, %d", n, len(rec.Journal), rec.Revision, rows, length, revision)
		}
	}
	commit(2, false)
	want(2, 2, 2)
	commit(3, true)
	want(1, 1, 3)
	commit(4, true) // with nothing
	want(0, 0, 3)
	commit(5, false)
	commit(6, false)
	want(2, 2, 5)
	execute(t, path, "DELETE FROM journal WHERE n & 16777215 >= 5")
	_, err := s.Load(t.Context(), "a", durable.LoadAll)
	wantBroken(t, err, "has 1 entries where its head counts 2", "backup")
	execute(t, path, "DELETE FROM journal")
	_, err = s.Load(t.Context(), "a", durable.LoadAll)
	wantBroken(t, err, "has 0 entries where its head counts 2", "backup")
}
