package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// settleLost deals with an attempt that an earlier activation started and
// nobody ended. Nothing about it is decided while it may still run somewhere:
// not before its process is proven dead or its deadline and the greatest skew
// of clocks have passed.
func (s *stepRun) settleLost() {
	op := s.op
	if op.epoch > s.a.safe {
		s.c.st.await(never, op.since.Add(op.timeout+s.a.eng.opts.MaxSkew))
	}
	s.a.mu.Lock()
	if s.reachedNow() == nil && !s.o.atMostOnce && op.lost+1 >= s.a.eng.opts.CrashesToPark {
		s.a.mu.Unlock()
		// The loss itself stays unrecorded: what the operator says of this
		// attempt ends the step or gives it a new budget.
		s.c.st.parkAndExit(Park{
			Reason: ParkCrashLoop, Op: op.num, Operation: s.path, Key: s.o.key, Since: op.first, KeyLifetime: s.o.keyLifetime,
			Message: fmt.Sprintf("%d crashes in a row interrupted this step; its outcome is unknown", op.lost+1),
			Verbs:   []Verb{VerbRetry, VerbResolve},
		})
	}
	defer s.a.mu.Unlock()
	if s.reachedNow() != nil {
		s.recordStopped()
		return
	}
	e := s.entry(EntryLost)
	e.Epoch = s.a.epoch
	e.Error = toStored(ErrAttemptLost)
	switch {
	case s.expired():
		e.Attempt, e.Error = op.attempt, toStored(ErrKeyExpired)
	case s.o.atMostOnce && s.o.stopUnknown:
		e.Attempt = op.attempt
	case s.o.atMostOnce:
		e.Attempt = op.attempt
		e.Delay, e.Retry = s.o.retry.decide(nil)(op.attempt, op.first, now())
	default:
		e.Retry = true // without its number: it runs again under the same one
	}
	s.record(e)
}

// attempt runs the next attempt.
func (s *stepRun) attempt() {
	first := !s.begun()
	s.beginsHere()
	s.joinDeaf()
	s.beginsHere() // that may have taken long
	err := s.start()
	if err == nil {
		err = s.keepFresh()
	}
	if err != nil {
		s.c.st.exit() // the activation is over
	}
	s.a.mu.Lock()
	over := s.c.st.stopped
	if !s.op.done && (over || s.reachedNow() != nil || first && s.c.reached() != nil) {
		// The start is durable but its body never ran, which proves that this
		// attempt had no effect.
		e := s.entry(EntryCancel)
		e.NoEffect = true
		s.record(e)
	}
	if !s.op.done && s.expired() {
		s.expire() // while its start was being written
	}
	done := s.op.done
	s.a.mu.Unlock()
	switch {
	case over:
		s.c.st.exit()
	case !done:
		s.execute()
	}
}

// joinDeaf waits for bodies that ignored the end of their context, if the step
// must not overlap with any.
func (s *stepRun) joinDeaf() {
	a := s.a
	for s.o.afterBodies {
		a.mu.Lock()
		if len(a.deaf) == 0 {
			a.mu.Unlock()
			return
		}
		next := a.deaf[0]
		a.mu.Unlock()
		s.c.st.rest()
		select {
		case <-next:
		case <-a.over:
		}
		s.c.st.resume()
		if s.c.st.over() {
			s.c.st.exit()
		}
		a.mu.Lock()
		a.deaf = slices.DeleteFunc(a.deaf, func(returned chan struct{}) bool { return returned == next })
		a.mu.Unlock()
	}
}

// marker is the start entry of the next attempt. a.mu is held.
func (s *stepRun) marker() Entry {
	e := s.entry(EntryStart)
	e.Attempt, e.Epoch, e.Timeout = 1, s.a.epoch, s.o.timeout
	if s.op != nil {
		e.Attempt = s.op.nextAttempt()
	}
	return e
}

// start makes the start marker, and everything before it, durable.
//
// The first one of a point of no return is in no journal and no other write
// before the very commit that is refused if anything waits unseen: else a
// flush by the clock could take it along past a cancel that was acknowledged.
func (s *stepRun) start() error {
	a := s.a
	if s.begun() || !s.o.noReturn {
		a.mu.Lock()
		s.record(s.marker())
		a.mu.Unlock()
		return s.c.st.commit(write{status: StatusRunning})
	}
	for {
		s.beginsHere() // what was refused took its time
		a.mu.Lock()
		if s.c.reached() != nil {
			s.recordCancelled()
			a.mu.Unlock()
			return nil
		}
		if s.op == nil && len(a.strands) > 1 {
			s.record(s.entry(EntryStart)) // of no attempt: it takes a number before others do
		}
		e := s.marker()
		a.mu.Unlock()
		err := s.c.st.commit(write{ifSeen: true, unlessCancelled: !s.c.shielded, status: StatusRunning, extra: []Entry{e}})
		if errors.Is(err, ErrUnseen) {
			continue
		}
		a.mu.Lock()
		s.op = a.journal.byID[s.id]
		a.mu.Unlock()
		return err
	}
}

// keepFresh renews marker and lease when the write took so long that either
// would run out under the body.
func (s *stepRun) keepFresh() error {
	for {
		s.a.mu.Lock()
		at := now()
		held := at.Before(s.a.lease)
		fresh := s.op.done || at.Sub(s.op.since) <= s.o.timeout/2
		if (!held || !fresh) && !s.a.eng.hasTime(s.o.timeout) {
			// The end of a host is no lease to renew. The next activation takes
			// the attempt for one that was given up in order.
			s.a.mu.Unlock()
			s.c.st.nextActivation()
		}
		if !fresh {
			e := s.marker()
			e.Attempt = s.op.attempt
			s.record(e)
		}
		s.a.mu.Unlock()
		if held && fresh {
			return nil
		}
		if err := s.c.st.commit(write{status: StatusRunning, renew: true}); err != nil {
			return err
		}
	}
}

// bodyResult is the outcome of one run of a body. What is made of its error is
// made in the body's goroutine, because errors have methods of their own that
// may panic.
type bodyResult struct {
	payload  []byte
	err      *Error
	noEffect bool
	retry    func(n int, first, now time.Time) (time.Duration, bool)
	notYet   bool // a poll after which the condition does not hold
	panicked string
	stack    []byte
	at       time.Time // when the body returned
}

// execute runs the body and records how it ended.
func (s *stepRun) execute() {
	op, a := s.op, s.a
	deadline := op.since.Add(op.timeout)
	at := &attempt{info: StepInfo{Execution: a.id.ID, Path: s.path, Key: s.o.key, Attempt: op.attempt}, polled: op.polled, state: op.payload, step: s}
	base, cancel := context.WithCancelCause(context.WithValue(a.ctx, attemptKey{}, at))
	defer cancel(nil)
	if s.o.heartbeat > 0 {
		at.beat = time.AfterFunc(s.o.heartbeat, func() {
			cancel(fmt.Errorf("%w: no heartbeat for %v", ErrAttemptTimeout, s.o.heartbeat))
		})
		defer at.beat.Stop()
	}
	ctx, stop := context.WithDeadlineCause(base, deadline, ErrAttemptTimeout)
	defer stop()
	st := s.c.st
	a.mu.Lock()
	st.body, st.resting = &body{cancel: cancel, reached: s.reachedNow}, true
	a.busyLess()
	if err := s.reachedNow(); err != nil {
		cancel(err)
	}
	if st.stopped {
		cancel(ErrBranchStopped)
	}
	a.mu.Unlock()

	out := make(chan bodyResult, 1)
	a.eng.code.Add(1)
	observed := s.attemptStarts(ctx) // here, where the stack has room for what observers do
	go s.runBody(observed, out)
	r := s.wait(observed, out, deadline.Add(a.eng.opts.MaxSkew))

	a.mu.Lock()
	st.body, st.resting = nil, false
	a.busy++
	if r.panicked == "" {
		if !st.stopped {
			s.recordEnd(ctx, r)
		}
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	st.parkAndExit(a.bug(ParkPanic, s.path, fmt.Errorf("the body panicked: %s\n%s", r.panicked, r.stack)))
}

func (s *stepRun) runBody(ctx context.Context, out chan<- bodyResult) {
	r := bodyResult{panicked: "runtime.Goexit in the body"}
	defer func() {
		if p := recover(); p != nil {
			r = bodyResult{panicked: fmt.Sprint(p), stack: debug.Stack()}
		}
		r.at = now()
		out <- r
	}()
	payload, err := s.body(ctx)
	r = s.o.retry.resultOf(payload, err)
}

// resultOf is the outcome of a body that returned.
func (r Retry) resultOf(payload []byte, err error) bodyResult {
	if err == errNotYet {
		return bodyResult{payload: payload, notYet: true, retry: r.decide(nil)}
	}
	again := r.decide(err)
	return bodyResult{payload: payload, err: toStored(err), noEffect: steering(err).noEffect, retry: again}
}

// wait waits for the body to return, at most until the time at which nobody
// counts on it any more.
func (s *stepRun) wait(ctx context.Context, out <-chan bodyResult, until time.Time) bodyResult {
	select {
	case r := <-out: // most bodies are quick
		s.returned(ctx, s.attemptEnds(), &r)
		return r
	default:
	}
	end := time.NewTimer(until.Sub(now()))
	defer end.Stop()
	select {
	case r := <-out:
		s.returned(ctx, s.attemptEnds(), &r)
		return r
	case <-s.a.eng.hard.Done():
		s.outlives(ctx, out)
		return s.o.retry.resultOf(nil, ErrHostGone)
	case <-end.C:
		returned := s.outlives(ctx, out)
		s.a.mu.Lock()
		s.a.deaf = append(s.a.deaf, returned)
		s.a.mu.Unlock()
		s.a.eng.opts.Logger.Error("a step's body ignores that its context has ended", "execution", s.a.id.ID, "step", s.path)
		return s.o.retry.resultOf(nil, ErrAttemptTimeout)
	}
}

// outlives sees a body to its end that is not waited for.
func (s *stepRun) outlives(ctx context.Context, out <-chan bodyResult) (returned chan struct{}) {
	returned = make(chan struct{})
	ends := s.attemptEnds() // now, before there is another attempt
	go func() {
		defer close(returned)
		r := <-out
		s.returned(ctx, ends, &r)
	}()
	return returned
}

// returned tells the observer, if there is one, that a body has returned.
func (s *stepRun) returned(ctx context.Context, ends *Observation, r *bodyResult) {
	defer s.a.eng.code.Done()
	if ends == nil {
		return
	}
	ends.At = r.at
	switch {
	case r.panicked != "":
		ends.Err = &Error{Type: "panic", Message: "panic: " + r.panicked}
	case r.err != nil:
		ends.Err = r.err
	}
	s.a.eng.observe(ctx, ends)
}

// recordEnd records how an attempt ended. a.mu is held.
func (s *stepRun) recordEnd(ctx context.Context, r bodyResult) {
	op := s.op
	switch {
	case r.notYet:
		s.recordPoll(r)
		return
	case r.err == nil:
		e := s.entry(EntryResult)
		e.Attempt, e.Payload = op.attempt, r.payload
		s.record(e)
		return
	}
	s.say()
	e := s.entry(EntryFailure)
	e.Attempt, e.Error, e.NoEffect = op.attempt, r.err, r.noEffect
	cause := context.Cause(ctx)
	switch {
	case e.NoEffect:
	case errors.Is(cause, ErrHostGone), r.err != nil && r.err.Message == ErrHostGone.Error():
		// The body was stopped by this host's end, not by its own: the next
		// host treats the attempt as lost.
		return
	case s.reachedNow() != nil:
		e.Kind = EntryCancel
		s.record(e)
		return
	case errors.Is(cause, ErrAttemptTimeout):
		e.Kind = EntryTimeout
	}
	if s.o.stopUnknown && e.Kind == EntryTimeout {
		s.record(e)
		return
	}
	e.Delay, e.Retry = r.retry(op.attempt, op.first, now())
	s.record(e)
}
