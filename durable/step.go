package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// StepOption sets how a step runs.
type StepOption func(*stepOptions)

type stepOptions struct {
	retry       Retry
	timeout     time.Duration
	atMostOnce  bool
	stopUnknown bool
	noReturn    bool
	keyLifetime time.Duration
	key         string
	keySince    time.Time
	subtype     string
	link        int64
	report      *StepReport
}

// WithRetry sets the retry policy; fields left zero keep DefaultRetry's.
func WithRetry(r Retry) StepOption { return func(o *stepOptions) { o.retry = r } }

// WithTimeout bounds each attempt: its context ends then. Default 30 s.
func WithTimeout(d time.Duration) StepOption { return func(o *stepOptions) { o.timeout = d } }

// AtMostOnce makes the body run at most once per attempt: an attempt that was
// lost in a crash is not repeated but uses up an attempt of the policy.
// Without it, a lost attempt runs again under the same attempt number.
func AtMostOnce() StepOption { return func(o *stepOptions) { o.atMostOnce = true } }

// StopWhenUnknown ends the step as soon as an attempt's outcome is unknown
// (it timed out, or was lost under AtMostOnce), for callers that find out by
// other means before they try again.
func StopWhenUnknown() StepOption { return func(o *stepOptions) { o.stopUnknown = true } }

// PointOfNoReturn makes the step start only when nothing unseen waits in the
// inbox, so that a cancel acknowledged before it is obeyed, and shields it
// from cancel and deadline once it has started.
func PointOfNoReturn() StepOption { return func(o *stepOptions) { o.noReturn = true } }

// WithKeyLifetime says how long participants honour the idempotency key,
// counted from the step's first start. Past it no attempt is repeated: the
// step fails with ErrKeyExpired.
func WithKeyLifetime(d time.Duration) StepOption {
	return func(o *stepOptions) { o.keyLifetime = d }
}

// WithKey replaces the idempotency key, which else is derived from the path
// of names. since is when it was first used, for WithKeyLifetime; zero is
// the step's own first start.
func WithKey(key string, since time.Time) StepOption {
	return func(o *stepOptions) { o.key, o.keySince = key, since }
}

// WithSubtype marks the step in histories, and links it to the operation that
// it undoes or verifies (a StepReport's Number; 0 is none).
func WithSubtype(subtype string, link int64) StepOption {
	return func(o *stepOptions) { o.subtype, o.link = subtype, link }
}

// WithReport fills r when the step returns, also when it fails.
func WithReport(r *StepReport) StepOption { return func(o *stepOptions) { o.report = r } }

// StepReport tells what the journal knows of a step, the same on every replay.
type StepReport struct {
	Number   int64     // place in the order of first starts; 0 if it never came to a start marker
	Key      string    // idempotency key
	Since    time.Time // first start
	Attempts int
	InDoubt  bool // some attempt is not proven to have had no effect
	Unknown  bool // the last attempt's outcome is unknown
	Rejected bool // the last attempt failed and is proven to have had no effect
}

// StepInfo is what a step's body can know about itself: see StepInfoFrom.
type StepInfo struct {
	Execution string
	Path      string // of names
	Key       string // idempotency key: stable across attempts, activations and hosts
	Attempt   int    // from 1
}

type stepInfoKey struct{}

// StepInfoFrom returns what the context of a step's body carries.
func StepInfoFrom(ctx context.Context) (StepInfo, bool) {
	info, ok := ctx.Value(stepInfoKey{}).(StepInfo)
	return info, ok
}

// Step runs fn durably: once it has returned a result, that result is what
// every replay sees and fn is not run again. fn gets a context that ends with
// the attempt's timeout, with a cancel of the execution, or when this host
// loses the execution; it may do anything except call operations.
//
// The body starts only after its start marker, and everything before it, is
// durable. A result leaves with the next write, so a crash right after fn
// makes it run again: effects are at least once, under StepInfo.Key. With
// AtMostOnce a lost attempt is not repeated but counts as one.
//
// A failed attempt is repeated by WithRetry; the time of the next attempt is
// durable. When attempts end the error is a *StepError. A body that panics,
// and a step that six crashes in a row have interrupted, park the execution.
// The result must encode as JSON within Options.MaxPayload. The returned
// value is the stored form, on the first run as on replays.
func Step[T any](ctx *Context, name string, fn func(context.Context) (T, error), opts ...StepOption) (T, error) {
	o := stepOptions{timeout: DefaultTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	o.retry = o.retry.Or(DefaultRetry())
	limit := ctx.a.eng.opts.MaxPayload
	payload, path, err := ctx.step(name, &o, func(c context.Context) ([]byte, error) {
		v, err := fn(c)
		if err != nil {
			return nil, err
		}
		return encodeValue(v, limit)
	})
	var zero T
	if err != nil {
		return zero, err
	}
	return decodeResult[T](ctx, path, payload)
}

// decodeResult parks when a stored result is not what the code expects any
// more: that is a bug of a deployment and no failure of the step.
func decodeResult[T any](ctx *Context, path string, payload []byte) (T, error) {
	v, err := decodeValue[T](payload)
	if err != nil {
		ctx.a.parkAndExit(ctx.a.bug(ParkNondeterminism, path, fmt.Errorf("result of %q: %w", path, err)))
	}
	return v, nil
}

// DefaultTimeout bounds an attempt that names no timeout.
const DefaultTimeout = 30 * time.Second

// run is one call of Step.
type stepRun struct {
	*call
	o    *stepOptions
	a    *activation
	body func(context.Context) ([]byte, error)
}

func (c *Context) step(name string, o *stepOptions, body func(context.Context) ([]byte, error)) ([]byte, string, error) {
	if o.timeout <= 0 {
		return nil, "", Permanent(fmt.Errorf("%w: step %q has timeout %v: every attempt needs one above zero", ErrInvalid, name, o.timeout))
	}
	k, err := c.begin(OpStep, o.subtype, name, o.link)
	if err != nil {
		return nil, "", err
	}
	defer k.end()
	s := &stepRun{call: k, o: o, a: c.a, body: body}
	if o.key == "" {
		o.key = k.key()
	}
	for !s.advance() {
	}
	payload, err := s.outcome()
	return payload, k.path, err
}

// advance takes the step one move further: wait for its next attempt, settle
// a lost one, or run one.
func (s *stepRun) advance() (done bool) {
	s.a.mu.Lock()
	op := s.op
	switch {
	case op != nil && op.done:
		s.a.mu.Unlock()
		return true
	case op != nil && op.running:
		s.a.mu.Unlock()
		s.a.handOver() // this host may have stopped the attempt itself, to drain
		s.settleLost()
		return false
	case s.reachedNow() != nil:
		s.recordStopped()
		s.a.mu.Unlock()
		return true
	case op != nil && now().Before(op.retryAt):
		at := op.retryAt
		s.a.mu.Unlock()
		s.a.await(func() bool { return s.reachedNow() != nil }, at)
		return false
	case s.expired():
		s.expire()
		s.a.mu.Unlock()
		return true
	}
	s.a.mu.Unlock()
	s.a.handOver()
	s.attempt()
	return false
}

// reachedNow returns why the step must not go on, or nil. a.mu is held.
func (s *stepRun) reachedNow() error {
	if s.o.noReturn && s.op != nil {
		return nil
	}
	return s.c.reached()
}

// recordStopped ends the step because the execution was asked to stop. a.mu
// is held.
func (s *stepRun) recordStopped() {
	e := s.entry(EntryCancel)
	e.NoEffect = s.op == nil
	s.record(e)
}

// expired tells whether the idempotency key may be used no more. a.mu is held.
func (s *stepRun) expired() bool {
	since := s.o.keySince
	if since.IsZero() && s.op != nil {
		since = s.op.first
	}
	return s.o.keyLifetime > 0 && !since.IsZero() && now().Sub(since) > s.o.keyLifetime
}

// expire ends the step without another attempt, because its key is too old.
// a.mu is held.
func (s *stepRun) expire() {
	e := s.entry(EntryFailure)
	e.Error, e.NoEffect = toStored(ErrKeyExpired), true // not an attempt: adds no doubt
	if s.op != nil {
		e.Attempt = s.op.attempt
	}
	s.record(e)
}

// settleLost deals with an attempt that an earlier activation started and
// nobody ended. Nothing about it is decided while it may still run somewhere:
// not before its process is proven dead or its deadline and the greatest skew
// of clocks have passed.
func (s *stepRun) settleLost() {
	op := s.op
	if op.epoch > s.a.safe {
		s.a.await(func() bool { return false }, op.since.Add(op.timeout+s.a.eng.opts.MaxSkew))
	}
	s.a.mu.Lock()
	if s.reachedNow() == nil && !s.o.atMostOnce && op.lost+1 >= s.a.eng.opts.CrashesToPark {
		s.a.mu.Unlock()
		// The loss itself stays unrecorded: what the operator says of this
		// attempt ends the step or gives it a new budget.
		s.a.parkAndExit(Park{
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
	e.Error = toStored(ErrAttemptLost)
	switch {
	case s.o.atMostOnce && s.o.stopUnknown, s.expired():
		e.Attempt = op.attempt
	case s.o.atMostOnce:
		e.Attempt = op.attempt
		e.Delay, e.Retry = s.o.retry.next(op.attempt, nil, op.first, now())
	default:
		e.Retry = true // without its number: it runs again under the same one
	}
	s.record(e)
}

// attempt runs the next attempt.
func (s *stepRun) attempt() {
	first := s.op == nil
	s.a.mu.Lock()
	e := s.entry(EntryStart)
	e.Attempt, e.Epoch, e.Timeout = 1, s.a.epoch, s.o.timeout
	if !first {
		e.Attempt = s.op.nextAttempt()
	}
	s.record(e)
	s.a.mu.Unlock()
	if s.makeDurable(first && s.o.noReturn) != nil {
		runtime.Goexit() // the activation is over
	}
	s.a.mu.Lock()
	if !s.op.done && (s.reachedNow() != nil || first && s.c.reached() != nil) {
		s.neverRan()
	}
	done := s.op.done
	s.a.mu.Unlock()
	if !done {
		s.execute()
	}
}

// neverRan ends the step because a cancel came between its start and its
// body, which proves that this attempt had no effect. a.mu is held.
func (s *stepRun) neverRan() {
	e := s.entry(EntryCancel)
	e.NoEffect = true
	s.record(e)
}

// makeDurable flushes the start marker, and renews marker and lease when the
// write took so long that either would run out under the body.
func (s *stepRun) makeDurable(ifSeen bool) error {
	for {
		err := s.a.commit(write{ifSeen: ifSeen, status: StatusRunning})
		if err != nil && !errors.Is(err, ErrUnseen) {
			return err
		}
		s.a.mu.Lock()
		if err != nil {
			// The start is in no write yet. If it was a cancel that came, both
			// leave in the next one, so that no replay finds an attempt that
			// might have run.
			if s.c.reached() != nil {
				s.neverRan()
				s.a.mu.Unlock()
				return nil
			}
			s.a.mu.Unlock()
			continue
		}
		at := now()
		held := at.Before(s.a.lease)
		fresh := at.Sub(s.op.since) <= s.o.timeout/2
		if !fresh && s.c.reached() == nil {
			e := s.entry(EntryStart)
			e.Attempt, e.Epoch, e.Timeout = s.op.attempt, s.a.epoch, s.o.timeout
			s.record(e)
		}
		s.a.mu.Unlock()
		if held && fresh {
			return nil
		}
		if err := s.a.commit(write{status: StatusRunning, renew: true}); err != nil {
			return err
		}
	}
}

// body is a step's body that runs now.
type body struct {
	cancel  context.CancelCauseFunc
	reached func() error // why it must stop, or nil; a.mu is held
}

// reachBody cancels the running body if a cancel concerns it. a.mu is held.
func (a *activation) reachBody() {
	if a.body == nil {
		return
	}
	if err := a.body.reached(); err != nil {
		a.body.cancel(err)
	}
}

// outcome of one run of a body.
type bodyResult struct {
	payload  []byte
	err      error
	panicked string
	stack    []byte
}

// execute runs the body and records how it ended.
func (s *stepRun) execute() {
	op, a := s.op, s.a
	deadline := op.since.Add(op.timeout)
	info := StepInfo{Execution: a.id.ID, Path: s.path, Key: s.o.key, Attempt: op.attempt}
	base, cancel := context.WithCancelCause(context.WithValue(a.eng.bodies, stepInfoKey{}, info))
	defer cancel(nil)
	ctx, stop := context.WithDeadlineCause(base, deadline, ErrAttemptTimeout)
	defer stop()
	a.mu.Lock()
	a.body = &body{cancel: cancel, reached: s.reachedNow}
	a.reachBody()
	a.mu.Unlock()

	out := make(chan bodyResult, 1)
	go runBody(ctx, s.body, out)
	r := s.wait(out, deadline.Add(a.eng.opts.MaxSkew))

	a.mu.Lock()
	a.body = nil
	if r.panicked == "" {
		s.recordEnd(ctx, r)
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	a.parkAndExit(a.bug(ParkPanic, s.path, fmt.Errorf("the body panicked: %s\n%s", r.panicked, r.stack)))
}

func runBody(ctx context.Context, fn func(context.Context) ([]byte, error), out chan<- bodyResult) {
	r := bodyResult{panicked: "runtime.Goexit in the body"}
	defer func() {
		if p := recover(); p != nil {
			r = bodyResult{panicked: fmt.Sprint(p), stack: debug.Stack()}
		}
		out <- r
	}()
	payload, err := fn(ctx)
	r = bodyResult{payload: payload, err: err}
}

// wait waits for the body to return, at most until the time at which nobody
// counts on it any more, and keeps the claim meanwhile.
func (s *stepRun) wait(out <-chan bodyResult, until time.Time) bodyResult {
	select {
	case r := <-out: // most bodies are quick
		return r
	default:
	}
	tick := time.NewTicker(s.a.tickEvery())
	defer tick.Stop()
	end := time.NewTimer(until.Sub(now()))
	defer end.Stop()
	for {
		select {
		case r := <-out:
			return r
		case <-tick.C:
			s.a.keep()
		case <-s.a.eng.hard.Done():
			return bodyResult{err: ErrHostGone}
		case <-end.C:
			s.a.eng.opts.Logger.Error("a step's body ignores that its context has ended", "execution", s.a.id.ID, "step", s.path)
			return bodyResult{err: ErrAttemptTimeout}
		}
	}
}

// tickEvery is how often a waiting activation looks after its claim and inbox.
func (a *activation) tickEvery() time.Duration {
	every := min(a.eng.opts.InboxCheck, a.eng.opts.Lease/4)
	if left := a.id.Deadline.Sub(now()); !a.id.Deadline.IsZero() && left > 0 {
		every = min(every, left)
	}
	return max(every, time.Millisecond)
}

// recordEnd records how an attempt ended. a.mu is held.
func (s *stepRun) recordEnd(ctx context.Context, r bodyResult) {
	op := s.op
	if r.err == nil {
		e := s.entry(EntryResult)
		e.Attempt, e.Payload = op.attempt, r.payload
		s.record(e)
		return
	}
	e := s.entry(EntryFailure)
	e.Attempt, e.Error, e.NoEffect = op.attempt, toStored(r.err), steering(r.err).noEffect
	cause := context.Cause(ctx)
	switch {
	case e.NoEffect:
	case errors.Is(cause, ErrHostGone), errors.Is(r.err, ErrHostGone):
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
	e.Delay, e.Retry = s.o.retry.next(op.attempt, r.err, op.first, now())
	s.record(e)
}

// outcome returns what the journal says of a step that has ended.
func (s *stepRun) outcome() ([]byte, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	op := s.op
	if r := s.o.report; r != nil {
		*r = StepReport{Number: op.num, Key: s.o.key, Since: op.first, Attempts: op.attempt, InDoubt: op.doubt, Unknown: op.unknown, Rejected: op.rejected && !errors.Is(op.err, ErrKeyExpired)}
		if op.attempt == 0 {
			r.Number = 0
		}
	}
	switch op.end {
	case EntryResult:
		return op.payload, nil
	case EntryCancel:
		return nil, s.a.stopped(op)
	}
	failed := &StepError{Step: op.name, Attempts: op.attempt, Err: op.err}
	if op.end == EntryTimeout {
		failed.Err = fmt.Errorf("%w: %w", ErrAttemptTimeout, op.err)
	}
	return nil, failed
}

// stopped is the error of an operation that ended because the execution was
// asked to stop. a.mu is held.
func (a *activation) stopped(op *operation) error {
	if err := a.cancelled(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrCancelled, op.describe())
}
