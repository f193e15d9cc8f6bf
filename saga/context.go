package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/clewdev/clew/durable"
)

// Context is what the body of a step gets. It ends with the attempt's
// timeout, and before the pivot with a cancel of the saga.
type Context struct {
	context.Context
	key    string // if it is not the attempt's own
	values *values
}

// Key is the idempotency key of the step: the same for all its attempts, on
// every host. Send it to the participant. In a Verify it is the key of the
// attempts in doubt; in an undo, the undo's own.
func (c Context) Key() string {
	if c.key != "" {
		return c.key
	}
	info, _ := durable.StepInfoFrom(c.Context)
	return info.Key
}

// Attempt is the number of this attempt, from 1.
func (c Context) Attempt() int {
	info, _ := durable.StepInfoFrom(c.Context)
	return info.Attempt
}

// UndoContext is what an undo gets. A cancel of the saga does not end it.
type UndoContext struct {
	Context
	forwardKey string
	cause      error
}

// ForwardKey is the key under which the step ran that is being undone.
func (c UndoContext) ForwardKey() string { return c.forwardKey }

// Cause is why the saga unwinds, in its stored form.
func (c UndoContext) Cause() error { return c.cause }

// Maybe is a result that is absent when the step is in doubt.
type Maybe[T any] struct {
	v  T
	ok bool
}

// Get returns the result, and false if the step is in doubt.
func (m Maybe[T]) Get() (T, bool) { return m.v, m.ok }

// Verdict is what a Verify found out.
type Verdict[T any] struct{ v verdict }

// verdict is the stored form of a Verdict.
type verdict struct {
	Kind  string          `json:"verdict"`
	Value json.RawMessage `json:"value,omitempty"`
}

const (
	happened = durable.VerdictHappened
	noEffect = durable.VerdictNoEffect
	unknown  = durable.VerdictUnknown
)

// Happened: the step took effect, with this result.
func Happened[T any](v T) Verdict[T] {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("saga: Happened(%T) cannot be stored as JSON: %v", v, err)) // parks: a bug
	}
	return Verdict[T]{verdict{happened, raw}}
}

// NoEffect: the step had no effect, and no request still on its way can have
// one any more. An attempt that follows runs under another key.
func NoEffect[T any]() Verdict[T] { return Verdict[T]{verdict{Kind: noEffect}} }

// Unknown: it cannot be told, and asking again will not help.
func Unknown[T any]() Verdict[T] { return Verdict[T]{verdict{Kind: unknown}} }

// Reject marks err as proof that this attempt had no effect and never will:
// a declined card, an unknown article. The step is not tried again; the saga
// unwinds, and this step is undone only if an earlier attempt is in doubt.
// After the pivot a rejection parks. Reject(nil) is nil.
func Reject(err error) error { return durable.NoEffect(err) }

// Output is the result of a classified step.
type Output[T any] struct {
	owner any // the plan
	name  string
}

func output[T any](p *plan, s *step) Output[T] { return Output[T]{p, s.name} }

// values are the results of one run so far, the latest first. They never change,
// because a body that ignored its timeout may still be reading them: with makes
// new ones, which share the old.
type values struct {
	owner  any
	name   string
	raw    json.RawMessage
	before *values // nil: this is the beginning, and holds nothing
}

func noValues(p *plan) *values { return &values{owner: p} }

// and adds what w has beyond base, which v came from too.
func (v *values) and(w, base *values) *values {
	for ; w != base; w = w.before {
		v = v.with(w.name, w.raw)
	}
	return v
}

func (v *values) with(name string, raw json.RawMessage) *values {
	return &values{v.owner, name, raw, v}
}

func (v *values) find(name string) (json.RawMessage, bool) {
	for ; v.before != nil; v = v.before {
		if v.name == name {
			return v.raw, true
		}
	}
	return nil, false
}

// Of returns the step's result. Asking before the step has run, or for a step
// of another saga, is a bug in the saga: it panics, which parks.
func (o Output[T]) Of(c Context) T {
	v, ok := o.Get(c)
	if !ok {
		panic(fmt.Sprintf("saga: the output of step %q is not there: the step belongs to another saga, or has not succeeded before the step that reads it", o.name))
	}
	return v
}

// Get returns the step's result, and false if it has not succeeded.
func (o Output[T]) Get(c Context) (T, bool) {
	var zero T
	if c.values == nil || o.owner == nil || c.values.owner != o.owner {
		return zero, false
	}
	raw, ok := c.values.find(o.name)
	if !ok {
		return zero, false
	}
	v, err := decode[T](raw)
	if err != nil {
		panic(err.Error()) // parks: stored bytes and code do not agree
	}
	return v, true
}

// decodes tells whether raw is the stored form of a T.
func decodes[T any](raw json.RawMessage) error {
	_, err := decode[T](raw)
	return err
}

func decode[T any](raw json.RawMessage) (T, error) {
	var v T
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Struct && t.NumField() == 0 {
		return v, nil // it carries nothing, whatever a person may have stated
	}
	if len(raw) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("saga: stored result does not decode into %T: %w", v, err)
	}
	return v, nil
}
