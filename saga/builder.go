package saga

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// Builder declares a saga from In to Out. Steps run in the order of their
// declarations. It is not safe for concurrent use.
type Builder[In, Out any] struct {
	p       plan
	version string
	timeout time.Duration
}

// New begins to declare a saga. Change version whenever steps, their order or
// their names change: sagas in flight stay on the version they started with.
func New[In, Out any](name, version string) *Builder[In, Out] {
	b := &Builder[In, Out]{p: plan{name: name}, version: version}
	b.p.root = &block{p: &b.p}
	return b
}

// Timeout gives every execution a deadline, counted from its start. Past it
// the saga unwinds, unless its pivot has started: then it finishes forward.
func (b *Builder[In, Out]) Timeout(d time.Duration) *Builder[In, Out] {
	b.positive("Timeout", d)
	b.timeout = d
	return b
}

// UnwindTimeout gives the unwinding a deadline of its own, counted from its
// beginning: past it no further undo starts, and the saga parks
// (ParkUnwindDeadline). There is none by default.
func (b *Builder[In, Out]) UnwindTimeout(d time.Duration) *Builder[In, Out] {
	b.positive("UnwindTimeout", d)
	b.p.unwindTimeout = d
	return b
}

// UndoIndependently says that the undos of this saga do not need each other:
// when one fails for good, those of earlier steps run all the same before the
// saga parks. By default the order is kept, and it parks at once.
func (b *Builder[In, Out]) UndoIndependently() *Builder[In, Out] {
	b.p.independent = true
	return b
}

// AfterPivot says that the saga is a part of others, behind their pivot (Sub), so
// that it has retriable steps, read-only and irreversible ones, but neither a pivot
// nor anything to undo. It has no executions of its own: Engine.Register refuses
// it, because by itself it would have no point of no return behind it.
func (b *Builder[In, Out]) AfterPivot() *Builder[In, Out] {
	b.p.afterPivot = caller()
	return b
}

// OnParked calls f when an execution parks, in the process that parked it: to
// tell a person. It is called once, after the parking is durable, and not again
// if the process dies: what must not be missed belongs into a look at
// durable.StatusParked. A panic in f is logged.
func (b *Builder[In, Out]) OnParked(f func(ctx context.Context, parked durable.Head)) *Builder[In, Out] {
	if f == nil {
		b.p.problem(caller(), "OnParked got a nil func: pass one, or drop the call")
	}
	b.p.onParked = f
	return b
}

func (b *Builder[In, Out]) positive(what string, d time.Duration) {
	if d <= 0 {
		b.p.problem(caller(), "%s(%v): pass a duration above zero", what, d)
	}
}

func (b *Builder[In, Out]) scope() typed[In] { return typed[In]{b.p.root} }

// BuildError lists every mistake in a declaration, each with file and line
// and the ways to mend it.
type BuildError struct {
	Saga     string
	Problems []string
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("saga %q cannot be built:\n  %s", e.Saga, strings.Join(e.Problems, "\n  "))
}

// Build checks the declaration and seals it. result makes the saga's output
// from its steps' outputs once all have succeeded; it must be pure. An error
// from it unwinds a saga without a pivot, and after a pivot parks. The error
// is a *BuildError with every mistake found.
func (b *Builder[In, Out]) Build(result func(Context, In) (Out, error)) (*Saga[In, Out], error) {
	if result == nil {
		b.p.problem(caller(), "Build got a nil func: pass one that makes the saga's output")
	}
	if b.p.name == "" || b.version == "" {
		b.p.problem(caller(), "name %q, version %q: both are needed", b.p.name, b.version)
	}
	b.p.check()
	if len(b.p.problems) > 0 {
		return nil, &BuildError{Saga: b.p.name, Problems: b.p.problems}
	}
	b.p.sealed = true
	s := &Saga[In, Out]{plan: &b.p, result: result, version: b.version}
	s.opts = []durable.DefineOption{durable.WithFingerprint(b.p.fingerprint()), durable.WithTerminatedStatus(abandoned), durable.WithParkedStatus(parked)}
	if b.timeout > 0 {
		s.opts = append(s.opts, durable.WithExecutionTimeout(b.timeout))
	}
	if b.p.onParked != nil {
		s.opts = append(s.opts, durable.WithOnParked(b.p.onParked))
	}
	if b.p.afterPivot != "" {
		s.opts = append(s.opts, durable.WithoutExecutions("the saga is declared AfterPivot, to be a Sub behind the pivot of others: put it into one, or drop AfterPivot and declare its own Pivot"))
	}
	s.define()
	return s, nil
}

// define makes the saga's runner a durable definition.
func (s *Saga[In, Out]) define() {
	s.Definition = durable.Define(s.plan.name, s.version, s.run, s.opts...)
}

// Saga is a saga that was built: a durable definition to register with an
// engine and to start. It is immutable and safe for concurrent use.
type Saga[In, Out any] struct {
	*durable.Definition[In, Out]
	plan      *plan
	version   string
	result    func(Context, In) (Out, error)
	opts      []durable.DefineOption
	intercept Interceptor // nil is none
}
