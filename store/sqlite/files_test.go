package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/clewdev/clew/durable"
)

func TestOpenRefusesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("text.db", strings.Repeat("this is a text, not a database\n", 200))
	execute(t, in("tables.db"), "CREATE TABLE cats (name TEXT)")
	execute(t, in("app.db"), "PRAGMA application_id = 7")
	execute(t, in("version.db"), "PRAGMA user_version = 3")
	openAt(t, in("newer.db")).Close()
	execute(t, in("newer.db"), "PRAGMA user_version = 99")
	os.Remove(in("newer.db") + ownersSuffix)
	write("plain", "")

	for name, says := range map[string]string{
		"missing/clew.db": "create it",
		"plain/clew.db":   "correct the path",
		".":               "not a file",
		"text.db":         "not a database",
		"tables.db":       "another program",
		"app.db":          "another program",
		"version.db":      "another program",
		"newer.db":        "newer clew (schema 99, this build knows 1)",
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := os.ReadFile(in(name))
			s, err := Open(in(name), Options{})
			if s != nil {
				t.Error("got a store, want none")
			}
			wantBroken(t, err, in(name), says)
			if after, _ := os.ReadFile(in(name)); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			for _, suffix := range []string{"-wal", "-shm", ownersSuffix} {
				if _, err := os.Stat(in(name) + suffix); err == nil {
					t.Errorf("%s was left behind", suffix)
				}
			}
		})
	}
}

func TestOpenRefusesNoFile(t *testing.T) {
	for _, path := range []string{"", ":memory:"} {
		if _, err := Open(path, Options{}); !errors.Is(err, durable.ErrInvalid) {
			t.Errorf("Open(%q): got %v, want ErrInvalid", path, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "a.db"), Options{Readers: -1}); !errors.Is(err, durable.ErrInvalid) {
		t.Errorf("negative Readers: got %v, want ErrInvalid", err)
	}
}

func TestOpenTakesAnEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty?mode=ro#.db") // no URI either
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	create(t, openAt(t, path), pending("a"))
}

// Processes that reach the file by links see each other's locks.
func TestOpenThroughLink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.db"), filepath.Join(dir, "link.db")
	a := openAt(t, real)
	if err := os.Symlink(real, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	b := openAt(t, link)
	create(t, a, running("a"))
	if ids := due(t, b); len(ids) != 0 {
		t.Errorf("due: got %q, want nothing, as the owner lives", ids)
	}
}

// damage overwrites the pages after the first few with noise.
func damage(t *testing.T, path string, from int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < len(content); i++ {
		content[i] ^= byte(i*7 + 13)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func filled(t *testing.T) (path string) {
	path = filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	for _, id := range []string{"a", "b", "c"} {
		c := running(id)
		c.First.Entries[0].Payload = bytes.Repeat([]byte(id), 20_000)
		create(t, s, c)
	}
	s.Close()
	return path
}

func TestDamagedHeader(t *testing.T) {
	path := filled(t)
	damage(t, path, 0)
	_, err := Open(path, Options{})
	wantBroken(t, err, path, "not a database")
}

func TestDamagedSchema(t *testing.T) {
	path := filled(t)
	damage(t, path, 100)
	_, err := Open(path, Options{})
	wantBroken(t, err, path, "damaged", "backup")
}

// damageTable overwrites the root page of a table.
func damageTable(t *testing.T, path, table string) {
	t.Helper()
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	var page, size int
	err = sqlitex.ExecuteTransient(db, "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?", &sqlitex.ExecOptions{
		Args:       []any{table},
		ResultFunc: func(s *sqlite.Stmt) error { page, size = s.ColumnInt(0), s.ColumnInt(1); return nil },
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, size), int64(page-1)*int64(size)); err != nil {
		t.Fatal(err)
	}
}

// Damage in the middle is found by the calls that meet it, and only by those.
func TestDamageFoundLater(t *testing.T) {
	path := filled(t)
	damageTable(t, path, "journal")
	s := openAt(t, path)
	_, loaded := s.Load(t.Context(), "a", durable.LoadAll)
	_, claimed := s.Claim(t.Context(), &durable.Claim{ID: "b", Owner: "x", Now: late, Lease: late})
	_, committed := s.Commit(t.Context(), step("c", 1, 2, durable.StatusRunning))
	for _, err := range []error{loaded, claimed, committed} {
		wantBroken(t, err, path, "damaged", "backup")
	}
	rec, err := s.Load(t.Context(), "c", durable.LoadHead)
	if err != nil || rec.Seq != 1 {
		t.Errorf("head: got %+v, %v, want it as before the commit that failed", rec, err)
	}
	if page, err := s.List(t.Context(), &durable.ListQuery{}); err != nil || len(page.Heads) != 3 {
		t.Errorf("list: got %d heads, %v, want 3", len(page.Heads), err)
	}
}

func TestDamagedOwners(t *testing.T) {
	path := filled(t)
	damageTable(t, path, "owners")
	_, err := Open(path, Options{})
	wantBroken(t, err, path, "damaged", "backup")
	if files, _ := filepath.Glob(filepath.Join(path+ownersSuffix, "*")); len(files) != 1 {
		t.Errorf("lock files: got %q, want only the one that still has claims", files)
	}
}

// A batch that a newer build wrote stops whoever needs the journal, and leaves
// the execution for that build.
func TestNewerJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	create(t, s, pending("a"))
	execute(t, path, `INSERT INTO journal SELECT n * 16777216 + 1, x'63' FROM executions; UPDATE executions SET revision = 1`)
	claim := &durable.Claim{ID: "a", Owner: "w", Now: now, Lease: late}
	_, loaded := s.Load(t.Context(), "a", durable.LoadAll)
	_, claimed := s.Claim(t.Context(), claim)
	for _, err := range []error{loaded, claimed} {
		if err == nil || !strings.Contains(err.Error(), "format 99") || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("got %v, want an error that names format 99 and the execution", err)
		}
	}
	rec, err := s.Load(t.Context(), "a", durable.LoadHead)
	if err != nil || rec.Epoch != 0 || rec.Status != durable.StatusPending {
		t.Errorf("head: got %+v, %v, want it unclaimed", rec, err)
	}
}

// A journal that lost a batch is not replayed as if it were whole.
func TestJournalWithAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	create(t, s, running("a"))
	execute(t, path, "DELETE FROM journal")
	_, err := s.Load(t.Context(), "a", durable.LoadAll)
	wantBroken(t, err, `"a"`, "backup")
}

func TestFileReplacedWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Skip("cannot be moved while open:", err)
	}
	s.checked.Store(0) // as if a moment had passed
	wantBroken(t, s.Create(t.Context(), pending("a")), path, "moved or removed")
}

func TestLockFileRemovedWhileOpen(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	if err := os.Remove(s.self.path()); err != nil {
		t.Skip("cannot be removed while locked:", err)
	}
	s.checked.Store(0)
	wantBroken(t, s.Create(t.Context(), pending("a")), s.self.path(), "start this program anew")
	_, err := s.Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: now})
	wantBroken(t, err, s.self.path())
}
