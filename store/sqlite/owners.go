package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// ownersSuffix names the directory of lock files, beside the database.
const ownersSuffix = "-owners"

// reapEvery bounds how often the locks of others are tried.
const reapEvery = 100 * time.Millisecond

// owner is an opened store as others see it: a file that it keeps locked as
// long as code may run under its claims, and the number of its row in the
// table of owners, which stands on each record that it claims.
//
// The operating system releases the lock when the process ends, whatever ends
// it. Whoever can take the lock has therefore proven that the owner is dead.
// The file is there and locked before the row is, and the row is gone before
// the file, so no living owner is ever seen without its lock.
type owner struct {
	n    int64
	dir  string
	name string
	lock *flock.Flock
}

func (o *owner) path() string { return filepath.Join(o.dir, o.name) }

// newOwner creates and locks a file of its own.
func newOwner(dir string) (owner, error) {
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return owner{}, broken(dir, "the directory for locks cannot be made: give the user of this program write permission beside the database (%v)", err)
	}
	for range 1000 {
		var id [8]byte
		rand.Read(id[:])
		o := owner{dir: dir, name: hex.EncodeToString(id[:]) + ".lock"}
		// Readable by all, so that other users of the file can try the lock.
		o.lock = flock.New(o.path(), flock.SetPermissions(0o644))
		locked, err := o.lock.TryLock()
		if err != nil {
			return owner{}, broken(o.path(), "the lock file cannot be made: see that this user may write there and that the disk is not full (%v)", err)
		}
		// Who sweeps may take and remove the file between our creating and
		// locking it. Then we hold the lock of nothing, and try another. A
		// store sweeps once, so this hardly ever happens, let alone twice.
		if locked && o.held() {
			return o, nil
		}
		o.lock.Close()
		time.Sleep(100 * time.Microsecond)
	}
	return owner{}, fmt.Errorf("sqlite: %s: cannot create a lock file that stays", dir)
}

// held tells whether the file that we have locked is the one that others see.
func (o *owner) held() bool {
	ours, err := o.lock.Stat()
	if err != nil {
		return false
	}
	seen, err := os.Stat(o.path())
	return err == nil && os.SameFile(ours, seen)
}

// abandon removes the file and then releases it, in this order, so that
// nobody can lock a file that is about to go.
func (o *owner) abandon() {
	removed := os.Remove(o.path())
	o.lock.Close()
	if removed != nil {
		os.Remove(o.path()) // where open files cannot be removed
	}
}

// kept holds the locks that stay until the process ends. Unreferenced, they
// would be released by the garbage collector.
var kept struct {
	mu    sync.Mutex
	locks []*flock.Flock
}

func (o *owner) keepForever() {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.locks = append(kept.locks, o.lock)
}

// register makes this store known to others.
func (s *Store) register() error {
	return s.writer.do(context.Background(), func(c *conn) {
		add := c.query(qAddOwner)
		add.text(s.self.name).run()
		s.self.n = c.db.LastInsertRowID()
	})
}

// signOff takes this store out of the table if nothing that it claimed is
// still running, and tells whether that is so.
func (s *Store) signOff() (idle bool) {
	err := s.writer.do(context.Background(), func(c *conn) {
		claims := c.query(qClaimsOf)
		if idle = !claims.int(s.self.n).one(nil); idle && c.fault == nil {
			drop := c.query(qDropOwner)
			drop.int(s.self.n).run()
		}
	})
	return idle && err == nil
}

// reap frees what dead processes held. It does so at most every reapEvery;
// what it cannot do now, the next call or a lease's end will.
func (s *Store) reap(ctx context.Context, now time.Time) {
	if !s.reaping.TryLock() {
		return
	}
	defer s.reaping.Unlock()
	if !s.lastReap.IsZero() && time.Since(s.lastReap) < reapEvery {
		return
	}
	first := s.lastReap.IsZero()
	s.lastReap = time.Now()
	others, err := s.others(ctx)
	if err != nil {
		return
	}
	alive := 0
	for _, o := range others {
		if dead, err := s.bury(ctx, o, now); err != nil || !dead {
			alive++
		}
	}
	s.crowded.Store(alive > 0)
	if first {
		s.sweepLocks(others)
	}
}

func (s *Store) others(ctx context.Context) (others []owner, err error) {
	err = s.read(ctx, func(c *conn) {
		rows := c.query(qOwners)
		for rows.int(s.self.n); rows.row(); {
			others = append(others, owner{n: rows.getInt(), dir: s.self.dir, name: rows.getText()})
		}
	})
	return others, err
}

// bury tries the lock of another owner. If that is free or gone, the owner is
// dead: then its claims become due now, its row goes, by which everybody knows
// that its claims are a dead one's, and at last its file.
func (s *Store) bury(ctx context.Context, o owner, now time.Time) (dead bool, err error) {
	o.lock = flock.New(o.path(), flock.SetFlag(os.O_RDONLY))
	locked, err := o.lock.TryLock()
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone
	case err != nil:
		return false, err
	case !locked:
		return false, nil
	default:
		// The lock is held until all is done: a second reaper finds it taken
		// now, or everything in order later.
		defer o.abandon()
	}
	claims, err := s.free(ctx, o.n, now)
	if err != nil {
		return true, err
	}
	s.opts.Logger.Info("took over from a process that is gone", "owner", o.name, "claims", claims)
	return true, nil
}

// free makes the claims of a dead owner due and drops its row.
func (s *Store) free(ctx context.Context, proc int64, now time.Time) (claims int, err error) {
	// A dead one claims nothing more, so its claims can be looked for before
	// the write lock is taken: with very many sleeping executions that takes
	// a moment.
	var found []int64
	err = s.read(ctx, func(c *conn) {
		rows := c.query(qClaimsOf)
		for rows.int(proc); rows.row(); {
			found = append(found, rows.getInt())
		}
	})
	if err != nil {
		return 0, err
	}
	err = s.writer.do(ctx, func(c *conn) {
		claims = 0
		for _, n := range found {
			row := c.query(qFreeClaim)
			claims += row.time(now).int(n).int(proc).run()
		}
		drop := c.query(qDropOwner)
		drop.int(proc).run()
	})
	return claims, err
}

// provenDead tells whether the owner behind a claim is dead, and frees all
// its claims if that is news.
func (s *Store) provenDead(ctx context.Context, proc int64, now time.Time) (bool, error) {
	if proc == s.self.n {
		return false, nil
	}
	known := false
	o := owner{n: proc, dir: s.self.dir}
	err := s.read(ctx, func(c *conn) {
		row := c.query(qOwner)
		known = row.int(proc).one(func(q *call) { o.name = q.getText() })
	})
	if err != nil || !known {
		return !known && err == nil, err
	}
	return s.bury(ctx, o, now)
}

// sweepLocks removes files of processes that died before they had a row.
func (s *Store) sweepLocks(registered []owner) {
	files, err := os.ReadDir(s.self.dir)
	if err != nil {
		return
	}
	names := map[string]bool{s.self.name: true}
	for _, o := range registered {
		names[o.name] = true
	}
	for _, f := range files {
		if names[f.Name()] || filepath.Ext(f.Name()) != ".lock" {
			continue
		}
		// Who is about to register holds the lock, so a free one belongs to
		// nobody; one that was registered since and died has claims, and
		// keeps its file until those are freed.
		o := owner{dir: s.self.dir, name: f.Name(), lock: flock.New(filepath.Join(s.self.dir, f.Name()), flock.SetFlag(os.O_RDONLY))}
		if locked, err := o.lock.TryLock(); err == nil && locked {
			if s.unregistered(o.name) {
				o.abandon()
			}
			o.lock.Close()
		}
	}
}

func (s *Store) unregistered(name string) bool {
	others, err := s.others(context.Background())
	for _, o := range others {
		if o.name == name {
			return false
		}
	}
	return err == nil
}
