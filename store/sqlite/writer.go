package sqlite

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// writer is the one goroutine that writes, on the one connection that does.
// It takes all that is queued into one transaction, so that as many calls as
// come together share one fsync. While the disk works, the next ones queue.
type writer struct {
	store *Store
	c     *conn
	defs  definitions

	mu     sync.Mutex
	queue  []*request
	spare  []*request // the array of the batch before, to be queued in again
	closed bool
	wake   chan struct{} // holds one token when there is something to look at

	exited chan struct{}
	paused time.Time // when other processes last got room, see makeRoom
}

// request is one call's part in a transaction.
type request struct {
	ctx context.Context
	// run does the work. What the contract refuses is its own to remember,
	// and must have changed nothing; faults are with the connection.
	run   func(*conn)
	state atomic.Int32
	err   error         // fault of the transaction, valid after done
	done  chan struct{} // one token when the outcome is known
}

// States of a request. Who moves it away from waiting has it: the writer to
// run it or the caller to withdraw it.
const (
	isWaiting = iota
	isRunning
	isWithdrawn
)

// maxGroup bounds a transaction, so that nobody waits for a huge one.
const maxGroup = 512

func newWriter(s *Store, c *conn) *writer {
	w := &writer{store: s, c: c, defs: newDefinitions(), wake: make(chan struct{}, 1), exited: make(chan struct{})}
	go w.loop()
	return w
}

// do runs work in a transaction together with others and returns after it is
// on disk, or has failed. A call whose context ends before its turn is not
// run; after that it waits for the outcome, which is near.
func (w *writer) do(ctx context.Context, run func(*conn)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, run: run, done: make(chan struct{}, 1)}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, r)
	w.mu.Unlock()
	w.nudge()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		if r.state.CompareAndSwap(isWaiting, isWithdrawn) {
			return ctx.Err()
		}
		<-r.done
		return r.err
	}
}

func (w *writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close lets the writer finish what is queued and waits until it has.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.nudge()
	<-w.exited
}

func (w *writer) loop() {
	defer close(w.exited)
	for {
		batch, closed := w.next()
		switch {
		case len(batch) > 0:
			err := w.transact(batch)
			for _, r := range batch {
				r.err = err
				r.done <- struct{}{}
			}
			clear(batch) // what they carried can be large
			w.makeRoom()
		case closed:
			return
		default:
			<-w.wake
		}
	}
}

// next takes what is queued, up to maxGroup and without what was given up. An
// empty batch means that the queue is empty.
func (w *writer) next() (batch []*request, closed bool) {
	for {
		w.mu.Lock()
		queued := w.queue
		if len(queued) > maxGroup {
			queued, w.queue = queued[:maxGroup:maxGroup], queued[maxGroup:]
		} else {
			w.queue, w.spare = w.spare[:0], queued
		}
		closed = w.closed
		w.mu.Unlock()
		batch = queued[:0]
		for _, r := range queued {
			if r.taken() {
				batch = append(batch, r)
			}
		}
		if len(batch) > 0 || len(queued) == 0 {
			return batch, closed
		}
	}
}

// taken tells whether the request is the writer's to run.
func (r *request) taken() bool {
	if err := r.ctx.Err(); err != nil {
		if r.state.CompareAndSwap(isWaiting, isWithdrawn) {
			r.err = err
			r.done <- struct{}{}
		}
		return false
	}
	return r.state.CompareAndSwap(isWaiting, isRunning)
}

// transact runs a batch in one transaction: all of it or nothing.
func (w *writer) transact(batch []*request) (err error) {
	// The driver is machine-translated C on a file that others can damage.
	// Should it ever panic, its state is unknown and this store is done with.
	defer func() {
		if p := recover(); p != nil {
			err = w.store.poison(p)
		}
	}()
	if err := w.store.sound(); err != nil {
		return err
	}
	if err := w.begin(); err != nil {
		return explain(w.store.path, err)
	}
	for _, r := range batch {
		if r.run(w.c); w.c.fault != nil {
			break
		}
	}
	w.c.exec(qEnd)
	if err := w.c.take(); err != nil {
		w.rollback()
		return explain(w.store.path, err)
	}
	w.defs.keep()
	return nil
}

// begin takes the write lock of the file. It asks often, because a process
// that writes without pause leaves only small gaps, in which SQLite's own
// waiting, up to 100 ms at a time, would hardly ever look.
func (w *writer) begin() error {
	var deadline time.Time
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		w.c.exec(qBegin)
		err := w.c.take()
		if err == nil || !isBusy(err) {
			return err
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(w.store.opts.BusyTimeout)
		} else if now.After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// rollback ends a transaction that failed. Some faults have done that
// already.
func (w *writer) rollback() {
	w.defs.forget()
	if !w.c.db.AutocommitEnabled() {
		w.c.exec(qRollback)
		w.c.take()
	}
}

// makeRoom pauses now and then when other processes use the file, or one that
// writes without end would leave them no gap to take the lock in.
func (w *writer) makeRoom() {
	if !w.store.crowded.Load() {
		return
	}
	if now := time.Now(); now.Sub(w.paused) > 10*time.Millisecond {
		time.Sleep(time.Millisecond)
		w.paused = time.Now()
	}
}

// definitions gives each name and version a number. Those of the current
// transaction are kept only when it is durable.
type definitions struct {
	known, fresh map[[2]string]int64
}

func newDefinitions() definitions {
	return definitions{known: map[[2]string]int64{}, fresh: map[[2]string]int64{}}
}

// number returns the number of a definition, new if need be.
func (d *definitions) number(c *conn, name, version string) int64 {
	key := [2]string{name, version}
	if n, ok := d.known[key]; ok {
		return n
	}
	if n, ok := d.fresh[key]; ok {
		return n
	}
	var n int64
	find := c.query(qDefinition)
	if !find.text(name).text(version).one(func(q *call) { n = q.getInt() }) {
		add := c.query(qAddDefinition)
		add.text(name).text(version).run()
		n = c.db.LastInsertRowID()
	}
	d.fresh[key] = n
	return n
}

func (d *definitions) keep() {
	for key, n := range d.fresh {
		d.known[key] = n
	}
	clear(d.fresh)
}

func (d *definitions) forget() { clear(d.fresh) }

// poison makes the store refuse everything after a panic of the driver.
func (s *Store) poison(p any) error {
	err := fmt.Errorf("sqlite: %s: the driver panicked, start this program anew: %v", s.path, p)
	s.fate.CompareAndSwap(nil, &err)
	return err
}
