package durable

import (
	"encoding/json"
	"slices"
	"strings"
)

// effect is what the journal knows of one forward step of a saga. A step may
// take several operations, after a Verify or an operator's retry.
type effect struct {
	name     string // with those of sub-sagas before it
	order    int64  // of its first start; undos and Verifies refer to it
	readOnly bool
	happened bool
	doubt    bool // may have happened
	undone   bool
}

// effectPlace is where the operations of one step stand.
type effectPlace struct {
	scopeID
	name string
}

// leftStanding names the forward steps of a saga that stand, or may stand, and
// were not undone, in order of their start. It is what a saga leaves that was
// ended from outside.
func leftStanding(entries []Entry) (names []string) {
	j := newJournal()
	if j.load(entries) != nil {
		return nil // damaged; the engine refuses such a journal
	}
	t := &effects{journal: &j, at: map[effectPlace]*effect{}, byOrder: map[int64]*effect{}}
	for _, op := range j.ops {
		t.take(op)
	}
	for _, f := range t.all {
		if !f.readOnly && !f.undone && (f.happened || f.doubt) {
			names = append(names, f.name)
		}
	}
	return names
}

// effects follows the operations of a saga.
type effects struct {
	journal *journal
	at      map[effectPlace]*effect
	byOrder map[int64]*effect
	all     []*effect
}

func (t *effects) take(op *operation) {
	switch {
	case op.subtype == SubtypeUndo:
		if f := t.byOrder[op.link]; f != nil {
			f.undone = f.undone || op.end == EntryResult
		}
	case op.subtype == SubtypeVerify:
		if f := t.byOrder[op.link]; f != nil && op.end == EntryResult {
			f.verified(op.payload)
		}
	case op.id.scope != ScopeForward || !t.ofSaga(op):
	case op.typ == OpPark && op.end == EntryVerb:
		name := op.name[strings.LastIndexByte(op.name, '/')+1:] // sub-sagas stand before it
		if f := t.at[effectPlace{op.id.scopeID, name}]; f != nil {
			f.decided(op.payload)
		}
	case op.typ == OpStep, op.typ == OpContext && !op.holdsSteps():
		t.forward(op)
	}
}

// holdsSteps tells whether what stands in an operation are steps of the saga.
func (op *operation) holdsSteps() bool {
	return op.typ == OpContext && (op.subtype == SubtypeGroup || op.subtype == SubtypeSubSaga)
}

// ofSaga tells whether an operation is one of the saga itself: all around it
// are groups and sub-sagas.
func (t *effects) ofSaga(op *operation) bool {
	for up := t.journal.parentOf(op); up != nil; up = t.journal.parentOf(up) {
		if !up.holdsSteps() {
			return false
		}
	}
	return true
}

// forward takes in an operation of a forward step.
func (t *effects) forward(op *operation) {
	if op.attempt == 0 && !op.started {
		return // it never came to a start
	}
	place := effectPlace{op.id.scopeID, op.name}
	f := t.at[place]
	if f == nil {
		f = &effect{name: t.prefix(op) + op.name, order: op.num, readOnly: op.subtype == "ReadOnly"}
		t.at[place], t.byOrder[op.num] = f, f
		t.all = append(t.all, f)
	}
	if submitter := t.submitter(op); submitter != nil {
		f.readOnly = submitter.subtype == "ReadOnly" // the context of an Await has a name of its own
	}
	switch {
	case op.end == EntryResult:
		f.happened = true
	case op.resolved && op.done: // no effect, an operator said
		f.doubt = false
	case op.typ == OpContext:
		f.doubt = f.doubt || !op.done || !t.refused(op)
	default:
		f.doubt = f.doubt || op.doubt || op.running
	}
}

// submitter is the step that hands out the callback of an Await, nil if op is
// none or has not come to it.
func (t *effects) submitter(op *operation) *operation {
	if op.subtype != SubtypeCallback {
		return nil
	}
	return t.journal.byID[opID{scopeID{parent: op.num}, 2}]
}

// refused tells whether asking for a callback is proven to have had no effect.
func (t *effects) refused(op *operation) bool {
	return op.subtype == SubtypeCallback && t.submitter(op).unasked()
}

// prefix is the names of the sub-sagas around an operation, each with a slash.
func (t *effects) prefix(op *operation) string {
	var names []string
	for up := t.journal.parentOf(op); up != nil; up = t.journal.parentOf(up) {
		if up.subtype == SubtypeSubSaga {
			names = append(names, up.name+"/")
		}
	}
	slices.Reverse(names)
	return strings.Join(names, "")
}

// verified takes in what a Verify found.
func (f *effect) verified(payload []byte) {
	var v struct {
		Kind string `json:"verdict"`
	}
	_ = json.Unmarshal(payload, &v) // what cannot be read decides nothing
	switch v.Kind {
	case VerdictHappened:
		f.happened = true
	case VerdictNoEffect:
		f.doubt = false
	}
}

// decided takes in what an operator said of a step that had parked.
func (f *effect) decided(payload []byte) {
	var d Decision
	_ = json.Unmarshal(payload, &d)
	switch {
	case d.Verb == VerbResolve && d.NoEffect:
		f.doubt = false
	case d.Verb == VerbResolve:
		f.happened = true
	}
}
