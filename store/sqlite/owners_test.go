package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// die ends a store as the death of its process does: its lock is released,
// and nothing is tidied up.
func (s *Store) die(t *testing.T) {
	t.Helper()
	close(s.closing)
	s.writer.close()
	s.writer.c.close()
	for range s.opts.Readers {
		if c := <-s.readers; c != nil {
			c.close()
		}
	}
	s.self.lock.Close()
	s.closeOnce.Do(func() {})
}

func lockFiles(t *testing.T, s *Store) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.self.dir, "*.lock"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Closing a store with nothing in hand leaves no trace of it.
func TestCloseLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	create(t, s, running("a"))
	if _, err := s.Commit(t.Context(), step("a", 1, 2, durable.StatusSuspended)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if files := lockFiles(t, s); len(files) != 0 {
		t.Errorf("lock files: got %q, want none", files)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err == nil {
			t.Errorf("%s is left", suffix)
		}
	}
	s = openAt(t, path)
	if others, err := s.others(t.Context()); err != nil || len(others) != 0 {
		t.Errorf("other owners: got %v, %v, want none", others, err)
	}
}

// One process may open a file twice: each has claims of its own.
func TestTwoStoresInOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	a, b := openAt(t, path), openAt(t, path)
	create(t, a, running("a"))
	if ids := due(t, b); len(ids) != 0 {
		t.Fatalf("due: got %q, want nothing while the other store is open", ids)
	}
	a.die(t)
	b.lastReap = time.Time{}
	if ids := due(t, b); len(ids) != 1 {
		t.Fatalf("due: got %q, want what the dead one held", ids)
	}
	rec, err := b.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "b/1", Now: now, Lease: late})
	if err != nil || rec.SafeEpoch != 1 {
		t.Fatalf("got %+v, %v, want epoch 1 safe", rec, err)
	}
}

// A directory of locks that is gone, as after restoring the file alone, means
// that nobody is alive.
func TestLocksLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	a := openAt(t, path)
	create(t, a, running("a"))
	a.die(t)
	if err := os.RemoveAll(path + ownersSuffix); err != nil {
		t.Fatal(err)
	}
	if ids := due(t, openAt(t, path)); len(ids) != 1 {
		t.Errorf("due: got %q, want it", ids)
	}
}

// Files of processes that died before they were registered go away.
func TestForgottenLockFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	openAt(t, path).Close()
	for _, name := range []string{"0000000000000000.lock", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(path+ownersSuffix, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := openAt(t, path)
	due(t, s)
	if files := lockFiles(t, s); len(files) != 1 || files[0] != s.self.path() {
		t.Errorf("lock files: got %q, want only our own", files)
	}
	if _, err := os.Stat(filepath.Join(s.self.dir, "notes.txt")); err != nil {
		t.Errorf("a file that is not ours: got %v, want it left alone", err)
	}
}

// Stores open, claim and die while several others reap: nobody alive is ever
// taken for dead, and all that the dead held comes free, once.
func TestReapersAndStarters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	var alive, wrong atomic.Int64
	var holders sync.Map // execution ID to whether its owner lives
	last := openAt(t, path)
	done := make(chan struct{})
	var reapers, starters sync.WaitGroup
	for range 3 {
		s := openAt(t, path)
		reapers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s.lastReap = time.Time{} // without the pause between rounds
				for _, id := range due(t, s) {
					if lives, ok := holders.Load(id); !ok || lives.(bool) {
						wrong.Add(1)
					}
				}
			}
		})
	}
	for worker := range 3 {
		starters.Go(func() {
			for i := range 15 {
				s, err := Open(path, Options{Readers: 1})
				if err != nil {
					t.Errorf("Open: got %v, want nil", err)
					return
				}
				id := string(rune('a'+worker)) + string(rune('a'+i))
				holders.Store(id, true)
				create(t, s, running(id))
				alive.Add(1)
				time.Sleep(2 * time.Millisecond)
				if !s.self.held() {
					t.Error("the lock file of a living store was removed")
				}
				if dead, err := last.bury(t.Context(), s.self, now); dead {
					t.Errorf("a living store was buried, %v", err)
				}
				holders.Store(id, false)
				s.die(t)
			}
		})
	}
	starters.Wait()
	close(done)
	reapers.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d times a living owner's claim was due", n)
	}
	if ids := due(t, last); int64(len(ids)) != alive.Load() {
		t.Errorf("due in the end: got %d, want %d", len(ids), alive.Load())
	}
	if others, err := last.others(t.Context()); err != nil || len(others) != 3 {
		t.Errorf("other owners: got %d, %v, want the 3 that live", len(others), err)
	}
}

// An execution that ended, and is listed because it may be deleted, is nobody's
// claim: the death of who ended it leaves it as it is.
func TestDeathLeavesTheEndedAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	a, b := openAt(t, path), openAt(t, path)
	create(t, a, running("a"))
	end := step("a", 1, 2, durable.StatusSucceeded)
	end.Due = late
	if _, err := a.Commit(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	born := running("born")
	born.First.Status, born.First.Due = durable.StatusFailed, late
	create(t, a, born)
	a.die(t)
	b.lastReap = time.Time{}
	if ids := due(t, b); len(ids) != 0 {
		t.Fatalf("due: got %q, want nothing", ids)
	}
	for _, id := range []string{"a", "born"} {
		rec, err := b.Load(t.Context(), id, durable.LoadHead)
		if err != nil || !rec.Due.Equal(late) {
			t.Errorf("%s: got %+v, %v, want it due at %v", id, rec, err, late)
		}
		if _, err := b.Claim(t.Context(), &durable.Claim{ID: id, Owner: "b/1", Now: late, Lease: late}); !errors.Is(err, durable.ErrEnded) {
			t.Errorf("a claim of %s: got %v, want ErrEnded", id, err)
		}
	}
}
