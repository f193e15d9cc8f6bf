package durable

import (
	"context"
	"testing"
)

// TestObserverCostsNothingWithout: with no Observer, none of what an operation
// passes on its way allocates.
func TestObserverCostsNothingWithout(t *testing.T) {
	e, err := New(nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := e.newActivation(&definition{name: "d", version: "1"}, Identity{ID: "x"}, "o")
	start := Entry{Kind: EntryStart, Op: 1, First: true, Type: OpStep, Name: "s", Attempt: 1}
	if err := a.journal.apply(&start); err != nil {
		t.Fatal(err)
	}
	k := &call{c: &Context{a: a}, op: a.journal.ops[0]}
	s := &stepRun{call: k, a: a}
	ctx, r, w, c := context.Background(), &bodyResult{}, &write{}, &Commit{}
	for name, hook := range map[string]func(){
		"an entry":             func() { a.note(&start) },
		"a commit":             func() { a.wrote(w, c); a.tellAll(nil) },
		"a replay":             func() { k.replayed() },
		"an attempt's start":   func() { ctx = s.attemptStarts(ctx) },
		"an attempt's end":     func() { e.code.Add(1); s.returned(ctx, s.attemptEnds(), r) },
		"an activation":        func() { a.begun(); a.ended() },
		"a start of a new one": func() { _ = e.startedBy(ctx, &a.id, nil) },
	} {
		if n := testing.AllocsPerRun(100, hook); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}
