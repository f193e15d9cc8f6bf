package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// run is one pass of the runner over one execution. All of it is rebuilt from
// the journal on every activation.
type run struct {
	plan      *plan
	intercept Interceptor

	mu      sync.Mutex // members of groups push beside each other
	stack   compensate.Stack[standing]
	pivoted bool // the pivot has happened: only forward from here
	forward Forwards
	quiet   bool // the status is another's to tell
}

// flow is where code of the run goes along: the saga's own, that of a group's
// member, that of a sub-saga. Each sees the outputs that came before it there.
type flow struct {
	*run
	ctx      *durable.Context
	input    func() any // a copy for each body, so that none sees what another made of it
	values   *values
	prefix   string // of sub-sagas, before names on the stack
	together string // group whose members are undone beside each other
	lane     string // its member
}

// standing is a step whose effect stands, or may stand.
type standing struct {
	step  *step
	from  *flow
	key   string
	value json.RawMessage
	known bool // value is the result; else the step is in doubt
}

// run is the handler of the saga's definition.
func (s *Saga[In, Out]) run(ctx *durable.Context, in In) (Out, error) {
	var zero Out
	r := &run{plan: s.plan, intercept: s.intercept, forward: ForwardRunning}
	own := copies(in)
	f := &flow{run: r, ctx: ctx, input: func() any { return own() }, values: noValues(s.plan)}
	r.status(ctx, UnwindNone)
	if err := f.sequence(s.plan.root.nodes); err != nil {
		return zero, r.back(ctx, err)
	}
	out, err := s.result(f.context(ctx), own())
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
		r.mustFinish("result func", err)
	}
	return zero, r.back(ctx, err)
}

// back unwinds, if the plan has come as far as the journal, and never past the
// pivot, whatever has failed there.
func (r *run) back(ctx *durable.Context, cause error) error {
	switch {
	case errors.Is(cause, durable.ErrSuspended):
		return cause
	case r.pivoted:
		mustNotHappen(cause)
	}
	ctx.NoMoreForward()
	return r.unwind(ctx, cause)
}

// mustFinish parks, by a panic, over a func of the saga that has failed after the
// pivot.
func (r *run) mustFinish(what string, err error) {
	panic(fmt.Sprintf("saga: the %s of %q failed after the pivot, where nothing can be undone: %v", what, r.plan.name, err))
}

// at is the handle for operations here: after the pivot cancel reaches none.
func (f *flow) at() *durable.Context {
	if f.pivoted {
		return f.ctx.Shielded()
	}
	return f.ctx
}

// sequence runs nodes one after the other. An error means: unwind.
func (f *flow) sequence(nodes []node) error {
	for _, n := range nodes {
		var err error
		switch n := n.(type) {
		case *step:
			err = f.step(n)
		case *group:
			err = f.group(n)
		case *branch:
			err = f.branch(n)
		case *sub:
			err = f.sub(n)
		case *wait:
			err = durable.Wait(f.at(), n.name, n.d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// branch runs its nodes if its condition holds.
func (f *flow) branch(n *branch) error {
	if n.cond != nil {
		taken, err := durable.Value(f.at(), n.name, func() (bool, error) { return n.cond(f.context(f.ctx), f.input()), nil })
		if err != nil || !taken {
			return err
		}
	}
	return f.sequence(n.nodes)
}

// group runs members beside each other. Which of their errors it is that the
// saga unwinds with depends on the journal alone: the first by index that is
// not only the echo of another's.
func (f *flow) group(n *group) error {
	members := make([]*flow, len(n.nodes))
	label := func(i int) string {
		name, _ := n.nodes[i].label()
		return name
	}
	errs, err := durable.Group(f.at(), n.name, len(members), label, func(ctx *durable.Context, i int) error {
		m := *f
		m.ctx = ctx
		if n.undoTogether {
			m.together, m.lane = f.prefix+n.name, f.prefix+label(i)
		}
		members[i] = &m
		return m.sequence(n.nodes[i : i+1])
	})
	if err != nil {
		return err
	}
	base := f.values
	for _, m := range members {
		f.values = f.values.and(m.values, base)
	}
	var cause error
	for _, err := range errs {
		if cause == nil || errors.Is(cause, durable.ErrCancelled) && err != nil && !errors.Is(err, durable.ErrCancelled) {
			cause = err
		}
	}
	return cause
}

// sub runs another saga's plan, over its own input and outputs.
func (f *flow) sub(n *sub) error {
	var result json.RawMessage
	errs, err := durable.Group(f.at(), n.name, 1, func(int) string { return "" }, func(ctx *durable.Context, _ int) (err error) {
		result, err = f.inside(ctx, n)
		return err
	}, durable.WithContextSubtype(subtypeSub))
	if err == nil {
		err = errs[0]
	}
	if err != nil {
		return err
	}
	f.values = f.values.with(n.name, result)
	return nil
}

func (f *flow) inside(ctx *durable.Context, n *sub) (json.RawMessage, error) {
	raw, err := durable.Value(f.reach(ctx), "input", func() (json.RawMessage, error) {
		raw, err := n.input(f.context(ctx), f.input())
		if err != nil && f.pivoted {
			f.mustFinish("input func of the sub-saga "+f.prefix+n.name, err) // and is not recorded, so that a deploy mends it
		}
		return raw, err
	})
	if err != nil {
		return nil, err
	}
	if _, err := n.decode(raw); err != nil {
		panic(err.Error()) // parks: stored bytes and code do not agree
	}
	input := func() any {
		in, _ := n.decode(raw) // it was read from this form before
		return in
	}
	c := &flow{run: f.run, ctx: ctx, input: input, values: noValues(n.child), prefix: f.prefix + n.name + "/", together: f.together, lane: f.lane}
	if err := c.sequence(n.child.root.nodes); err != nil {
		return nil, err
	}
	result, err := n.result(c.context(ctx), input())
	if err != nil && f.pivoted {
		f.mustFinish("result func of the sub-saga "+f.prefix+n.name, err)
	}
	return result, err
}

// reach is at for a handle within.
func (f *flow) reach(ctx *durable.Context) *durable.Context {
	if f.pivoted {
		return ctx.Shielded()
	}
	return ctx
}

// copies returns a func that returns copies of in: the stored form read anew,
// if it can be changed through a reference at all.
func copies[In any](in In) func() In {
	if !shares(reflect.TypeFor[In]()) {
		return func() In { return in }
	}
	stored, err := json.Marshal(in)
	if err != nil {
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
func (r *run) status(ctx *durable.Context, u Unwind) {
	if r.quiet {
		return
	}
	ctx.SetStatus(string(r.forward) + "/" + string(u))
}

// options turns settings into those of a durable step.
func (s *settings) options(base durable.Retry) []durable.StepOption {
	opts := append(make([]durable.StepOption, 0, 8), durable.WithRetry(s.retry.Or(base)))
	if s.timeout > 0 {
		opts = append(opts, durable.WithTimeout(s.timeout))
	}
	if s.atMostOnce {
		opts = append(opts, durable.AtMostOnce())
	}
	return opts
}

// asStored is the form of results that bodies hand over: the stored one already,
// so that it is not encoded a second time.
type asStored struct{}

var withStored = durable.WithStepCodec(asStored{})

func (asStored) Encode(v any) ([]byte, error) {
	raw, _ := v.(json.RawMessage)
	if string(raw) == "null" {
		return nil, nil // as durable stores what carries nothing
	}
	return raw, nil
}

func (asStored) Decode(b []byte, v any) error {
	*v.(*json.RawMessage) = b
	return nil
}

// patient is the policy of undos, of steps after the pivot and of Verify: an
// outage of minutes must not park every saga.
func patient() durable.Retry {
	return durable.Retry{MaxAttempts: -1, MaxElapsed: 24 * time.Hour, Initial: time.Second, Max: 5 * time.Minute, Multiplier: 2}
}

// body adapts a declared body to a durable step. What it can read is settled
// before it starts.
func (f *flow) body(st *step) func(context.Context) (json.RawMessage, error) {
	seen := f.values
	return through(f.run, f.call(CallForward, st), func(ctx context.Context) (json.RawMessage, error) {
		leave, err := st.settings.limit.enter(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
		return st.body(contextOf(ctx, seen), f.input())
	})
}

func (f *flow) call(kind CallKind, st *step) Call { return Call{Kind: kind, Step: f.prefix + st.name} }

func (f *flow) context(ctx context.Context) Context { return contextOf(ctx, f.values) }

func contextOf(ctx context.Context, seen *values) Context {
	return Context{Context: ctx, values: seen}
}
