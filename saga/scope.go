package saga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// as gives an erased input its type back.
func as[In any](v any) In {
	in, _ := v.(In) // what is nil has the zero value of an interface type
	return in
}

// Group is a Scope whose members run beside each other: each step that is
// declared on it, and each Branch as a whole. It has succeeded when all have.
// When one fails, the others are asked to stop, what becomes of each that has
// started is recorded, and once all have returned the saga unwinds. Members read
// the outputs of what comes before the group and of their own branch only.
type Group[In any] struct {
	g *group
	b typed[In]
}

// Parallel declares a group.
func Parallel[In any](s Scope[In], name string) *Group[In] {
	b := s.scope()
	g := &group{named: b.declare("group", name), block: &block{p: b.p}}
	b.nodes = append(b.nodes, g)
	return &Group[In]{g, typed[In]{g.block}}
}

func (g *Group[In]) scope() typed[In] { return g.b }

// UndoTogether undoes the group's members beside each other; steps of one member are
// undone one after the other all the same. By default all of the group's steps are,
// in reverse order of their starts.
func (g *Group[In]) UndoTogether() *Group[In] {
	g.g.undoTogether = true
	return g
}

// Branch declares a member of the group in which steps follow each other.
func (g *Group[In]) Branch(name string) *Branch[In] {
	return newBranch(g.b, name, nil)
}

// Branch is a Scope whose steps run one after the other.
type Branch[In any] struct{ b typed[In] }

func (b *Branch[In]) scope() typed[In] { return b.b }

func newBranch[In any](b typed[In], name string, cond func(Context, any) bool) *Branch[In] {
	n := &branch{named: b.declare("branch", name), block: &block{p: b.p}, cond: cond}
	b.nodes = append(b.nodes, n)
	return &Branch[In]{typed[In]{n.block}}
}

// When declares a branch that is taken if cond holds. cond looks at the input
// and at outputs, and has no effects; what it decided is recorded, so that every
// replay goes the same way. Outputs of the branch are read with Output.Get
// outside of it, which tells whether they are there.
func When[In any](s Scope[In], name string, cond func(Context, In) bool) *Branch[In] {
	b := s.scope()
	if cond == nil {
		b.p.problem(caller(), "When %q has a nil condition: pass a func", name)
	}
	return newBranch(b, name, func(c Context, in any) bool { return cond(c, as[In](in)) })
}

// Wait declares a durable wait. A cancel ends it, and the saga unwinds; after
// the pivot it is waited for.
func Wait[In any](s Scope[In], name string, d time.Duration) {
	b := s.scope()
	w := &wait{named: b.declare("wait", name), d: d}
	if d <= 0 {
		b.p.problem(w.at, "wait %q of %v: pass a duration above zero", name, d)
	}
	b.nodes = append(b.nodes, w)
}

// Await declares a step that asks somebody outside and waits for the answer: a
// provider's callback, a human's approval. ask hands the callback's ID out, with
// the retries of a step; engine.CompleteCallback gives the answer, and
// engine.FailCallback refuses, upon which the saga unwinds as rejected. Timeout
// bounds how long an answer is waited for; without it that is for ever. Heartbeat
// ends the wait when whoever answers falls silent, Remind asks again meanwhile. The
// step is in doubt, and undone if it is undoable, once it has asked. Retry, AtMostOnce,
// AskTimeout, KeyLifetime and Limit are for asking. An operator's retry asks anew, under another
// key and callback ID, because an answer to the first one is not heard any more.
func Await[T, In any](s Scope[In], name string, ask func(c Context, in In, callbackID string) error) *Forward[In, T] {
	b := s.scope()
	st := b.step(name, ask == nil)
	st.ask = func(c Context, in any, callbackID string) error { return ask(c, as[In](in), callbackID) }
	st.check = decodes[T]
	return &Forward[In, T]{b.p, st}
}

// Run declares a step whose body is a durable function: it calls operations on
// its handle, and may take days. A crash resumes inside it. Its error leaves the
// step in doubt; it is not tried again as a whole, since its operations have
// retries of their own. So Retry, Timeout, AtMostOnce, KeyLifetime and Limit are for
// those operations, and Build refuses them on the step.
func Run[In, T any](s Scope[In], name string, body func(*durable.Context, In) (T, error)) *Forward[In, T] {
	b := s.scope()
	st := b.step(name, body == nil)
	st.flow = func(c *durable.Context, in any) (json.RawMessage, error) {
		v, err := body(c, as[In](in))
		if err != nil {
			return nil, err
		}
		return marshal(v)
	}
	st.check = decodes[T]
	return &Forward[In, T]{b.p, st}
}

// Sub declares another saga as a part of this one. Its steps run here, in this
// execution, and its undos stand on this saga's stack: when this saga unwinds
// they are undone in their place in the order. Its pivot is this saga's; one that is
// only ever behind a pivot is declared with Builder.AfterPivot. What its builder says
// of whole executions, as Timeout, UnwindTimeout, UndoIndependently and OnParked,
// counts for executions of its own, and not here. input makes its input, and has no
// effects; what it made is recorded.
func Sub[In, In2, T any](s Scope[In], name string, child *Saga[In2, T], input func(Context, In) (In2, error)) Output[T] {
	b := s.scope()
	n := &sub{named: b.declare("sub-saga", name)}
	b.nodes = append(b.nodes, n)
	if child == nil || input == nil {
		b.p.problem(n.at, "sub-saga %q has a nil saga or input: pass both", name)
		return Output[T]{b.p, name}
	}
	n.child = child.plan
	n.input = func(c Context, in any) (json.RawMessage, error) {
		v, err := input(c, as[In](in))
		if err != nil {
			return nil, err
		}
		return marshal(v)
	}
	n.decode = func(raw json.RawMessage) (any, error) {
		v, err := decode[In2](raw)
		return v, err
	}
	n.result = func(c Context, in any) (json.RawMessage, error) {
		v, err := child.result(c, as[In2](in))
		if err != nil {
			return nil, err
		}
		return marshal(v)
	}
	return Output[T]{b.p, name}
}

func marshal(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, durable.Permanent(fmt.Errorf("saga: result %T cannot be stored as JSON: %w", v, err))
	}
	return raw, nil
}
