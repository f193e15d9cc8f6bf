package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
)

// Plan is what an operator wants to know before deciding about a saga: what an
// unwinding would undo, in which order, and what it would not.
type Plan struct {
	ID         string `json:"id"`
	Definition string `json:"definition"`
	Version    string `json:"version"`
	Execution  string `json:"execution"` // status of the execution
	Status     Status `json:"status"`    // of the saga
	Revision   int64  `json:"revision"`
	// Park says why it waits for a person, nil if it does not; Verbs, what is
	// possible now.
	Park  *durable.Park  `json:"park,omitempty"`
	Verbs []durable.Verb `json:"verbs,omitempty"`

	// Pivot is where the pivot stands: "not started", "in doubt", "happened", or
	// "had no effect". A saga that has none yet, or none at all, is "not started":
	// the journal tells them apart as little.
	Pivot string `json:"pivot"`
	// Undo is what an unwinding has yet to undo, in its order. Nothing of it would
	// be undone if Pivot is "in doubt" and it turns out to have happened.
	Undo []Planned `json:"undo,omitempty"`
	// Stays is what it would not undo, in the order of starts, and why.
	Stays []Planned `json:"stays,omitempty"`
}

// Planned is one forward step in a Plan.
type Planned struct {
	Effect
	// Why it stays; "" for what is to be undone.
	Why string `json:"why,omitempty"`
	// UndoKey is the idempotency key of its undo.
	UndoKey string `json:"undo_key,omitempty"`
}

// KeyAge is how long ago the step's idempotency key was first used, and
// participants may have forgotten it.
func (p *Planned) KeyAge(at time.Time) time.Duration {
	if p.KeySince.IsZero() {
		return 0
	}
	return at.Sub(p.KeySince)
}

// PlanOf tells what would happen if a saga unwound as it is, from its record
// alone: it runs nothing and needs no code of the saga. rec must have been loaded
// whole (durable.LoadAll). What no saga is, or has ended, has nothing to undo.
//
// A group's undos stand one after the other, also where they would run beside each
// other (Group.UndoTogether), and a running step may still succeed.
func PlanOf(rec *durable.Record) Plan {
	p := Plan{
		ID: rec.ID, Definition: rec.Definition, Version: rec.Version, Execution: rec.Status.String(),
		Status: StatusOf(&rec.Head), Revision: rec.Revision, Verbs: rec.Verbs(), Pivot: "not started",
	}
	if rec.Status == durable.StatusParked {
		p.Park = rec.Park
	}
	effects := Effects(rec)
	for i := range effects {
		if e := &effects[i]; e.Class == pivot.String() {
			p.Pivot = pivotOf(e)
		}
	}
	for _, e := range effects {
		step := Planned{Effect: e, Why: p.why(rec, &e)}
		if step.Why != "" {
			p.Stays = append(p.Stays, step)
			continue
		}
		step.UndoKey = e.Key + "/undo"
		p.Undo = append(p.Undo, step)
	}
	slices.SortFunc(p.Undo, func(a, b Planned) int { return cmp.Compare(b.Number, a.Number) })
	return p
}

func pivotOf(e *Effect) string {
	switch {
	case e.End == "succeeded":
		return "happened"
	case e.InDoubt:
		return "in doubt"
	}
	return "had no effect"
}

// why says why a step is not undone, "" if it is.
func (p *Plan) why(rec *durable.Record, e *Effect) string {
	switch {
	case e.Undo == "done":
		return "undone"
	case !e.Stands():
		return "proven to have had no effect"
	case e.Undo == "skipped":
		return "its undo was skipped"
	case rec.Status.Ended():
		return "the saga has ended"
	case e.Class == readOnly.String():
		return "read-only: it has no effect"
	case e.Class == pivot.String() && e.InDoubt:
		return "the pivot: nothing is undone before it is known"
	case p.Pivot == "happened":
		return "the pivot has happened: the saga only goes forward"
	case e.Class != undoable.String():
		return e.Class
	}
	return ""
}

// MarshalJSON writes a status as its two axes.
func (s Status) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Forward Forwards `json:"forward"`
		Unwind  Unwind   `json:"unwind"`
	}{s.Forward, s.Unwind})
}
