package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// hold keeps the writer in a transaction until release is called.
func (s *Store) hold(t *testing.T) (release func()) {
	t.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.writer.do(context.Background(), func(*conn) { close(begun); <-end })
	}()
	<-begun
	return sync.OnceFunc(func() {
		close(end)
		if err := <-ended; err != nil {
			t.Errorf("the held transaction: got %v, want nil", err)
		}
	})
}

// queued waits until this many requests wait for the writer.
func (s *Store) queued(n int) {
	for {
		s.writer.mu.Lock()
		got := len(s.writer.queue)
		s.writer.mu.Unlock()
		if got >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// What the contract refuses does not disturb what shares its transaction.
func TestGroupWithRefusals(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	for i := range 8 {
		create(t, s, running(fmt.Sprint("order-", i)))
	}
	release := s.hold(t)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			c := step(fmt.Sprint("order-", i/2), 1, 2, durable.StatusRunning)
			if i%2 == 1 {
				c.Epoch = 7
			}
			_, errs[i] = s.Commit(t.Context(), c)
		})
	}
	s.queued(len(errs))
	release()
	wg.Wait()
	for i, err := range errs {
		if want := []error{nil, durable.ErrFenced}[i%2]; !errors.Is(err, want) {
			t.Errorf("commit %d: got %v, want %v", i, err, want)
		}
	}
	for i := range 8 {
		if rec, err := s.Load(t.Context(), fmt.Sprint("order-", i), durable.LoadAll); err != nil || rec.Seq != 2 || len(rec.Journal) != 2 {
			t.Errorf("order-%d: got %+v, %v, want commit 2", i, rec, err)
		}
	}
}

// A fault undoes the whole transaction, tells everybody in it, and leaves
// nothing behind that the next one would trip over.
func TestGroupWithFault(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	release := s.hold(t)
	errs := make(chan error, 3)
	fault := errors.New("the disk caught fire")
	go func() { errs <- s.Create(t.Context(), pending("a")) }()
	s.queued(1)
	go func() { errs <- s.writer.do(t.Context(), func(c *conn) { c.fault = fault }) }()
	s.queued(2)
	go func() { errs <- s.Create(t.Context(), pending("b")) }()
	s.queued(3)
	release()
	for range 3 {
		if err := <-errs; !errors.Is(err, fault) {
			t.Errorf("got %v, want the fault", err)
		}
	}
	for _, id := range []string{"a", "b"} {
		if _, err := s.Load(t.Context(), id, durable.LoadHead); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("Load(%q): got %v, want ErrNotFound", id, err)
		}
		// The definition, whose row went with the transaction, gets a new one.
		create(t, s, pending(id))
	}
	if ids := due(t, s); len(ids) != 2 {
		t.Errorf("due: got %q, want both", ids)
	}
}

// A call whose context ends while it queues is answered at once, and not run.
func TestContextEndsInTheQueue(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	release := s.hold(t)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() { answer <- s.Create(ctx, pending("a")) }()
	s.queued(1)
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	release()
	create(t, s, pending("b")) // comes after it in the queue
	if _, err := s.Load(t.Context(), "a", durable.LoadHead); !errors.Is(err, durable.ErrNotFound) {
		t.Errorf("the withdrawn call: got %v, want it not run", err)
	}
	if err := s.Create(ctx, pending("c")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: got %v, want context.Canceled", err)
	}
	if _, err := s.Load(ctx, "b", durable.LoadHead); !errors.Is(err, context.Canceled) {
		t.Errorf("read with an ended context: got %v, want context.Canceled", err)
	}
}

// A call that has begun returns its outcome although its context ended.
func TestContextEndsInTheTransaction(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.writer.do(ctx, func(*conn) { cancel() }); err != nil {
		t.Errorf("got %v, want nil, as it was written", err)
	}
}

// More calls than one transaction takes.
func TestManyQueued(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	release := s.hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	const n = 3*maxGroup + 7
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c, own := t.Context(), i%3 == 0
			if own {
				c = ctx
			}
			if err := s.Create(c, pending(fmt.Sprint("order-", i))); err != nil && !own {
				t.Errorf("create %d: got %v, want nil", i, err)
			}
		})
	}
	s.queued(n)
	cancel()
	release()
	wg.Wait()
	if page, err := s.List(t.Context(), &durable.ListQuery{Limit: n + 1}); err != nil || len(page.Heads) < n-n/3-1 {
		t.Errorf("got %d, %v, want at least the %d that were not withdrawn", len(page.Heads), err, n-n/3-1)
	}
}

// A panic of the driver reaches nobody, and ends the use of the store.
func TestDriverPanic(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
	err := s.writer.do(t.Context(), func(*conn) { panic("index out of range") })
	if err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("got %v, want an error that names the panic", err)
	}
	if again := s.Create(t.Context(), pending("a")); again == nil {
		t.Error("a write after it: got nil, want the error")
	}
	if _, again := s.Load(t.Context(), "a", durable.LoadHead); again == nil || errors.Is(again, durable.ErrNotFound) {
		t.Errorf("a read after it: got %v, want the error", again)
	}
}

// Close lets everything that is under way finish; what comes later is told.
func TestCloseWhileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	var wg sync.WaitGroup
	acknowledged := make([]int, 16)
	for worker := range acknowledged {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("order-%d-%d", worker, i)
				err := s.Create(t.Context(), pending(id))
				if err == nil {
					acknowledged[worker]++
					_, err = s.Load(t.Context(), id, durable.LoadAll)
				}
				if err == nil {
					_, err = s.List(t.Context(), &durable.ListQuery{Limit: 3})
				}
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("got %v, want ErrClosed", err)
					}
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: got %v, want nil", err)
	}
	want := 0
	for _, n := range acknowledged {
		want += n
	}
	page, err := openAt(t, path).List(t.Context(), &durable.ListQuery{Limit: 1 << 20})
	if err != nil || len(page.Heads) != want {
		t.Errorf("after reopening: got %d executions, %v, want the %d acknowledged", len(page.Heads), err, want)
	}
}
