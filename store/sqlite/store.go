package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clewdev/clew/durable"
)

// Options tune a Store. The zero value is good.
type Options struct {
	// BusyTimeout is how long a call waits while another process keeps the
	// file locked. 0 is 10 s.
	BusyTimeout time.Duration
	// Readers is the number of connections for reads, which run beside each
	// other and beside the writer. 0 is 4.
	Readers int
	// Logger hears of processes found dead. nil is silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.BusyTimeout < 0 || o.Readers < 0 {
		return o, fmt.Errorf("sqlite: options: BusyTimeout and Readers cannot be negative: %w", durable.ErrInvalid)
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 10 * time.Second
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Store is a durable.Store in a file. It is safe for concurrent use, by
// several processes too.
type Store struct {
	path string // absolute, without symbolic links
	opts Options

	self    owner // this store among those that share the file
	writer  *writer
	readers chan *conn  // nil ones are not dialled yet
	file    os.FileInfo // of the database as it was opened

	crowded atomic.Bool // others share the file
	fate    atomic.Pointer[error]
	checked atomic.Int64 // when sound last looked at the files, in Unix ns

	reaping  sync.Mutex // one reaper at a time
	lastReap time.Time

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

var _ durable.Store = (*Store)(nil)

// Open opens the store in the file at path, which it creates if there is none;
// the directory must exist. Beside the file stand its log (-wal, -shm) and a
// directory for locks (-owners). An error that a person must act on names the
// remedy and is durable.ErrStoreBroken.
func Open(path string, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if path == "" || path == ":memory:" {
		return nil, fmt.Errorf("sqlite: %q names no file, store/mem keeps executions in memory: %w", path, durable.ErrInvalid)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	if err := prepareFile(path, opts.BusyTimeout); err != nil {
		return nil, err
	}
	// Processes that reach the file by different links must agree on the
	// place of the locks, or they would think each other dead.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	s := &Store{path: path, opts: opts, closing: make(chan struct{}), readers: make(chan *conn, opts.Readers)}
	for range opts.Readers {
		s.readers <- nil
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkPlace looks for mistakes of which SQLite would only say that it cannot
// open the file.
func checkPlace(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return broken(path, "the directory %s does not exist: create it, or correct the path", dir)
	case err != nil:
		return broken(path, "the directory cannot be looked at: mend its permissions: %v", err)
	case !info.IsDir():
		return broken(path, "%s is not a directory: correct the path", dir)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return broken(path, "this is not a file: correct the path")
	}
	return nil
}

// writePragmas are the settings of a write connection.
var writePragmas = []string{
	"synchronous = FULL",
	"fullfsync = 1", // where fsync alone does not reach the disk's surface
	"checkpoint_fullfsync = 1",
	"cache_size = -32000",
	"temp_store = memory",
	// Pages that are hot are copied into the file once per checkpoint: at
	// 16 MB of log that is seldom enough to cost nothing, and a log of that
	// size is read through in no time after a crash.
	"wal_autocheckpoint = 4000",
	"journal_size_limit = 67108864",
}

// start dials the write connection, registers the store as an owner and lets
// the writer run.
func (s *Store) start() (err error) {
	if s.file, err = os.Stat(s.path); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	c, err := dial(s.path, s.opts.BusyTimeout, writePragmas...)
	if err != nil {
		return explain(s.path, err)
	}
	c.db.SetBusyTimeout(0) // from here on the writer does the waiting, see begin
	if s.self, err = newOwner(s.path + ownersSuffix); err != nil {
		c.close()
		return err
	}
	s.writer = newWriter(s, c)
	if err := s.register(); err != nil {
		s.writer.close()
		c.close()
		s.self.abandon()
		return err
	}
	return nil
}

// Close ends the store after the calls that are under way; later ones get
// ErrClosed. Claims of this store that are still held stay so: code that runs
// under them may go on, so their owner counts as alive until the process ends.
// They come free at the end of their lease, or at the end of the process.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	idle := s.signOff()
	close(s.closing)
	s.writer.close()
	errs := []error{explain(s.path, s.writer.c.close())}
	for range s.opts.Readers {
		if c := <-s.readers; c != nil {
			errs = append(errs, explain(s.path, c.close()))
		}
	}
	if idle {
		s.self.abandon()
	} else {
		s.self.keepForever()
	}
	return errors.Join(errs...)
}

// read runs work in a read transaction: all of it sees one state of the file.
func (s *Store) read(ctx context.Context, work func(*conn)) (err error) {
	c, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err, c = s.poison(p), nil
		}
		s.readers <- c
	}()
	c.exec(qBeginRead)
	if c.fault == nil {
		work(c)
	}
	c.exec(qEnd)
	if err = c.take(); err == nil {
		return nil
	}
	if !c.db.AutocommitEnabled() {
		c.exec(qRollback)
		c.take()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(s.path, err)
}

// reader takes a connection out of the pool; who takes one puts it back.
func (s *Store) reader(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if fate := s.fate.Load(); fate != nil {
		return nil, *fate
	}
	select {
	case <-s.closing:
		return nil, ErrClosed
	default:
	}
	var c *conn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, ErrClosed
	}
	if c != nil {
		return c, nil
	}
	c, err := dial(s.path, s.opts.BusyTimeout, "query_only = 1", "cache_size = -8000", "temp_store = memory")
	if err != nil {
		s.readers <- nil
		return nil, explain(s.path, err)
	}
	return c, nil
}

// sound says why the store can no longer serve: the driver panicked, or
// somebody removed or replaced a file that it lives by. It looks at the files
// a few times a second.
func (s *Store) sound() error {
	if fate := s.fate.Load(); fate != nil {
		return *fate
	}
	now := time.Now().UnixNano()
	last := s.checked.Load()
	if now-last < int64(250*time.Millisecond) || !s.checked.CompareAndSwap(last, now) {
		return nil
	}
	var err error
	if info, statErr := os.Stat(s.path); statErr != nil || !os.SameFile(info, s.file) {
		err = broken(s.path, textMoved)
	} else if !s.self.held() {
		err = broken(s.path, "the lock file %s was removed while in use, so that others take this process for dead: start this program anew and leave that directory alone", s.self.path())
	}
	if err != nil {
		s.fate.CompareAndSwap(nil, &err)
	}
	return err
}
