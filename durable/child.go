package durable

import (
	"errors"
)

// Child runs fn in a child context: operations in it have positions and names
// of their own, so that a helper may change without shifting what its caller
// does. Once it has ended, replays return its result without calling fn. An
// error that fn returns is a *ChildError from then on; ErrCancelled stays
// what it is.
func Child[T any](ctx *Context, name string, fn func(*Context) (T, error)) (T, error) {
	var zero T
	k, err := ctx.begin(OpContext, "", name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	if err := k.open(); err != nil {
		return zero, err
	}
	if !k.op.done {
		inner := &Context{Context: ctx.Context, a: ctx.a, shielded: ctx.shielded, scope: ctx.a.newScope(k.op.num, ScopeForward, k.path+"/")}
		v, err := fn(inner)
		if err := k.close(inner.scope, v, err); err != nil {
			return zero, err
		}
	}
	ctx.a.mu.Lock()
	end, failure := k.op.end, k.op.err
	ctx.a.mu.Unlock()
	switch end {
	case EntryCancel:
		ctx.a.mu.Lock()
		defer ctx.a.mu.Unlock()
		return zero, ctx.a.stopped(k.op)
	case EntryFailure:
		return zero, &ChildError{Child: name, Err: failure}
	}
	return decodeResult[T](ctx, k.op, k.path, k.op.payload)
}

// open records the start of the context, unless cancel comes first.
func (k *call) open() error {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case k.op != nil:
	case k.c.reached() != nil:
		k.recordCancelled()
		return a.stopped(k.op)
	default:
		k.record(k.entry(EntryStart))
	}
	return nil
}

// close records how the context ended. It returns an error only when the
// activation is over.
func (k *call) close(s *scope, v any, err error) error {
	a := k.c.a
	var payload []byte
	if err == nil {
		payload, err = encodeValue(v, a.eng.opts.MaxPayload)
	}
	failure, stopped := toStored(err), errors.Is(err, ErrCancelled)
	if bug := a.unconsumed(s); bug != nil && !k.halted() {
		a.parkAndExit(a.bug(ParkNondeterminism, k.path, bug))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.halted != nil {
		return ErrSuspended
	}
	e := k.entry(EntryResult)
	e.Payload = payload
	if err != nil {
		e.Kind, e.Error = EntryFailure, failure
		if stopped && a.journal.cancel != nil {
			e.Kind = EntryCancel
		}
	}
	k.record(e)
	return nil
}

func (k *call) halted() bool {
	k.c.a.mu.Lock()
	defer k.c.a.mu.Unlock()
	return k.c.a.halted != nil
}
