package saga_test

import (
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
)

// tried runs one trial and fails the test over what is wrong with it.
func tried(t *testing.T, tr *trial) *world {
	t.Helper()
	w := runAll(t, tr.shape, []*trial{tr}, &tally{outcomes: map[string]int{}})[0]
	if len(w.wrong) > 0 {
		t.Fatalf("%v: %s; calls: %s", tr, strings.Join(w.wrong, "; "), w.history())
	}
	return w
}

// TestGroupFails: the first member is rejected while the second acts. The second
// is asked to stop and waited for; it leaves off in doubt, and is undone.
func TestGroupFails(t *testing.T) {
	two := &shape{kinds: "UU", group: span{0, 2}, ends: []int{1, 2}}
	w := tried(t, &trial{shape: two, events: []event{{site{of: 'f', step: 0}, evRejected}}})
	if got, want := w.history(), "u1"; !strings.HasSuffix(got, want) || strings.Contains(got, "u0") {
		t.Errorf("calls: %s, want the undo of s1 alone", got)
	}
}

// TestSubSagaIsUndone: what it did stands on the stack of its parent.
func TestSubSagaIsUndone(t *testing.T) {
	s := &shape{kinds: "UUU", sub: span{0, 2}}
	w := tried(t, &trial{shape: s, events: []event{{site{of: 'f', step: 2}, evRejected}}})
	if got, want := w.history(), "f0 f1 f2 u1 u0"; got != want {
		t.Errorf("calls: %s, want %s", got, want)
	}
}

// TestSkipIsNamed: the undo that a person has skipped is named in the saga's
// error, and is not among those that were undone.
func TestSkipIsNamed(t *testing.T) {
	s := &shape{kinds: "UUU"}
	w := tried(t, &trial{shape: s, verb: durable.VerbSkip, events: []event{
		{site{of: 'f', step: 2}, evRejected}, {site{of: 'u', step: 1}, evUndoFails},
	}})
	if got, want := w.rec.Error.Message, "(undone: s0; skipped: s1)"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end in %q", got, want)
	}
}

// TestAbandonedAfterThePivot: steps are missing, so it does not count as done.
func TestAbandonedAfterThePivot(t *testing.T) {
	s := &shape{kinds: "VT"}
	tried(t, &trial{shape: s, verb: durable.VerbAbandon, events: []event{{site{of: 'f', step: 1}, evPanics}}})
}
