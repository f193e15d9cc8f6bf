package saga

import (
	"context"

	"github.com/clewdev/clew/durable"
)

// Call is a call of one of the functions of a saga, as an Interceptor sees it.
type Call struct {
	Kind    CallKind
	Step    string // after the names of the sub-sagas around it: "hotel/book"
	Key     string // Context.Key of the function
	Attempt int    // from 1; 0 of a Run, which has none

	// Callback is the ID to answer under, of an Await, and of its reminders.
	Callback string

	// Of an undo.
	ForwardKey string
	Known      bool // it gets the step's result, which else is in doubt
}

// CallKind says which function of a step is called.
type CallKind string

// The kinds of calls.
const (
	CallForward CallKind = "forward" // the body; of an Await, what asks
	CallRemind  CallKind = "remind"  // of an Await
	CallVerify  CallKind = "verify"
	CallUndo    CallKind = "undo"
)

// Interceptor is called in the place of a saga's functions. It may call next,
// which is the function itself, at once, twice, later, or not at all; what it
// returns is what the function returns to the runner. Without an error the result
// is that of the last call of next, or the zero value.
type Interceptor func(ctx context.Context, c Call, next func(context.Context) error) error

// Intercept returns the saga with f around all its functions, those of its
// sub-sagas included. It is the same saga by name, version and fingerprint, so
// register one of the two. It is for tests, which make steps fail without a change
// of the saga: see package sagatest.
func (s *Saga[In, Out]) Intercept(f Interceptor) *Saga[In, Out] {
	own := *s
	own.intercept = f
	own.define()
	return &own
}

// through puts the saga's interceptor around a function. Without one it is the
// function.
func through[T any](r *run, c Call, f func(context.Context) (T, error)) func(context.Context) (T, error) {
	if r.intercept == nil {
		return f
	}
	return func(ctx context.Context) (v T, err error) {
		info, _ := durable.StepInfoFrom(ctx)
		c := c
		c.Attempt = info.Attempt
		if c.Key == "" {
			c.Key = info.Key
		}
		var last T // of next, which may be called when this has returned
		err = r.intercept(ctx, c, func(ctx context.Context) (err error) {
			last, err = f(ctx)
			return err
		})
		return last, err
	}
}
