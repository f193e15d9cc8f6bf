package durable

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Observer is told what an engine does: for traces, metrics and logs. It is
// called by whichever goroutine does it, so calls for different executions, and
// for the branches of one, come at once. Nothing waits for an observer but the
// code that calls it, so it should be quick; one that panics is logged, and
// harms nothing.
type Observer interface {
	// Observe is told of one thing. o is its own to keep. The context that it
	// returns, which must be derived from ctx, is used where something starts:
	// from ObserveActivationStart by the handler and all attempts of the
	// activation, from ObserveAttemptStart by the attempt's body. nil is ctx.
	Observe(ctx context.Context, o *Observation) context.Context
}

// ObservationKind says what is observed.
type ObservationKind uint8

// What is observed. Operations are told of once their entries are durable, and
// the end of one that ended while no code waited for it (by a delivery, or by
// time) once the code comes past it; activations and attempts as they happen.
const (
	ObserveActivationStart ObservationKind = iota + 1
	ObserveActivationEnd                   // Status is how the execution was left; Err, that the claim was lost
	ObserveOperationStart
	ObserveOperationEnd // with Replayed: an earlier activation's, which the code comes past again
	ObserveAttemptStart // of a step's body
	ObserveAttemptEnd
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

	Status Status        // of an activation's end
	Detail string        // custom status, at an activation's end
	Late   time.Duration // of an activation's start: after it was due
	Err    error
	// Record loads the execution whole, at an activation's end: a read, for
	// observers that tell it from the journal.
	Record func() (*Record, error)
}

// observe tells the observer, and returns the context to go on with.
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
	return out
}

func (a *activation) observation(kind ObservationKind) *Observation {
	return &Observation{Kind: kind, Execution: &a.id, At: now(), Run: a.journal.run, Epoch: a.epoch}
}

// of completes an observation about an operation.
func (o *Observation) of(op *operation) *Observation {
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
		o := a.observation(ObserveOperationStart).of(op)
		o.At = e.At
		a.noted = append(a.noted, o)
	}
	switch {
	case op.done && op.path == "": // which is not stored, and known once its code comes past
		op.untold = true
	case op.done:
		a.noteEnd(op)
	}
}

func (a *activation) noteEnd(op *operation) {
	o := a.observation(ObserveOperationEnd).of(op)
	o.At = op.ended
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
		o = a.observation(ObserveOperationEnd).of(op)
		o.At, o.Replayed = op.ended, true
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
	o := a.observation(ObserveActivationStart)
	if !a.due.IsZero() {
		o.Late = max(now().Sub(a.due), 0)
	}
	ctx := a.eng.observe(a.ctx, o)
	a.mu.Lock() // a write may be telling what was delivered
	defer a.mu.Unlock()
	a.ctx = ctx
}

// ended tells the observer how the activation ended.
func (a *activation) ended() {
	if a.eng.opts.Observer == nil {
		return
	}
	a.mu.Lock()
	o := a.observation(ObserveActivationEnd)
	o.Status, o.Detail = a.left, a.detail
	if a.halted == errHaltLost || a.halted == nil {
		o.Err = ErrFenced
	}
	a.mu.Unlock()
	o.Record = func() (rec *Record, err error) {
		ctx, cancel := context.WithTimeout(a.eng.hard, a.eng.opts.StoreTimeout)
		defer cancel()
		return a.eng.store.Load(ctx, a.id.ID, LoadAll)
	}
	a.eng.observe(a.ctx, o)
}

// attemptStarts tells the observer, and returns the context for the body.
func (s *stepRun) attemptStarts(ctx context.Context) context.Context {
	if s.a.eng.opts.Observer == nil {
		return ctx
	}
	return s.a.eng.observe(ctx, s.attempted(ObserveAttemptStart))
}

// attemptEnds tells the observer.
func (s *stepRun) attemptEnds(ctx context.Context, r *bodyResult) {
	if s.a.eng.opts.Observer == nil {
		return
	}
	o := s.attempted(ObserveAttemptEnd)
	switch {
	case r.panicked != "":
		o.Err = fmt.Errorf("panic: %s", r.panicked)
	case r.err != nil:
		o.Err = r.err
	}
	s.a.eng.observe(ctx, o)
}

func (s *stepRun) attempted(kind ObservationKind) *Observation {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	o := s.a.observation(kind).of(s.op)
	return o
}
