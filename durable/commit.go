package durable

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// write is what one commit does besides taking the pending entries along.
type write struct {
	ifSeen bool // refuse when deliveries wait that nobody here has seen
	// unlessCancelled refuses also when a cancel is in the journal already:
	// what it may stop must not slip out between its arrival and this write.
	unlessCancelled bool
	// unlessTerminated does the same for a request to terminate.
	unlessTerminated bool
	idle             bool // refuse, as unseen, unless all strands wait
	wakes            int  // with idle, on a suspension: and have since then
	renew            bool // move the lease although there is nothing to record
	status           Status
	due              time.Time
	park             *Park
	result           []byte
	err              *Error
	// next begins another run: the journal begins anew with it.
	next *Entry
	// extra entries hold only if this very commit lands: what could still be
	// overtaken by a delivery is not in the journal before it is durable.
	extra []Entry
}

// flushes tells whether a write does nothing but to take the pending entries along.
func (w *write) flushes() bool {
	return w.status == StatusRunning && w.next == nil && len(w.extra) == 0 && !w.renew
}

// flush makes everything appended so far durable. On return without error it
// is, and the claim was still held.
func (a *activation) flush() error { return a.commit(write{status: StatusRunning}) }

// commit writes: one writer per execution, and what others append meanwhile
// leaves together in the next write. ErrUnseen means that the write was
// refused because something arrived, which is in the journal now. Any other
// error means that the activation is over.
func (a *activation) commit(w write) error {
	if err := a.eng.hard.Err(); err != nil {
		return err
	}
	select {
	case a.token <- struct{}{}:
	case <-a.eng.hard.Done():
		return a.eng.hard.Err()
	}
	defer func() { <-a.token }()
	a.gather()
	a.mu.Lock()
	if a.halted != nil {
		a.mu.Unlock()
		return a.halted
	}
	if a.overtaken(&w) {
		a.mu.Unlock()
		return ErrUnseen
	}
	if len(a.pending) == 0 && w.flushes() && a.create == nil {
		a.mu.Unlock()
		return nil
	}
	c, taken := a.build(&w)
	a.extras = len(w.extra) > 0
	a.leaving(w.extra, true)
	a.mu.Unlock()
	born := a.create != nil
	receipt, err := a.send(c)
	if err = a.settle(w, c, &taken, receipt, err); err != nil {
		return err
	}
	if born {
		a.eng.started(a.ctx, &a.id)
	}
	a.tellAll(taken.noted)
	return nil
}

// overtaken tells whether what a write was decided on does not hold any more,
// because of what was recorded while it waited for its turn. a.mu is held.
func (a *activation) overtaken(w *write) bool {
	j := &a.journal
	for i := range w.extra {
		if op := j.later(&w.extra[i]); op != nil && (op.done || op.typ == OpSignal && len(j.signals[op.name]) > 0) {
			return true
		}
	}
	return w.unlessCancelled && j.cancel != nil || w.unlessTerminated && j.terminated != nil ||
		w.idle && !a.idle() || w.status == StatusSuspended && w.idle && w.wakes != a.wakes
}

// later is the operation of an entry that is not its first, or nil.
func (j *journal) later(e *Entry) *operation {
	if e.Op == 0 || e.First {
		return nil
	}
	return j.ops[e.Op-1]
}

// leaving notes of operations that extra entries about them are on their way:
// nothing else ends them meanwhile, or the store would have two ends of one.
// a.mu is held.
func (a *activation) leaving(extra []Entry, are bool) {
	for i := range extra {
		if op := a.journal.later(&extra[i]); op != nil {
			op.leaving = are
		}
	}
}

// batched is what a write takes along.
type batched struct {
	entries      []Entry
	open, closed []string
	progress     bool
	noted        []*Observation
}

// build makes the commit out of all that is pending. a.mu is held.
func (a *activation) build(w *write) (c *Commit, taken batched) {
	taken = batched{a.pending, a.open, a.closed, a.progress, a.noted}
	n := len(taken.entries)
	if w.park != nil && a.def.parked != nil {
		a.detail, _ = a.def.parked(a.detail, w.park.Stuck)
	}
	c = &Commit{
		ID: a.id.ID, Epoch: a.epoch, Seq: a.seq + 1, Now: now(),
		Entries: append(taken.entries[:n:n], w.extra...),
		Seen:    a.seen, IfSeen: w.ifSeen, Open: a.open, Close: a.closed,
		Status: w.status, Detail: a.detail, Due: w.due, Progress: a.progress || w.status == StatusParked,
		Park: w.park, Result: w.result, Error: w.err,
	}
	if w.status == StatusRunning && (w.renew || a.create != nil || a.eng.ageing(a.lease, c.Now)) {
		c.Lease = a.eng.leaseFrom(c.Now)
	}
	if w.status.Ended() && a.id.Retention > 0 {
		c.Due = c.Now.Add(a.id.Retention)
	}
	if w.next != nil {
		a.runEnds(taken.entries)
		a.anew(w, c)
	}
	a.pending, a.open, a.closed, a.progress, a.noted = nil, nil, nil, false, nil
	if a.volatile != nil && a.volatile.Stop() {
		a.bg.Done()
	}
	a.volatile = nil
	return c, taken
}

// settle takes in what became of a commit.
func (a *activation) settle(w write, c *Commit, taken *batched, receipt Receipt, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.extras = false
	a.leaving(w.extra, false)
	defer func() {
		late := a.late
		a.late = nil
		a.incorporate(late)
	}()
	switch {
	case errors.Is(err, ErrUnseen):
		defer a.wakeReady()
		a.pending = append(taken.entries, a.pending...)
		a.open, a.closed = append(taken.open, a.open...), append(taken.closed, a.closed...)
		a.progress = a.progress || taken.progress
		a.noted = append(taken.noted, a.noted...)
		a.incorporate(receipt.Unseen)
		return ErrUnseen
	case err != nil:
		a.halt(errHaltLost)
		if errors.Is(err, ErrFenced) || errors.Is(err, ErrEnded) {
			a.log(slog.LevelWarn, "claim lost", "epoch", a.epoch, "error", err)
		}
		return err
	}
	a.seq++
	a.create = nil
	a.wrote(&w, c)
	if !c.Lease.IsZero() {
		a.lease = c.Lease
	}
	for i := range w.extra {
		a.moved = a.moved || w.extra[i].Kind != EntrySuspended
		if op := a.journal.later(&w.extra[i]); op != nil && op.done {
			continue // its context has ended meanwhile, and what it came to is nobody's business
		}
		if err := a.journal.apply(&w.extra[i]); err != nil {
			a.inconsistent(err)
			return err
		}
		if a.eng.opts.Observer != nil {
			later := a.noted
			a.noted = taken.noted
			a.note(&w.extra[i])
			taken.noted, a.noted = a.noted, later
		}
	}
	if w.status == StatusRunning {
		a.incorporate(receipt.Unseen)
		if len(w.extra) > 0 {
			a.wakeReady()
			a.reachBodies()
		}
		return nil
	}
	a.leave(w, c)
	return nil
}

// leave notes how the activation left the execution. a.mu is held.
func (a *activation) leave(w write, c *Commit) {
	a.left = w.status
	a.leftHead = &Head{Identity: a.id, Status: w.status, Detail: c.Detail, Park: w.park, Result: w.result, Error: w.err, Due: c.Due}
	switch {
	case w.status == StatusSuspended:
		a.halt(errHaltSuspended)
		a.eng.wakeAt(c.Due)
		return
	case w.status == StatusParked:
		a.halt(errHaltParked)
	default:
		a.halt(errHaltEnded)
	}
	a.final = a.leftHead
}

// send brings a commit to the store and repeats it until its outcome is
// known: what is known here must be recorded, even after the lease, unless
// somebody else has taken over. The store recognises its own repeats.
func (a *activation) send(c *Commit) (Receipt, error) {
	for n := 0; ; n++ {
		receipt, err := a.try(c)
		if err == nil || settled(err) {
			return receipt, err
		}
		if a.create != nil && errors.Is(err, ErrStoreBroken) {
			a.tell(err) // the caller of Start is there to hear it; nothing has run
			return Receipt{}, err
		}
		a.log(slog.LevelWarn, "write failed, will repeat", "attempt", n+1, "error", err)
		a.eng.trouble(err)
		select {
		case <-time.After(a.eng.storeBackoff(n)):
		case <-a.eng.hard.Done():
			a.tell(err)
			return Receipt{}, err
		}
	}
}

func (a *activation) try(c *Commit) (Receipt, error) {
	ctx, cancel := context.WithTimeout(a.eng.hard, a.eng.opts.StoreTimeout)
	defer cancel()
	if a.create == nil {
		return a.eng.store.Commit(ctx, c)
	}
	a.create.Now, a.create.First = c.Now, c
	err := a.eng.store.Create(ctx, a.create)
	if err == nil || settled(err) {
		a.tell(err)
	}
	return Receipt{}, err
}

// tell informs Start of what became of the first write.
func (a *activation) tell(err error) {
	select {
	case a.born <- err:
	default:
	}
}

// settled tells whether a store's error is an answer rather than the lack of
// one.
func settled(err error) bool {
	for _, answer := range []error{ErrFenced, ErrUnseen, ErrEnded, ErrExists, ErrNotFound, ErrNotDue, ErrNotEnded, ErrDelivered, ErrNotOpen, ErrRevision, ErrInboxFull, ErrInvalid} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// storeBackoff is the pause after the n-th failed try of a store call: full
// jitter up to 20 ms × 2^n, at most 5 s, at least 5 ms.
func (e *Engine) storeBackoff(n int) time.Duration {
	most := min(20*time.Millisecond<<min(n, 10), 5*time.Second, max(e.opts.Lease/12, 20*time.Millisecond))
	return 5*time.Millisecond + rand.N(most)
}
