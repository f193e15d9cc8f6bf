package saga

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// Scope is where steps are declared: a Builder.
type Scope[In any] interface{ scope() *plan[In] }

// Builder declares a saga from In to Out. Steps run in the order of their
// declarations. It is not safe for concurrent use.
type Builder[In, Out any] struct {
	p       plan[In]
	name    string
	version string
	timeout time.Duration
}

// New begins to declare a saga. Change version whenever steps, their order or
// their names change: sagas in flight stay on the version they started with.
func New[In, Out any](name, version string) *Builder[In, Out] {
	return &Builder[In, Out]{name: name, version: version}
}

// Timeout gives every execution a deadline, counted from its start. Past it
// the saga unwinds, unless its pivot has started: then it finishes forward.
func (b *Builder[In, Out]) Timeout(d time.Duration) *Builder[In, Out] {
	if d <= 0 {
		b.p.problem(caller(), "Timeout(%v): pass a duration above zero", d)
	}
	b.timeout = d
	return b
}

func (b *Builder[In, Out]) scope() *plan[In] { return &b.p }

// plan is the list of declared steps, with the mistakes made so far.
type plan[In any] struct {
	steps    []*step[In]
	problems []string
	sealed   bool
}

// caller is the file:line outside of this package that is declaring.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/clewdev/clew/saga.") || strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

func (p *plan[In]) problem(at, format string, args ...any) {
	p.problems = append(p.problems, at+": "+fmt.Sprintf(format, args...))
}

// declare adds a step. After Build nothing can be added: a scope that a body
// captured is refused, loudly.
func (p *plan[In]) declare(name string, nilBody bool) *step[In] {
	at := caller()
	if p.sealed {
		panic(fmt.Sprintf("saga: step %q is declared at %s after Build: declare all steps before, none inside a body", name, at))
	}
	s := &step[In]{name: name, at: at}
	p.steps = append(p.steps, s)
	switch {
	case name == "" || len(name) > 100 || strings.ContainsAny(name, "/#"):
		p.problem(at, "step %q: a name has 1 to 100 bytes and neither \"/\" nor \"#\", which idempotency keys use", name)
	case nilBody:
		p.problem(at, "step %q has a nil body: pass a func", name)
	}
	return s
}

func (p *plan[In]) positive(s *step[In], what string, d time.Duration) {
	if d <= 0 {
		p.problem(s.at, "step %q: %s(%v): pass a duration above zero", s.name, what, d)
	}
}

func (p *plan[In]) classify(s *step[In], c class) {
	if p.sealed {
		panic(fmt.Sprintf("saga: step %q is classified after Build", s.name))
	}
	if s.class != unclassified {
		p.problem(s.at, "step %q is classified twice, as %v and as %v: keep one", s.name, s.class, c)
	}
	s.class = c
}

func (p *plan[In]) irreversible(s *step[In], why string) {
	p.classify(s, irreversible)
	s.why = why
	if strings.TrimSpace(why) == "" {
		p.problem(s.at, "step %q is Irreversible without a reason: say why its effect may stand when the saga unwinds", s.name)
	}
}

// check finds what only the whole plan shows.
func (p *plan[In]) check() {
	names := map[string]string{}
	var pivotStep *step[In]
	for _, s := range p.steps {
		if first, taken := names[s.name]; taken {
			p.problem(s.at, "step %q has the name of the step at %s: give it another", s.name, first)
		}
		names[s.name] = s.at
		switch {
		case s.class == unclassified:
			p.problem(s.at, "step %q is not classified: say how it is undone with Undo, or that it is ReadOnly, Irreversible(why) or, after the pivot, Retriable", s.name)
		case s.class == readOnly && s.verify != nil:
			p.problem(s.at, "step %q is ReadOnly and has a Verify: without an effect there is nothing to verify; drop one of them", s.name)
		case s.class == pivot && pivotStep != nil:
			p.problem(s.at, "step %q is a second pivot after %q (%s): a saga has one point of no return; make this one Retriable, or split the saga", s.name, pivotStep.name, pivotStep.at)
		case s.class == pivot:
			pivotStep = s
			if s.why == "" {
				p.problem(s.at, "pivot %q has no way out of doubt: give it a Verify, or ParkInDoubt", s.name)
			}
		case s.class == undoable && pivotStep != nil:
			p.problem(s.at, "step %q can be undone but comes after the pivot %q (%s), past which nothing is undone: move it before the pivot, or make it Retriable", s.name, pivotStep.name, pivotStep.at)
		case s.class == retriable && pivotStep == nil:
			p.problem(s.at, "step %q is Retriable but no pivot comes before it, so that the saga may still unwind: declare the Pivot first, or give the step an Undo, or make it Irreversible(why)", s.name)
		}
	}
	if len(p.steps) == 0 {
		p.problem(caller(), "the saga has no steps: declare at least one")
	}
}

// fingerprint digests the shape of the plan: names and classes in order.
func (p *plan[In]) fingerprint() string {
	h := sha256.New()
	for _, s := range p.steps {
		fmt.Fprintf(h, "%d:%s:%v;", len(s.name), s.name, s.class)
	}
	return durable.SagaFingerprint + hex.EncodeToString(h.Sum(nil)[:8])
}

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
	if b.name == "" || b.version == "" {
		b.p.problem(caller(), "name %q, version %q: both are needed", b.name, b.version)
	}
	b.p.check()
	if len(b.p.problems) > 0 {
		return nil, &BuildError{Saga: b.name, Problems: b.p.problems}
	}
	b.p.sealed = true
	opts := []durable.DefineOption{durable.WithFingerprint(b.p.fingerprint())}
	if b.timeout > 0 {
		opts = append(opts, durable.WithExecutionTimeout(b.timeout))
	}
	s := &Saga[In, Out]{plan: &b.p, name: b.name, result: result}
	s.Definition = durable.Define(b.name, b.version, s.run, opts...)
	return s, nil
}

// Saga is a saga that was built: a durable definition to register with an
// engine and to start. It is immutable and safe for concurrent use.
type Saga[In, Out any] struct {
	*durable.Definition[In, Out]
	plan   *plan[In]
	name   string
	result func(Context, In) (Out, error)
}
