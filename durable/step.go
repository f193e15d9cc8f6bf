package durable

import (
	"context"
	"errors"
	"fmt"
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
	afterBodies bool
	subtype     string
	link        int64
	report      *StepReport
	codec       Codec
	heartbeat   time.Duration
}

func stepOptionsOf(opts []StepOption, base Retry) *stepOptions {
	o := &stepOptions{timeout: DefaultTimeout}
	for _, opt := range opts {
		opt(o)
	}
	o.timeout = min(o.timeout, longest)
	o.retry = o.retry.Or(base)
	return o
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

// AfterBodies makes the step start only once every body of this activation
// has returned, also those that ignored the end of their context and that
// nobody waits for otherwise.
func AfterBodies() StepOption { return func(o *stepOptions) { o.afterBodies = true } }

// WithReport fills r when the step returns, also when it fails.
func WithReport(r *StepReport) StepOption { return func(o *stepOptions) { o.report = r } }

// WithStepCodec stores the step's result in another form than JSON.
func WithStepCodec(c Codec) StepOption { return func(o *stepOptions) { o.codec = c } }

// StepReport tells what the journal knows of a step, the same on every replay.
type StepReport struct {
	Number   int64     // place in the order of first starts; 0 if it never came to a start marker
	Key      string    // idempotency key
	Since    time.Time // first start
	Attempts int
	InDoubt  bool // some attempt is not proven to have had no effect
	Unknown  bool // the last attempt's outcome is unknown
	Rejected bool // the last attempt failed and is proven to have had no effect
	Resolved bool // it was an operator who stated the outcome
}

// StepInfo is what a step's body can know about itself: see StepInfoFrom.
type StepInfo struct {
	Execution string
	Path      string // of names
	Key       string // idempotency key: stable across attempts, activations and hosts
	Attempt   int    // from 1
}

// StepInfoFrom returns what the context of a step's body carries.
func StepInfoFrom(ctx context.Context) (StepInfo, bool) {
	if at := attemptOf(ctx); at != nil {
		return at.info, true
	}
	return StepInfo{}, false
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
	o := stepOptionsOf(opts, DefaultRetry())
	limit := ctx.a.eng.opts.MaxPayload
	op, path, payload, err := ctx.step(name, o, func(c context.Context) ([]byte, error) {
		v, err := fn(c)
		if err != nil {
			return nil, err
		}
		return encodeWith(o.codec, v, limit)
	})
	var zero T
	if err != nil {
		return zero, err
	}
	return decodeResult[T](ctx, o.codec, op, path, payload)
}

// decodeResult parks when a stored result is not what the code expects any
// more: that is a bug of a deployment and no failure of the step. If it was
// an operator who stated the result, an operator can state another.
func decodeResult[T any](ctx *Context, codec Codec, op *operation, path string, payload []byte) (T, error) {
	v, err := decodeWith[T](codec, payload)
	if err != nil {
		p := ctx.a.bug(ParkNondeterminism, path, fmt.Errorf("result of %q: %w", path, err))
		if op.resolved {
			p.Op, p.Verbs = op.num, []Verb{VerbResolve, VerbResume}
		}
		ctx.st.parkAndExit(p)
	}
	return v, nil
}

// longest is the longest timeout: beyond it sums of times would overflow.
const longest = 100 * 365 * 24 * time.Hour

// DefaultTimeout bounds an attempt that names no timeout.
const DefaultTimeout = 30 * time.Second

// run is one call of Step.
type stepRun struct {
	*call
	o    *stepOptions
	a    *activation
	body func(context.Context) ([]byte, error)

	// Guarded by the activation's mutex.
	unsaid []byte    // progress that is not recorded
	said   time.Time // when progress was recorded last
}

func (c *Context) step(name string, o *stepOptions, body func(context.Context) ([]byte, error)) (*operation, string, []byte, error) {
	if o.timeout <= 0 || o.heartbeat < 0 {
		return nil, "", nil, Permanent(fmt.Errorf("%w: step %q has timeout %v and heartbeat %v: every attempt needs a timeout above zero", ErrInvalid, name, o.timeout, o.heartbeat))
	}
	k, err := c.begin(OpStep, o.subtype, name, o.link)
	if err != nil {
		return nil, "", nil, err
	}
	defer k.end()
	s := &stepRun{call: k, o: o, a: c.a, body: body}
	if o.key == "" {
		o.key = k.key()
	}
	for !s.advance() {
	}
	payload, err := s.outcome()
	return k.op, k.path, payload, err
}

// advance takes the step one move further: wait for its next attempt, settle
// a lost one, or run one.
func (s *stepRun) advance() (done bool) {
	s.c.st.meetDeadline()
	s.a.mu.Lock()
	op := s.op
	switch {
	case op != nil && op.done:
		s.a.mu.Unlock()
		return true
	case op != nil && op.running:
		s.a.mu.Unlock()
		s.c.st.giveWay() // this host may have stopped the attempt itself, to drain
		s.settleLost()
		return false
	case s.reachedNow() != nil:
		s.recordStopped()
		s.a.mu.Unlock()
		return true
	case op != nil && now().Before(op.retryAt):
		at := op.retryAt
		s.a.mu.Unlock()
		s.c.st.await(func() bool { return s.reachedNow() != nil }, at)
		return false
	case s.expired():
		s.expire()
		s.a.mu.Unlock()
		return true
	}
	s.a.mu.Unlock()
	s.attempt()
	return false
}

// beginsHere ends the strand unless the next attempt may start here, now.
func (s *stepRun) beginsHere() {
	s.c.st.giveWay()
	if !s.a.eng.hasTime(s.o.timeout) {
		s.c.st.short(s.path, s.o.timeout)
	}
}

// reachedNow returns why the step must not go on, or nil. a.mu is held.
func (s *stepRun) reachedNow() error {
	if s.o.noReturn && s.begun() {
		return nil
	}
	return s.c.reached()
}

// begun tells whether an attempt has started. a.mu is held, or the strand alone
// changes the operation.
func (s *stepRun) begun() bool { return s.op != nil && s.op.attempt > 0 }

// recordStopped ends the step because the execution was asked to stop. a.mu
// is held.
func (s *stepRun) recordStopped() {
	e := s.entry(EntryCancel)
	e.NoEffect = !s.begun()
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

// outcome returns what the journal says of a step that has ended.
func (s *stepRun) outcome() ([]byte, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	op := s.op
	if r := s.o.report; r != nil {
		*r = StepReport{Number: op.num, Key: s.o.key, Since: op.first, Attempts: op.attempt, InDoubt: op.doubt, Unknown: op.unknown, Rejected: op.end == EntryFailure && op.rejected && !errors.Is(op.err, ErrKeyExpired), Resolved: op.resolved}
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
	// ErrKeyExpired and ErrAttemptLost are in op.err, and found by errors.Is.
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
