package durable

import (
	"context"
	"errors"
	"fmt"
)

// Execution is a handle to one execution, here or anywhere.
type Execution[Out any] struct {
	e  *Engine
	id string
	a  *activation // runs here since the start, or nil
}

// ID returns the execution's ID.
func (x *Execution[Out]) ID() string { return x.id }

// Wait waits until the execution has ended and returns its result, or the
// stored form of its error: ErrCancelled or ErrTimedOut when it was stopped.
// When it parks, Wait returns a *ParkedError; wait again after an operator
// has acted. Many may wait; giving up by ctx changes nothing.
func (x *Execution[Out]) Wait(ctx context.Context) (Out, error) {
	var zero Out
	head, err := x.e.outcome(ctx, x.id, x.a)
	if err != nil {
		return zero, fmt.Errorf("wait for %q: %w", x.id, err)
	}
	return outcomeOf[Out](head)
}

func outcomeOf[Out any](head *Head) (Out, error) {
	var zero Out
	switch head.Status {
	case StatusSucceeded:
		return decodeValue[Out](head.Result)
	case StatusParked:
		return zero, &ParkedError{ID: head.ID, Park: *head.Park}
	case StatusCancelled:
		return zero, &endedError{ErrCancelled, head.Error}
	case StatusTerminated:
		return zero, &endedError{ErrTerminated, head.Error}
	case StatusTimedOut:
		return zero, &endedError{errors.Join(ErrTimedOut, ErrCancelled), head.Error}
	}
	return zero, head.Error
}

// endedError is the stored error of an execution that was stopped, with what
// stopped it.
type endedError struct {
	why error
	err *Error
}

func (e *endedError) Error() string   { return e.err.Error() }
func (e *endedError) Unwrap() []error { return []error{e.why, e.err} }
