package durable

import (
	"errors"
	"fmt"
	"strings"
)

// ContextOption sets how a child context, or what is made of several, behaves.
type ContextOption func(*contextOptions)

type contextOptions struct {
	codec   Codec
	report  *StepReport
	subtype string // finer than what it is without
	key     string
	batch   batchOptions
	given   []string // options that only Parallel and Map take
}

func contextOptionsOf(opts []ContextOption) *contextOptions {
	o := &contextOptions{}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// single refuses what makes sense for several branches only.
func (o *contextOptions) single(name string) error {
	if len(o.given) == 0 {
		return nil
	}
	return Permanent(fmt.Errorf("%w: %s is for Parallel and Map, and %q is one context", ErrInvalid, o.given[0], name))
}

// WithCodec stores the results of contexts in another form than JSON: the
// result of a Child or Go, the results of the branches of a Parallel or Map.
func WithCodec(c Codec) ContextOption { return func(o *contextOptions) { o.codec = c } }

// WithContextReport fills r when a Child returns, also when it fails: with what
// the journal knows of it as a whole.
func WithContextReport(r *StepReport) ContextOption {
	return func(o *contextOptions) { o.report = r }
}

// WithContextSubtype marks a Child or a Group in histories, as WithSubtype does a
// step. It is a part of what a replay must meet again.
func WithContextSubtype(subtype string) ContextOption {
	return func(o *contextOptions) { o.subtype = subtype }
}

// WithContextKey makes a Child take the place of another one in idempotency keys:
// key is that one's, as its StepReport has it. So a child that is run again as a
// whole asks participants under the keys that they know.
func WithContextKey(key string) ContextOption {
	return func(o *contextOptions) { o.key = key }
}

// Child runs fn in a child context: operations in it have positions and names
// of their own, so that a helper may change without shifting what its caller
// does. Once it has ended, replays return its result without calling fn. An
// error that fn returns is a *ChildError from then on; ErrCancelled stays
// what it is. What fn has started with Go and not waited for ends with it.
func Child[T any](ctx *Context, name string, fn func(*Context) (T, error), opts ...ContextOption) (T, error) {
	return child(ctx, "", name, fn, opts)
}

func child[T any](ctx *Context, sub, name string, fn func(*Context) (T, error), opts []ContextOption) (T, error) {
	var zero T
	o := contextOptionsOf(opts)
	if err := o.single(name); err != nil {
		return zero, err
	}
	if o.subtype != "" {
		sub = o.subtype
	}
	k, err := ctx.begin(OpContext, sub, name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	if path, ok := strings.CutPrefix(o.key, k.keyOf("")); ok {
		k.path = path
	}
	k.open()
	v, err := runContext(k, o.codec, fn)
	k.reportContext(o.report)
	return v, err
}

// reportContext tells what the journal knows of a context that has ended.
func (k *call) reportContext(r *StepReport) {
	if r == nil {
		return
	}
	k.c.a.mu.Lock()
	defer k.c.a.mu.Unlock()
	*r = StepReport{Key: k.key(), Since: k.op.first}
	if k.op.started {
		r.Number, r.Attempts, r.InDoubt = k.op.num, 1, k.op.end != EntryResult
	}
}

// open records the start of the context, unless cancel comes first.
func (k *call) open() {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case k.op != nil:
	case k.c.reached() != nil:
		k.recordCancelled()
	default:
		k.record(k.entry(EntryStart))
	}
}

// runContext runs fn in the context of an operation that has started, if it
// has not ended, and returns what the journal has of its end.
func runContext[T any](k *call, codec Codec, fn func(*Context) (T, error)) (T, error) {
	var zero T
	if !k.ended() {
		inner := k.inside(scopeID{parent: k.op.num})
		v, err := fn(inner)
		if err := closeContext(k, inner.scope, codec, v, err); err != nil {
			return zero, err
		}
	}
	if err := k.failure(); err != nil {
		return zero, err
	}
	return decodeResult[T](k.c, codec, k.op, k.path, k.op.payload)
}

// failure is the error of a context that has ended, nil if it succeeded.
func (k *call) failure() error {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch k.op.end {
	case EntryCancel:
		return a.stopped(k.op)
	case EntryFailure:
		return &ChildError{Child: k.name, Err: k.op.err}
	}
	return nil
}

func (k *call) ended() bool {
	k.c.a.mu.Lock()
	defer k.c.a.mu.Unlock()
	return k.op.done
}

// inside is the handle for the code in the operation's own context.
func (k *call) inside(id scopeID) *Context {
	c := k.c
	return &Context{Context: c.Context, a: c.a, st: c.st, shielded: c.shielded, stop: c.stop, scope: c.a.newScope(id, k.path+"/")}
}

// closeContext records how the context ended. It returns an error only when
// the activation is over.
func closeContext[T any](k *call, s *scope, codec Codec, v T, err error) error {
	a := k.c.a
	k.c.st.joinStarted(s)
	k.freeInside()
	var payload []byte
	if err == nil {
		payload, err = encodeWith(codec, v, a.eng.opts.MaxPayload)
	}
	failure, stopped := toStored(err), errors.Is(err, ErrCancelled)
	if bug := a.unconsumed(s); bug != nil && !k.c.st.over() {
		k.c.st.parkAndExit(a.bug(ParkNondeterminism, k.path, bug))
	}
	if left := a.undosLeft(s); left != nil && !k.c.st.over() {
		k.c.st.parkAndExit(*left)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.halted != nil || k.c.st.stopped {
		return ErrSuspended
	}
	e := k.entry(EntryResult)
	e.Payload = payload
	if err != nil {
		e.Kind, e.Error = EntryFailure, failure
		if stopped && k.c.reached() != nil {
			e.Kind = EntryCancel
		}
	}
	k.record(e)
	return nil
}

// freeInside asks what was invoked in the context that ends, and not waited
// for, to stop.
func (k *call) freeInside() {
	if ops := k.c.a.invokedIn(k.op); len(ops) > 0 {
		k.c.st.rest()
		defer k.c.st.resume()
		k.c.a.freeInvoked(ops)
	}
}

// joinStarted gives up what Go has started in a context that ends, and waits
// for its end.
func (st *strand) joinStarted(s *scope) {
	a := st.a
	a.mu.Lock()
	started := s.started
	s.started = nil
	if s.out != nil {
		started = append(started, s.out.started...)
		s.out.started = nil
	}
	for _, kid := range started {
		kid.stop()
	}
	a.mu.Unlock()
	if len(started) > 0 {
		st.rest()
		defer st.resume()
		join(started)
	}
}
