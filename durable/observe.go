package durable

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Observer is told what an engine does: for traces, metrics and logs. It is
// called by whichever goroutine does it, so calls for different executions, and
// for the branches of one, come at once. Nothing waits for an observer but the
// code that calls it, so it should be quick; one that panics is logged, and
// harms nothing.
type Observer interface {
	// Observe is told of one thing. o is used again once it has returned: copy
	// what is to be kept. The context that it returns, which must be derived from
	// ctx, is used where something starts: from ObserveActivationStart by the
	// handler and all attempts of the activation, from ObserveAttemptStart by the
	// attempt's body. nil is ctx.
	Observe(ctx context.Context, o *Observation) context.Context
}

// StartObserver is an Observer that keeps something with executions from their
// start on: the trace context of whoever starts them.
type StartObserver interface {
	Observer
	// ObserveStart is called before an execution is created, which may then turn
	// out to exist. What it returns is kept as by WithTrace, which goes before it;
	// more than 4 KB of it is dropped, and logged. ctx is that of Start; by is
	// the operation that invokes the execution, and nil for any other start.
	ObserveStart(ctx context.Context, id *Identity, by *Observation) map[string]string
}

// ObservationKind says what is observed.
type ObservationKind uint8

// What is observed. Operations are told of once their entries are durable, and
// the end of one that ended while no code waited for it (by a delivery, or by
// time) once the code comes past it; activations and attempts as they happen.
// The end of an activation is told of after whoever waits for the execution has
// been woken, so the next activation may begin before.
const (
	ObserveActivationStart ObservationKind = iota + 1
	ObserveActivationEnd                   // Status is how the execution was left; Err, that the claim was lost
	ObserveOperationStart
	ObserveOperationEnd // with Replayed: an earlier activation's, which the code comes past again
	ObserveAttemptStart // of a step's body
	ObserveAttemptEnd
	// ObserveRunEnd: ContinueAsNew has begun the next run. Run is the one that
	// has ended, which is told of here for the last time, by Record.
	ObserveRunEnd
	// ObserveClaimLost: somebody else was quicker to claim what was due. Of
	// Execution only ID, definition and version are known.
	ObserveClaimLost
	// ObserveStarted: this engine has created the execution, which may run
	// elsewhere.
	ObserveStarted
)

// Observation is one thing that an engine does. An undo is an operation, and
// its attempts are attempts, whose Subtype is SubtypeUndo.
type Observation struct {
	Kind      ObservationKind
	Execution *Identity // not to be changed
	At        time.Time
	Run       int64 // of ContinueAsNew, from 1
	Epoch     int64 // of the activation's claim

	// Of an operation and its attempts.
	Operation int64 // number in the history
	Parent    int64
	Path      string // of names
	Name      string
	Type      OpType
	Subtype   string
	Link      int64 // operation that it undoes or verifies
	Attempt   int
	Replayed  bool

	Status Status // of an activation's end
	Detail string // custom status, at an activation's end
	Park   *Park  // why, at the end of an activation that parked
	// UnwindStarted, at an activation's end, is when the first undo began; zero if
	// none has.
	UnwindStarted time.Time
	// Bills: the store is a Biller that bills, so Record reads what was consumed.
	Bills bool
	Late  time.Duration // of an activation's start: after it was due
	// Unborn, at an activation's end: there was none. It was to begin with the
	// creation of the execution, which exists already, or could not be written.
	Unborn bool
	// Err of an activation's end is ErrFenced when its claim was lost, and
	// ErrHostGone when its host ended first.
	Err error
	// Record is the execution whole, at an activation's end and a run's, and
	// Operations what its journal says, as the function of that name. The journal
	// is what this activation knows of it, once it has ended well. The head is
	// read again after the execution has ended, for what only a store that is a
	// Biller knows, and the times of the execution as it keeps them; it is without
	// that if the read fails. No other read is made.
	Record     func() *Record
	Operations func() []OperationInfo
}

// startedBy asks the observer what to keep with an execution that is about to
// be created. by is the operation that invokes it, or nil.
func (e *Engine) startedBy(ctx context.Context, id *Identity, by *Observation) (trace map[string]string) {
	o, ok := e.opts.Observer.(StartObserver)
	if !ok {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			e.opts.Logger.Log(ctx, slog.LevelError, "the observer panicked", "execution", id.ID, "panic", fmt.Sprint(p))
		}
	}()
	trace = o.ObserveStart(ctx, id, by)
	if size := sizeOf(trace); size > maxTrace {
		e.opts.Logger.Log(ctx, slog.LevelWarn, "the trace context of a start is not kept: it is too large", "execution", id.ID, "bytes", size, "limit", maxTrace)
		return nil
	}
	return trace
}

// started tells the observer that an execution has been created.
func (e *Engine) started(ctx context.Context, id *Identity) {
	if e.opts.Observer != nil {
		o := observations.Get().(*Observation)
		*o = Observation{Kind: ObserveStarted, Execution: id, At: now(), Run: 1}
		e.observe(ctx, o)
	}
}

// observations are used again: each attempt and operation has two.
var observations = sync.Pool{New: func() any { return new(Observation) }}

// observe tells the observer, and returns the context to go on with. o is gone
// then.
func (e *Engine) observe(ctx context.Context, o *Observation) (out context.Context) {
	defer func() {
		if p := recover(); p != nil {
			e.opts.Logger.Log(ctx, slog.LevelError, "the observer panicked", "execution", o.Execution.ID, "panic", fmt.Sprint(p))
			out = ctx
		}
	}()
	if out = e.opts.Observer.Observe(ctx, o); out == nil {
		out = ctx
	}
	*o = Observation{}
	observations.Put(o)
	return out
}

func (a *activation) observation(kind ObservationKind, at time.Time) *Observation {
	o := observations.Get().(*Observation)
	o.Kind, o.Execution, o.At, o.Run, o.Epoch = kind, &a.id, at, a.journal.run, a.epoch
	return o
}

// about is an observation about an operation.
func (a *activation) about(op *operation, kind ObservationKind, at time.Time) *Observation {
	o := a.observation(kind, at)
	o.Operation, o.Parent, o.Path, o.Name = op.num, op.id.parent, op.path, op.name
	o.Type, o.Subtype, o.Link, o.Attempt = op.typ, op.subtype, op.link, op.attempt
	return o
}

// note remembers what the observer is to be told of an entry once it is
// durable. a.mu is held.
func (a *activation) note(e *Entry) {
	if a.eng.opts.Observer == nil || e.Op == 0 {
		return
	}
	op := a.journal.ops[e.Op-1]
	if e.First {
		a.noted = append(a.noted, a.about(op, ObserveOperationStart, e.At))
	}
	switch {
	case op.done && op.path == "": // which is not stored, and known once its code comes past
		op.untold = true
	case op.done:
		a.noteEnd(op)
	}
}

func (a *activation) noteEnd(op *operation) {
	o := a.about(op, ObserveOperationEnd, op.ended)
	if op.err != nil {
		o.Err = op.err
	}
	a.noted = append(a.noted, o)
}

// tellAll tells the observer what has become durable.
func (a *activation) tellAll(noted []*Observation) {
	if len(noted) == 0 {
		return
	}
	a.mu.Lock()
	ctx := a.ctx
	a.mu.Unlock()
	for _, o := range noted {
		a.eng.observe(ctx, o)
	}
	clear(noted)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noted == nil { // to be used again
		a.noted = noted[:0]
	}
}

// replayed tells the observer that the code comes past an operation that has
// ended before: in an earlier activation, or in this one before the code was
// there. a.mu is not held.
func (k *call) replayed() {
	a := k.c.a
	if a.eng.opts.Observer == nil {
		return
	}
	a.mu.Lock()
	op := k.op
	var o *Observation
	switch {
	case op == nil:
	case op.untold:
		op.untold = false
		a.noteEnd(op)
	case op.old:
		o = a.about(op, ObserveOperationEnd, op.ended)
		o.Replayed = true
	}
	a.mu.Unlock()
	if o != nil {
		a.eng.observe(a.ctx, o)
	}
}

// wasDue tells what a claim was for: what time has ended, or what has arrived,
// whichever was first; zero when that cannot be told.
func (j *journal) wasDue(rec *Record) time.Time {
	due := j.nextTimer()
	for _, op := range j.unended {
		if !op.running {
			due = earliest(due, op.retryAt)
		}
	}
	for i := range rec.Inbox {
		due = earliest(due, rec.Inbox[i].Now)
	}
	if due.After(now()) {
		return time.Time{}
	}
	return due
}

// begun tells the observer that the activation starts.
func (a *activation) begun() {
	if a.eng.opts.Observer == nil {
		return
	}
	o := a.observation(ObserveActivationStart, now())
	if !a.due.IsZero() {
		o.Late = max(now().Sub(a.due), 0)
	}
	ctx := a.eng.observe(a.ctx, o)
	a.mu.Lock() // a write may be telling what was delivered
	defer a.mu.Unlock()
	a.ctx = ctx
}

// ended tells the observer how the activation ended, after all who wait for it.
func (a *activation) ended() {
	if a.eng.opts.Observer == nil {
		return
	}
	a.mu.Lock()
	o := a.observation(ObserveActivationEnd, now())
	o.Status, o.Detail, o.Unborn = a.left, a.detail, a.create != nil
	switch {
	case a.halted == errHaltLost && a.eng.hard.Err() != nil:
		o.Err = ErrHostGone
	case a.halted == errHaltLost:
		o.Err = ErrFenced
	case a.head.Status.Ended(): // its last words came later, but are not part of it
		o.At = a.head.Ended
	}
	o.Park, o.UnwindStarted, o.Bills = a.head.Park, a.journal.unwindStarted(), a.eng.bills()
	a.mu.Unlock()
	o.Record, o.Operations = a.record, a.operations
	a.eng.observe(a.ctx, o)
}

// claimed keeps what the observer may ask for of a record that was claimed.
func (a *activation) claimed(rec *Record) {
	if a.eng.opts.Observer != nil {
		a.head, a.written = rec.Head, [][]Entry{rec.Journal}
	}
}

// wrote keeps what the observer may ask for. a.mu is held.
func (a *activation) wrote(w *write, c *Commit) {
	if a.eng.opts.Observer == nil {
		return
	}
	if c.Anew {
		a.written = nil
	}
	if a.written == nil {
		a.written = make([][]Entry, 0, 8)
	}
	a.written = append(a.written, c.Entries)
	a.head.Status, a.head.Detail, a.head.Park = w.status, c.Detail, w.park
	if w.status.Ended() {
		a.head.Result, a.head.Error, a.head.Ended = w.result, w.err, c.Now
	}
}

// record is the execution as this activation has left it.
func (a *activation) record() *Record {
	a.mu.Lock()
	rec := &Record{Head: a.head, Journal: slices.Concat(a.written...)}
	a.mu.Unlock()
	if !a.eng.bills() || !rec.Status.Ended() {
		return rec
	}
	ctx, cancel := context.WithTimeout(a.eng.hard, a.eng.opts.StoreTimeout)
	defer cancel()
	if stored, err := a.eng.store.Load(ctx, a.id.ID, LoadHead); err == nil {
		rec.Usage, rec.Created, rec.Ended = stored.Usage, stored.Created, stored.Ended // who reads the record later finds the same
	}
	return rec
}

// bills tells whether executions have consumed what costs money.
func (e *Engine) bills() bool {
	b, ok := e.store.(Biller)
	return ok && b.Bills()
}

// unwindStarted is when the first undo began, zero if none has.
func (j *journal) unwindStarted() time.Time {
	for _, op := range j.ops {
		if op.typ == OpStep && op.subtype == SubtypeUndo {
			return op.first
		}
	}
	return time.Time{}
}

func (a *activation) operations() []OperationInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal.infos()
}

// runEnds keeps what the observer is to be told of the run that the next write
// ends, which drops its journal, and what is pending with it. a.mu is held.
func (a *activation) runEnds(pending []Entry) {
	if a.eng.opts.Observer == nil {
		return
	}
	rec := &Record{Head: a.head, Journal: slices.Concat(append(slices.Clip(a.written), pending)...)}
	ops := a.journal.infos()
	a.lastRun = a.observation(ObserveRunEnd, now())
	a.lastRun.Record, a.lastRun.Operations = func() *Record { return rec }, func() []OperationInfo { return ops }
}

// runEnded tells the observer that a run has ended, once the next one has begun.
func (a *activation) runEnded() {
	if a.lastRun != nil {
		a.lastRun.At = now()
		a.eng.observe(a.ctx, a.lastRun)
		a.lastRun = nil
	}
}

// attemptStarts tells the observer, and returns the context for the body.
func (s *stepRun) attemptStarts(ctx context.Context) context.Context {
	if s.a.eng.opts.Observer == nil {
		return ctx
	}
	return s.a.eng.observe(ctx, s.attempted(ObserveAttemptStart, now()))
}

// attemptEnds is what to tell the observer once the body has returned; nil
// without one.
func (s *stepRun) attemptEnds() *Observation {
	if s.a.eng.opts.Observer == nil {
		return nil
	}
	return s.attempted(ObserveAttemptEnd, time.Time{})
}

func (s *stepRun) attempted(kind ObservationKind, at time.Time) *Observation {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	return s.a.about(s.op, kind, at)
}
