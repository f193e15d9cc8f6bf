package saga_test

import "slices"

// worth tells whether a trial says something that no other does. Left out are
// those of which a smaller shape, or another one of the same size, has the same:
//
//   - Behind the last step with an event, and its group, nothing follows; one
//     step, if there is but one event: what follows is either not run, or run as
//     without events. That a saga stops is seen with the one step that must not
//     run.
//   - A step that nothing happens to and that leaves nothing to undo says nothing
//     new: the shape without it has the same events. To the runner an irreversible
//     or retriable step is then as a read-only one, and a pivot that parks as one
//     with a Verify. In a group with an event there may be one such step if that
//     is the only event, because it is stopped and waited for.
//   - Of two events neither is a panic or a lost answer, nor at a read-only step,
//     nor at an irreversible one after the pivot, which are then as a retriable
//     one: those are tried alone. A cancel leaves steps of even numbers done and
//     those of odd numbers in doubt.
//
// A trial with one event also counts if it is on the way to two.
func (t *trial) worth() bool {
	last := -1
	for _, e := range t.events {
		if e.of == 'f' {
			last = max(last, e.step)
		}
	}
	if len(t.events) > 1 {
		return !slices.ContainsFunc(t.events, t.alone) && t.tail(last) == 0 && t.spares(last) == 0
	}
	if t.tail(last) <= 1 && t.spares(last) == 0 {
		return true
	}
	e := t.events[0]
	goesOn := e.what == evCrashBefore || e.what == evCrashAfter || !t.before(e.step) || t.tail(last) == 0 && t.inGroup(last)
	return goesOn && !t.alone(e) && t.spares(last) <= 1
}

// alone tells whether an event is tried only alone.
func (t *trial) alone(e event) bool {
	k := t.kinds[e.step]
	if e.of != 'f' {
		return false
	}
	return e.what == evPanics || e.what == evLost || e.what == evCancelled && e.step%2 == 1 || e.what == evStopped && e.step%2 == 0 ||
		k == kindReadOnly || k == kindIrreversible && t.behind(e.step)
}

// spares counts the steps that say nothing new. The last event is at last.
func (t *trial) spares(last int) (n int) {
	single := len(t.events) == 1
	inGroup := single && t.inGroup(last)
	for i, k := range t.kinds {
		switch {
		case k == kindUndoable || k == kindVerified:
		case slices.ContainsFunc(t.events, func(e event) bool { return e.step == i }):
		case k == kindReadOnly && inGroup && t.inGroup(i):
			inGroup = false
		case k == kindReadOnly && single && i > last && t.tail(last) == 1 && !t.inGroup(i):
		default:
			n++
		}
	}
	return n
}

func (s *shape) inGroup(i int) bool { return s.group.has(span{i, i + 1}) }
