package durable

import "fmt"

// SubtypeUndoable marks the record of something that may have to be undone.
const SubtypeUndoable = "Undoable"

// Undoable is the record that there may be something to undo: see RecordUndoable.
type Undoable struct {
	Number int64  // its place in the order of starts
	Key    string // idempotency key of the operation that may have to be undone
	scope  *scope
}

// RecordUndoable records that the next operation by this name on this handle may
// have to be undone. It is for layers that keep undos, as saga.Stack does, and
// costs no write of its own: that operation's start takes it along, so that no
// effect comes without it.
//
// Until Forget the code on this handle may not end: an end that would lose the
// undo parks (ParkUndosLeft), and ContinueAsNew is ErrInvalid. ErrCancelled once the execution has been asked to stop. In a
// branch of Parallel, Map or Go it is ErrInvalid: such a branch may be given up,
// and nobody would undo then.
func RecordUndoable(ctx *Context, name string) (*Undoable, error) {
	if !ctx.st.lasts() {
		return nil, Permanent(fmt.Errorf("%w: an undo of %q in a branch that may be given up: register it on the handle outside of it", ErrInvalid, name))
	}
	k, err := ctx.begin(OpValue, SubtypeUndoable, name, 0)
	if err != nil {
		return nil, err
	}
	defer k.end()
	s, a := ctx.scope, ctx.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case k.op != nil:
	case ctx.reached() != nil:
		k.recordCancelled()
	default:
		k.record(k.entry(EntryResult))
	}
	if k.op.end == EntryCancel {
		return nil, a.stopped(k.op)
	}
	if s.undoable == nil {
		s.undoable = map[string]int{}
	}
	// Several may be registered before the first of their operations runs.
	s.undoable[name] = max(s.undoable[name], s.names[name]) + 1
	s.toUndo++
	return &Undoable{Number: k.op.num, Key: k.keyOf(s.pathOf(name, s.undoable[name])), scope: s}, nil
}

// Forget says that it has been undone, or need not be any more. Once is enough.
func (u *Undoable) Forget() {
	if u.scope != nil {
		u.scope.toUndo--
		u.scope = nil
	}
}

// undosLeft is the Park of code that ends without having undone, or forgotten,
// what it may have to undo; nil if there is nothing.
func (a *activation) undosLeft(s *scope) *Park {
	if s.toUndo == 0 {
		return nil
	}
	p := a.bug(ParkUndosLeft, s.path, fmt.Errorf("the code ended with %d undos registered: unwind or release them before it does", s.toUndo))
	p.Stuck = true
	return &p
}

// lasts tells whether the strand's code always runs to its end: it is the
// handler's own, or that of a group, which is never given up.
func (st *strand) lasts() bool {
	for ; st.above != nil; st = st.above {
		if !st.ofGroup {
			return false
		}
	}
	return true
}
