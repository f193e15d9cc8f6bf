package saga

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// Stack is the undos of a durable function that is written as code rather than
// declared: register an undo before each operation that may have to be undone,
// and Unwind when something fails.
//
//	undos := saga.NewStack(ctx)
//	if err := undos.Register("flight", cancelFlight); err != nil {
//		return undos.Unwind(err)
//	}
//	if _, err := durable.Step(ctx, "flight", bookFlight); err != nil {
//		return undos.Unwind(err)
//	}
//	undos.Release()
//
// Where a declared saga knows what had no effect, a Stack undoes all that was
// registered, so that its undos must be harmless where there is nothing to undo.
// It knows of no pivot either: Release when the point of no return has passed.
//
// Code must not end with undos registered, neither run nor released: it parks
// then, as "undos-left", and durable.ContinueAsNew refuses. A Stack belongs to the
// handle that it was made for and to one goroutine. It is of no use in a branch
// of durable.Parallel, Map or Go, which may be given up; register on the handle
// outside, and what runs in the branches is undone all the same.
type Stack struct {
	ctx        *durable.Context
	f          *flow // what the undos see, and what stands
	registered []*durable.Undoable
}

// NewStack makes an empty Stack for the code that has this handle. The execution's
// status says how its unwinding goes; in a saga's Run it stays the saga's own.
func NewStack(ctx *durable.Context) *Stack {
	p := &plan{name: ctx.ExecutionID()}
	inSaga := strings.HasPrefix(ctx.Fingerprint(), durable.SagaFingerprint)
	return &Stack{ctx: ctx, f: &flow{
		run: &run{plan: p, forward: ForwardRunning, quiet: inSaga}, ctx: ctx,
		input: func() any { return nil }, values: noValues(p),
	}}
}

// Register records that the next operation by this name on the Stack's handle
// may have to be undone. It costs no write: the start of that operation takes the
// record along. UndoContext.ForwardKey is that operation's idempotency key, by
// which undo finds the effect, if there is one, and else leaves a tombstone at the
// participant. What the operation returned, undo may read where the code keeps it.
//
// undo runs at least once, with the options and the patience of a declared undo.
// The error is ErrCancelled once the execution has been asked to stop: then the
// operation would not start either.
func (s *Stack) Register(name string, undo func(UndoContext) error, opts ...UndoOption) error {
	if undo == nil {
		return durable.Permanent(fmt.Errorf("%w: the undo of %q is a nil func", durable.ErrInvalid, name))
	}
	st := &step{named: named{name: name}, class: undoable}
	st.setUndo(s.f.plan, false, opts, func(c UndoContext, _ any, _ json.RawMessage, _ bool) error { return undo(c) })
	if set := st.undoSettings; set.timeout < 0 || set.keyLifetime < 0 {
		return durable.Permanent(fmt.Errorf("%w: a negative duration in the options of the undo of %q", durable.ErrInvalid, name))
	}
	u, err := durable.RecordUndoable(s.ctx, name)
	if err != nil {
		return err
	}
	s.registered = append(s.registered, u)
	s.f.stack.Push(compensate.Action[standing]{Order: u.Number, Name: name, Value: standing{step: st, from: s.f, key: u.Key}})
	return nil
}

// Unwind runs the registered undos, the last one first, and returns an *Error
// that unwraps to cause, for the code to return. Cancel and deadline do not reach
// the undos, and one that fails for good parks the execution until a person has
// had it tried again, or skipped. Afterwards the Stack is empty and may be used
// again.
func (s *Stack) Unwind(cause error) error {
	if cause == nil {
		return durable.Permanent(fmt.Errorf("%w: Unwind needs a cause; Release is for what went well", durable.ErrInvalid))
	}
	err := s.f.unwind(s.ctx, cause)
	if !errors.Is(err, durable.ErrSuspended) {
		s.forget()
	}
	return err
}

// Release forgets the registered undos: what they would undo stands from now on.
// It is not recorded, so it must follow from what is, as all code of a handler.
func (s *Stack) Release() {
	s.f.stack = compensate.Stack[standing]{}
	s.forget()
}

func (s *Stack) forget() {
	for _, u := range s.registered {
		u.Forget()
	}
	s.registered = nil
}
