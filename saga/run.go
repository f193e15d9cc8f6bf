package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// run is one pass of the runner over one execution. All of it is rebuilt from
// the journal on every activation.
type run[In any] struct {
	saga    string
	input   func() In // a copy for each body, so that none sees what another made of it
	values  *values
	stack   compensate.Stack[standing[In]]
	pivoted bool // the pivot has happened: only forward from here
	forward Forwards
}

// standing is a step whose effect stands, or may stand.
type standing[In any] struct {
	step  *step[In]
	key   string
	value json.RawMessage
	known bool // value is the result; else the step is in doubt
}

// run is the handler of the saga's definition.
func (s *Saga[In, Out]) run(ctx *durable.Context, in In) (Out, error) {
	var zero Out
	r := &run[In]{saga: s.name, input: copies(in), forward: ForwardRunning}
	r.values = &values{owner: s.plan, raw: map[string]json.RawMessage{}}
	r.status(ctx, UnwindNone)
	for _, st := range s.plan.steps {
		if err := r.step(ctx, st); err != nil {
			return zero, r.unwind(ctx, err)
		}
	}
	out, err := s.result(Context{Context: ctx, values: r.values}, r.input())
	if err == nil && !r.pivoted {
		// Without a pivot the end of the saga is its point of no return, and a
		// cancel acknowledged before it is obeyed. It comes after the result,
		// so that an unwinding that the result began keeps its cause when a
		// cancel arrives later.
		err = ctx.Cancelled()
	}
	switch {
	case err == nil:
		r.forward = ForwardCommitted
		r.status(ctx, UnwindNone)
		return out, nil
	case r.pivoted:
		panic(fmt.Sprintf("saga: the result func of %q failed after the pivot, where nothing can be undone: %v", s.name, err))
	}
	return zero, r.unwind(ctx, err)
}

// copies returns a func that returns copies of in: the stored form read anew,
// if it can be changed through a reference at all.
func copies[In any](in In) func() In {
	stored, err := json.Marshal(in)
	if err != nil || !shares(reflect.TypeFor[In]()) {
		return func() In { return in }
	}
	return func() In {
		var own In
		if json.Unmarshal(stored, &own) != nil {
			return in // it was read from this form before, so this does not happen
		}
		return own
	}
}

// shares tells whether copies of a value of type t share memory that can be
// written.
func shares(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if shares(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Array:
		return shares(t.Elem())
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	}
	return false
}

// status carries the two axes to the store with the next write.
func (r *run[In]) status(ctx *durable.Context, u Unwind) {
	ctx.SetStatus(string(r.forward) + "/" + string(u))
}

// options turns settings into those of a durable step.
func (s *settings) options(base durable.Retry) []durable.StepOption {
	opts := []durable.StepOption{durable.WithRetry(s.retry.Or(base))}
	if s.timeout > 0 {
		opts = append(opts, durable.WithTimeout(s.timeout))
	}
	if s.atMostOnce {
		opts = append(opts, durable.AtMostOnce())
	}
	return opts
}

// patient is the policy of undos, of steps after the pivot and of Verify: an
// outage of minutes must not park every saga.
func patient() durable.Retry {
	return durable.Retry{MaxAttempts: -1, MaxElapsed: 24 * time.Hour, Initial: time.Second, Max: 5 * time.Minute, Multiplier: 2}
}

// body adapts a declared body to a durable step.
func (r *run[In]) body(fn func(Context, In) (json.RawMessage, error)) func(context.Context) (json.RawMessage, error) {
	return func(ctx context.Context) (json.RawMessage, error) { return fn(r.context(ctx), r.input()) }
}

func (r *run[In]) context(ctx context.Context) Context {
	info, _ := durable.StepInfoFrom(ctx)
	return Context{Context: ctx, key: info.Key, attempt: info.Attempt, values: r.values}
}

// unwind undoes what stands, latest start first, and returns the saga's error.
func (r *run[In]) unwind(ctx *durable.Context, cause error) error {
	r.forward = forwardOf(cause)
	r.status(ctx, UnwindRunning)
	failed := &Error{Saga: r.saga, Forward: r.forward, Err: cause}
	for _, a := range r.stack.Plan() {
		failed.Undone = append(failed.Undone, a.Name)
	}
	out := ctx.Unwinding()
	err := r.stack.Unwind(ctx, compensate.InOrder, func(_ context.Context, a compensate.Action[standing[In]]) error {
		return r.undo(out, a, cause)
	})
	if err != nil { // the activation is over: nothing of this is recorded
		return err
	}
	r.status(ctx, UnwindComplete)
	return failed
}

// undo runs one undo until it has succeeded, parking as often as it fails for
// good.
func (r *run[In]) undo(ctx *durable.Context, a compensate.Action[standing[In]], cause error) error {
	st := a.Value
	set := st.step.undoSettings
	key, since := st.key+"/undo", time.Time{}
	body := func(c context.Context) (struct{}, error) {
		u := UndoContext{Context: r.context(c), forwardKey: st.key, cause: cause}
		return struct{}{}, st.step.undo(u, r.input(), st.value, st.known)
	}
	for {
		var rep durable.StepReport
		opts := append(set.options(patient()),
			durable.WithSubtype(durable.SubtypeUndo, a.Order), durable.WithKey(key, since), durable.WithKeyLifetime(set.keyLifetime), durable.WithReport(&rep))
		_, err := durable.Step(ctx, a.Name, body, opts...)
		var failed *durable.StepError
		switch {
		case err == nil || errors.Is(err, durable.ErrSuspended):
			return err
		case !errors.As(err, &failed):
			mustNotHappen(err)
		}
		if since.IsZero() {
			since = rep.Since
		}
		d, err := r.park(ctx, durable.Park{
			Reason: ParkUndoFailed, Operation: a.Name, Message: "undo: " + err.Error(), Stuck: true,
			Key: key, Since: since, KeyLifetime: set.keyLifetime, Verbs: []durable.Verb{durable.VerbRetry},
		})
		if err != nil {
			return err
		}
		if d.Force {
			set.keyLifetime = 0
		}
		r.status(ctx, UnwindRunning)
	}
}

// park asks a person. What stands while it waits makes the saga stuck.
func (r *run[In]) park(ctx *durable.Context, p durable.Park) (durable.Decision, error) {
	if p.Stuck {
		r.status(ctx, UnwindStuck)
	}
	d, err := ctx.Park(p.Operation, p)
	if err != nil && !errors.Is(err, durable.ErrSuspended) {
		mustNotHappen(err)
	}
	return d, err
}

// mustNotHappen parks, by a panic, what the rule of unwinding has no answer
// for: operations that the engine refused outright, where unwinding would
// undo what may have to stand. An unexplained error never unwinds.
func mustNotHappen(err error) {
	panic(fmt.Sprintf("saga: the engine refused an operation that the saga cannot do without: %v", err))
}
