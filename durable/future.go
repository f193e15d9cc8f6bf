package durable

import (
	"errors"
	"fmt"
	"time"
)

// Future is the outcome, to be, of what Go has started.
type Future[T any] struct {
	a    *activation
	name string

	// Guarded by the activation's mutex.
	done bool
	v    T
	err  error
}

// Go runs fn in a child context of its own, beside the code that follows, and
// returns at once. The rules of Child hold for what fn returns, which Wait
// gives. What nobody has waited for when the context around it ends is given
// up with it, as an unfinished branch of Parallel is.
//
// fn runs in a goroutine of its own: what it shares needs a lock.
func Go[T any](ctx *Context, name string, fn func(*Context) (T, error), opts ...ContextOption) *Future[T] {
	f := &Future[T]{a: ctx.a, name: name}
	o := contextOptionsOf(opts)
	if f.err = o.single(name); f.err != nil {
		f.done = true
		return f
	}
	k, err := ctx.begin(OpContext, "", name, 0)
	if err != nil {
		f.done, f.err = true, err
		return f
	}
	k.open()
	k.end()
	if k.ended() {
		f.v, f.err = runContext(k, o.codec, fn)
		f.done = true
		return f
	}
	in := *ctx // the strand has a handle of its own to the same place
	k.c = &in
	a := ctx.a
	started := ctx.st.spawn(func(kid *strand) {
		in.st = kid
		v, err := runContext(k, o.codec, fn)
		a.mu.Lock()
		defer a.mu.Unlock()
		f.done, f.v, f.err = true, v, err
		a.wakeReady()
	})
	a.mu.Lock()
	ctx.scope.started = append(ctx.scope.started, started)
	a.mu.Unlock()
	return f
}

// Wait waits, durably, for the outcome: that of fn, as Child returns it. ctx is
// the handle of the code that waits. It may be called more than once.
func (f *Future[T]) Wait(ctx *Context) (T, error) {
	var zero T
	if err := waitFor(ctx, f.name, func() bool { return f.done }); err != nil {
		return zero, err
	}
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	return f.v, f.err
}

// waitFor waits for what other strands bring about.
func waitFor(ctx *Context, name string, ready func() bool) error {
	w := &call{c: ctx, typ: OpContext, name: name}
	if err := w.enter(); err != nil {
		return err
	}
	defer w.end()
	ctx.st.await(ready, time.Time{})
	return nil
}

// Settled is the outcome of one of several futures.
type Settled[T any] struct {
	Value T
	Err   error
}

// AllSettled waits for all futures and returns their outcomes, in their order.
func AllSettled[T any](ctx *Context, futures ...*Future[T]) ([]Settled[T], error) {
	out := make([]Settled[T], len(futures))
	for i, f := range futures {
		v, err := f.Wait(ctx)
		if errors.Is(err, ErrSuspended) {
			return nil, err
		}
		out[i] = Settled[T]{v, err}
	}
	return out, nil
}

// All waits until all futures have succeeded, and returns their values, or
// until the first has failed, and returns its error. Which one that was is
// recorded; the others go on.
func All[T any](ctx *Context, futures ...*Future[T]) ([]T, error) {
	failed, err := choose(ctx, "All", func() (int, bool) {
		ended := 0
		for i, f := range futures {
			if f.done && f.err != nil {
				return i, true
			}
			if f.done {
				ended++
			}
		}
		return none, ended == len(futures)
	})
	if err != nil {
		return nil, err
	}
	if failed != none {
		_, err := pick(ctx, futures, failed)
		return nil, err
	}
	vs := make([]T, len(futures))
	for i, f := range futures {
		if vs[i], err = f.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return vs, nil
}

// Any waits for the first future that succeeds and returns its value; if none
// does, the errors of all, joined. Which one it was is recorded; the others go
// on.
func Any[T any](ctx *Context, futures ...*Future[T]) (T, error) {
	var zero T
	won, err := choose(ctx, "Any", func() (int, bool) {
		ended := 0
		for i, f := range futures {
			if f.done && f.err == nil {
				return i, true
			}
			if f.done {
				ended++
			}
		}
		return none, ended == len(futures)
	})
	if err != nil {
		return zero, err
	}
	if won != none {
		return pick(ctx, futures, won)
	}
	errs := make([]error, len(futures))
	for i, f := range futures {
		_, errs[i] = f.Wait(ctx)
	}
	return zero, errors.Join(append(errs, fmt.Errorf("%w: none of %d succeeded", ErrNoneSucceeded, len(futures)))...)
}

// Race waits for the first future that ends and returns its outcome. Which one
// it was is recorded; the others go on. At least one is needed (ErrInvalid).
func Race[T any](ctx *Context, futures ...*Future[T]) (T, error) {
	var zero T
	if len(futures) == 0 {
		return zero, Permanent(fmt.Errorf("%w: a race of no futures has no winner", ErrInvalid))
	}
	won, err := choose(ctx, "Race", func() (int, bool) {
		for i, f := range futures {
			if f.done {
				return i, true
			}
		}
		return none, false
	})
	if err != nil {
		return zero, err
	}
	return pick(ctx, futures, won)
}

func pick[T any](ctx *Context, futures []*Future[T], i int) (T, error) {
	if i < 0 || i >= len(futures) {
		var zero T
		ctx.st.parkAndExit(ctx.a.bug(ParkNondeterminism, ctx.scope.path, fmt.Errorf("future %d was chosen, and there are %d", i, len(futures))))
		return zero, ErrSuspended
	}
	return futures[i].Wait(ctx)
}

// none is what choose gives when it is none of them.
const none = -1

// choose waits until decide, which is called with the activation's mutex held,
// has decided, and records the decision: it depends on who was first.
func choose(ctx *Context, sub string, decide func() (int, bool)) (int, error) {
	k, err := ctx.begin(OpValue, sub, "", 0)
	if err != nil {
		return 0, err
	}
	defer k.end()
	a := ctx.a
	if k.op == nil {
		i := none
		ctx.st.await(func() (ok bool) { i, ok = decide(); return ok }, time.Time{})
		a.mu.Lock()
		e := k.entry(EntryResult)
		e.Payload = fmt.Appendf(nil, "%d", i)
		k.record(e)
		a.mu.Unlock()
	}
	return decodeResult[int](ctx, nil, k.op, k.path, k.op.payload)
}
