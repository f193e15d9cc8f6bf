package saga

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// Effect is what the journal of an execution has of one forward step that was
// started.
type Effect struct {
	// Number is the step's place in the order of first starts: undos run from
	// the highest down.
	Number int64 `json:"number"`
	// Name of the step, after those of the sub-sagas around it: "hotel/book".
	Name string `json:"name"`
	// Class is "undoable", "read-only", "irreversible", "retriable" or "pivot".
	Class   string    `json:"class"`
	Started time.Time `json:"started"`        // first
	Ended   time.Time `json:"ended,omitzero"` // zero while it goes on

	// End is how it ended: "succeeded", "failed", "timed-out", "lost" or
	// "cancelled"; "" while it goes on. It succeeds too when a Verify, or a
	// person, has said that it happened.
	End string `json:"end,omitempty"`
	// InDoubt: it has not succeeded, and is not proven to have had no effect. A
	// running attempt is in doubt.
	InDoubt bool `json:"in_doubt,omitempty"`
	// Undo is how far its undo is: "" when it has not begun, "running", "failed"
	// for good, "done", or "skipped" by a person.
	Undo string `json:"undo,omitempty"`

	// Key is the idempotency key that its participant knows it by, since KeySince.
	// Both are zero when the last one is proven to have had no effect: the
	// participant refuses it from then on. The undo's is Key with /undo behind it,
	// since UndoSince, zero before it has begun.
	Key       string    `json:"key,omitempty"`
	KeySince  time.Time `json:"key_since,omitzero"`
	UndoSince time.Time `json:"undo_since,omitzero"`

	// Input is that of the saga, or sub-saga, around it. Result is what it
	// returned, or what a Verify or a person has said, if it succeeded.
	Input  json.RawMessage `json:"input,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Stands tells whether the step has, or may have, an effect that was not taken
// back. An undo that was skipped leaves it standing, for good.
func (e *Effect) Stands() bool {
	return (e.End == "succeeded" || e.InDoubt) && e.Undo != "done"
}

// ToUndo tells whether an unwinding has yet to undo the step.
func (e *Effect) ToUndo() bool {
	return e.Stands() && e.Class == undoable.String() && e.Undo != "skipped"
}

// Effects replays the journal of a saga's execution, without its code, into the
// forward steps that were started, in the order of their first starts. A step
// that took several operations, because it was tried again after a Verify or a
// person's word, is one effect. What a step's durable body did (Run) is not
// looked into: it is the step's own. rec must have been loaded whole
// (durable.LoadAll); what is no saga has no effects.
//
// A result that somebody outside sent to an Await counts as its success, though
// the saga refuses one of another type; both stand.
func Effects(rec *durable.Record) []Effect {
	if !strings.HasPrefix(rec.Fingerprint, durable.SagaFingerprint) {
		return nil
	}
	t := newTally()
	for i := range rec.Journal {
		t.entry(&rec.Journal[i])
	}
	keys, err := durable.Keys(rec)
	if err != nil { // damaged; the engine refuses such a journal
		keys = nil
	}
	effects := make([]Effect, len(t.steps))
	for i, s := range t.steps {
		e := s.Effect
		e.InDoubt = s.End != "succeeded" && (s.doubt || s.running)
		e.Key = keys[s.keyOf]
		if s.End != "succeeded" {
			e.Result = nil
		}
		if e.Input == nil {
			e.Input = rec.Input
		}
		effects[i] = e
	}
	return effects
}

// tally is what entries so far add up to.
type tally struct {
	ops      map[int64]*counted
	steps    []*tried
	byName   map[string]*tried
	byNumber map[int64]*tried
	park     *durable.Park // by the engine, until a verb
}

func newTally() *tally {
	return &tally{ops: map[int64]*counted{}, byName: map[string]*tried{}, byNumber: map[int64]*tried{}}
}

// tried is a forward step, over all its operations.
type tried struct {
	Effect
	running bool  // an attempt has a start and no end
	doubt   bool  // some attempt is not proven to have had no effect
	keyOf   int64 // operation under whose key it runs; 0 before there is one
}

// counted is an operation of the journal.
type counted struct {
	first  *durable.Entry
	as     part
	prefix string          // of the names in it
	input  json.RawMessage // of the sub-saga that it is, or stands in
	out    bool            // on the way out
	step   *tried          // that it belongs to; of a forward one nil before it starts

	submitter *counted // of an Await
	// Of a submitter: it has asked; some attempt may have; one runs.
	asked, doubt, running bool
}

// unasked tells of a submitter, nil if there is none, whether it is proven that
// nobody was asked.
func (op *counted) unasked() bool { return op == nil || !op.asked && !op.doubt && !op.running }

// part is what an operation is to the saga.
type part uint8

const (
	hidden   part = iota // nothing: inside of a step's body, a wait, a value
	passage              // a context that holds nodes of the saga
	entrance             // records the input of a sub-saga
	forward
	submits // hands out the callback of an Await
	verifies
	undoes
	parks
)

// entry folds in one more entry.
func (t *tally) entry(e *durable.Entry) {
	switch {
	case e.Kind == durable.EntryContinued:
		*t = *newTally() // another run, whose operations are numbered anew
	case e.Op == 0:
		t.execution(e)
	default:
		if e.First {
			t.ops[e.Op] = t.operation(e)
		}
		if op := t.ops[e.Op]; op != nil { // else the journal is damaged; the engine refuses it
			t.advance(op, e)
		}
	}
}

// execution folds in what the engine itself parked over, and what a person has
// said of that.
func (t *tally) execution(e *durable.Entry) {
	switch e.Kind {
	case durable.EntryParked:
		t.park = &durable.Park{}
		_ = json.Unmarshal(e.Payload, t.park) // the engine refuses one that does not decode
	case durable.EntryVerb:
		var d durable.Decision
		if op := t.parkedOver(); op != nil && op.step != nil && json.Unmarshal(e.Payload, &d) == nil {
			op.step.decided(d, e.At)
		}
		t.park = nil
	}
}

// parkedOver is the forward operation over which the engine parked, or nil.
func (t *tally) parkedOver() *counted {
	if t.park == nil || t.ops[t.park.Op] == nil || t.ops[t.park.Op].as != forward {
		return nil
	}
	return t.ops[t.park.Op]
}

// operation places an operation by its first entry.
func (t *tally) operation(e *durable.Entry) *counted {
	up := t.ops[e.Parent]
	if up == nil {
		up = &counted{as: passage}
	}
	op := &counted{first: e, prefix: up.prefix, input: up.input, out: up.out || e.Scope == durable.ScopeUnwind}
	switch {
	case up.as == forward && up.first.Subtype == durable.SubtypeCallback && e.Name == durable.SubmitterName:
		op.as, op.step, up.submitter = submits, up.step, op
	case up.as != passage:
	case e.Type == durable.OpValue && up.first != nil && up.first.Subtype == subtypeSub && uint32(e.Pos) == 1:
		op.as = entrance
	case e.Type == durable.OpPark:
		op.as, op.step = parks, t.byName[e.Name]
	case e.Type == durable.OpStep && e.Subtype == durable.SubtypeUndo:
		op.as, op.step = undoes, t.byNumber[e.Link]
	case e.Type == durable.OpStep && e.Subtype == durable.SubtypeVerify:
		op.as, op.step = verifies, t.byNumber[e.Link]
	case e.Type == durable.OpContext && (op.out || e.Subtype == durable.SubtypeGroup):
		op.as = passage
	case e.Type == durable.OpContext && e.Subtype == subtypeSub:
		op.as, op.prefix = passage, up.prefix+e.Name+"/"
	case e.Type == durable.OpStep || e.Type == durable.OpContext:
		op.as = forward
	}
	return op
}

// advance notes what an entry says of its operation.
func (t *tally) advance(op *counted, e *durable.Entry) {
	switch {
	case op.as == forward && e.Kind == durable.EntryStart && e.Attempt == 0 && op.first.Type == durable.OpStep:
		// A pivot has taken its place in the order, and not begun.
	case op.as == forward && e.Kind == durable.EntryStart:
		t.start(op, e)
	case op.as == entrance && e.Kind == durable.EntryResult:
		t.ops[op.first.Parent].input = e.Payload // steps take it over when they begin
	case op.step == nil:
	case op.as == forward:
		op.ended(e)
	case op.as == submits:
		op.submitted(e)
	case op.as == verifies && e.Kind == durable.EntryResult:
		var v verdict
		if json.Unmarshal(e.Payload, &v) == nil {
			op.step.stated(v.Kind == happened, v.Kind == noEffect, v.Value, e.At)
		}
	case op.as == undoes:
		op.step.undoing(e)
	case op.as == parks && e.Kind == durable.EntryVerb:
		var d durable.Decision
		if json.Unmarshal(e.Payload, &d) == nil {
			op.step.decided(d, e.At)
		}
	case op.as == parks && !op.out && op.step.End == "succeeded":
		// The result that was stated is not one of the step's: it is asked for
		// again.
		op.step.End, op.step.doubt = "failed", true
	}
}

// start notes that an attempt of a forward step begins.
func (t *tally) start(op *counted, e *durable.Entry) {
	name := op.prefix + op.first.Name
	s := t.byName[name]
	if s == nil {
		s = &tried{Effect: Effect{Number: e.Op, Name: name, Class: classNamed(op.first.Subtype), Started: e.At, Input: op.input}}
		t.byName[name], t.byNumber[e.Op], t.steps = s, s, append(t.steps, s)
	}
	s.running, s.End, s.Ended = true, "", time.Time{}
	if s.keyOf == 0 || op.first.Subtype == durable.SubtypeCallback { // asked anew, under another key
		s.keyOf, s.KeySince = e.Op, op.first.At
	}
	op.step = s
}

// classNamed is the class that histories call so. The context of an Await has a
// name of its own, and its submitter tells.
func classNamed(subtype string) string {
	for c := readOnly; c <= pivot; c++ {
		if c.subtype() == subtype {
			return c.String()
		}
	}
	return undoable.String()
}

// ended notes how an attempt of a forward step ended, and perhaps the operation.
func (op *counted) ended(e *durable.Entry) {
	s := op.step
	proven := e.NoEffect || op.first.Subtype == durable.SubtypeCallback && op.submitter.unasked()
	switch e.Kind {
	case durable.EntryProgress:
		return
	case durable.EntryResult:
		s.Result = e.Payload
	case durable.EntryCancel:
		s.doubt = s.doubt || s.running && !proven
	default:
		s.doubt = s.doubt || !proven
	}
	s.running = false
	if !e.Retry {
		s.End, s.Ended = endOf(e.Kind), e.At
	}
}

func endOf(k durable.EntryKind) string {
	switch k {
	case durable.EntryResult:
		return "succeeded"
	case durable.EntryTimeout:
		return "timed-out"
	case durable.EntryLost:
		return "lost"
	case durable.EntryCancel:
		return "cancelled"
	}
	return "failed"
}

// submitted notes what becomes of an Await's asking.
func (op *counted) submitted(e *durable.Entry) {
	op.step.Class = classNamed(op.first.Subtype)
	switch e.Kind {
	case durable.EntryStart:
		op.running = true
	case durable.EntryResult:
		op.asked = true
	case durable.EntryFailure, durable.EntryTimeout, durable.EntryLost:
		op.doubt, op.running = op.doubt || !e.NoEffect, false
	case durable.EntryCancel:
		op.doubt, op.running = op.doubt || op.running && !e.NoEffect, false
	}
}

// stated: a Verify, or a person, has said that the step happened, or that it had
// no effect.
func (s *tried) stated(yes, no bool, value json.RawMessage, at time.Time) {
	switch {
	case yes:
		s.running, s.End, s.Ended, s.Result = false, "succeeded", at, value
	case no:
		s.running, s.doubt, s.keyOf, s.KeySince = false, false, 0, time.Time{}
		if s.End == "" {
			s.End, s.Ended = "failed", at
		}
	}
}

// decided: a person has decided about a place at which the saga parked.
func (s *tried) decided(d durable.Decision, at time.Time) {
	switch d.Verb {
	case durable.VerbResolve:
		s.stated(!d.NoEffect, d.NoEffect, d.Output, at)
	case durable.VerbSkip:
		s.Undo = "skipped"
	}
}

// undoing notes what becomes of the step's undo.
func (s *tried) undoing(e *durable.Entry) {
	switch {
	case e.Kind == durable.EntryProgress:
	case e.Kind == durable.EntryResult:
		s.Undo = "done"
	case e.Kind == durable.EntryStart || e.Retry:
		s.Undo = "running"
		if s.UndoSince.IsZero() {
			s.UndoSince = e.At
		}
	default:
		s.Undo = "failed"
	}
}
