package saga_test

import (
	"slices"
	"strings"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// judge checks what must hold of a trial at its end. listed says that List finds
// it among the parked ones.
func (w *world) judge(listed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order()
	switch s := w.rec.Status; {
	case s == durable.StatusParked:
		w.parked(listed)
	case s == durable.StatusSucceeded:
		w.committed()
	case s == durable.StatusTerminated:
		w.abandoned()
	case s.Ended():
		w.unwound()
	default:
		w.fault("it is %v: neither ended nor parked", s)
	}
	if listed != (w.rec.Status == durable.StatusParked) {
		w.fault("it is %v, and listed as parked: %v", w.rec.Status, listed)
	}
	w.outcome()
}

// parked: a person finds it, and what can be done.
func (w *world) parked(listed bool) {
	p := w.rec.Park
	switch {
	case p == nil || !listed:
		w.fault("parked, listed %v, park %v", listed, p)
	case len(p.Verbs) == 0:
		w.fault("parked for %s with no way out", p.Reason)
	case !w.mayPark():
		w.fault("parked for %s: %s; nothing was injected that a person must see", p.Reason, p.Message)
	case p.Stuck != (saga.StatusOf(&w.rec.Head).Unwind == saga.UnwindStuck):
		w.fault("parked for %s, stuck %v, and its status is %s", p.Reason, p.Stuck, w.rec.Detail)
	}
}

// committed: all is done, and nothing was undone.
func (w *world) committed() {
	for i, k := range w.kinds {
		if k != kindReadOnly && !w.stands[i] {
			w.fault("committed without s%d", i)
		}
	}
	if len(w.undos) > 0 {
		w.fault("committed, and undone was %v", w.undos)
	}
	w.status("committed/none")
}

// unwound: nothing stands that could be undone, but what a person has skipped.
func (w *world) unwound() {
	for i, k := range w.kinds {
		if !w.stands[i] || k == kindIrreversible {
			continue
		}
		_, skipped, _ := strings.Cut(w.rec.Error.Message, "skipped: ")
		if k == kindUndoable && w.verb == durable.VerbSkip && strings.Contains(skipped, step(i)) {
			continue
		}
		w.fault("unwound, and s%d stands: %s", i, w.rec.Error.Message)
	}
	switch w.rec.Status {
	case durable.StatusCancelled:
		w.status("cancelled/complete")
	case durable.StatusTimedOut:
		w.status("timed-out/complete")
	default:
		w.status("rejected/complete", "failed/complete")
	}
}

func step(i int) string { return "s" + string(rune('0'+i)) }

// abandoned: somebody has ended it, and is named.
func (w *world) abandoned() {
	named := slices.ContainsFunc(w.rec.Journal, func(e durable.Entry) bool { return e.Kind == durable.EntryVerb && e.Actor == "ada" && e.Reason != "" })
	if w.verb != durable.VerbAbandon || !named || !strings.Contains(w.rec.Error.Message, "ada") {
		w.fault("terminated by %q, named %v: %s", w.verb, named, w.rec.Error.Message)
	}
	if got := saga.StatusOf(&w.rec.Head); got.Unwind != saga.UnwindAbandoned {
		w.fault("abandoned, and its status is %v", got)
	}
}

func (w *world) status(want ...string) {
	if got := saga.StatusOf(&w.rec.Head).String(); !slices.Contains(want, got) {
		w.fault("it is %v, and its status is %s, want %v", w.rec.Status, got, want)
	}
}

// order: undos began in the reverse order of the starts, as the journal has
// them, and as the shape does where steps follow each other.
func (w *world) order() {
	starts := map[string]int64{}
	for _, e := range w.rec.Journal {
		if _, seen := starts[e.Name]; e.First && e.Scope == durable.ScopeForward && !seen {
			starts[e.Name] = e.Op
		}
	}
	for i, later := range w.undos {
		for _, earlier := range w.undos[i+1:] {
			if starts[step(later)] < starts[step(earlier)] || earlier > later && !w.siblings(earlier, later) {
				w.fault("undone in the order %v, and started in that of %v", w.undos, starts)
			}
		}
	}
}

func (s *shape) before(i int) bool { return i < s.pivot() }
func (s *shape) at(i int) bool     { return i == s.pivot() }
func (s *shape) behind(i int) bool { return i > s.pivot() }
func anywhere(int) bool            { return true }

// mayPark tells whether something was injected that a person must see.
func (w *world) mayPark() bool {
	undoFailed := slices.ContainsFunc(w.events, func(e event) bool { return e.of == 'u' && e.what == evUndoFails })
	// A pivot in doubt; with a crash or a lost answer before it, a rejection
	// proves nothing either.
	pivot := w.pivot() < len(w.kinds) && w.kinds[w.pivot()] == kindParking &&
		(w.has(w.at, evFailed, evDoubt) || w.has(w.at, evRejected) && w.has(w.at, evLost, evCrashBefore, evCrashAfter, evPanics))
	return undoFailed || pivot || w.has(anywhere, evPanics) || w.has(w.behind, evRejected, evFailed, evDoubt)
}

// outcome checks that the saga went the way that the events call for.
func (w *world) outcome() {
	ended := w.rec.Status.Ended() && w.rec.Status != durable.StatusTerminated
	crashed := w.life > 0 // which may have taken what a body returned along
	must := w.mustStop() && !crashed
	may := w.has(w.before, evRejected, evFailed, evDoubt, evLate, evStopped, evCancelled) || w.has(w.at, evRejected, evFailed, evDoubt) || w.verb == durable.VerbUnwind || w.verb == durable.VerbResolve
	switch committed := w.rec.Status == durable.StatusSucceeded; {
	case !ended:
	case committed && must:
		w.fault("committed in spite of what happened")
	case !committed && !may:
		w.fault("unwound, and nothing called for it: %s", w.rec.Error.Message)
	}
}

// mustStop tells whether something was met before the pivot that ends the way
// forward.
func (w *world) mustStop() bool {
	return slices.ContainsFunc(w.events, func(e event) bool {
		return e.of == 'f' && w.before(e.step) && w.fired[e] &&
			slices.Contains([]what{evRejected, evFailed, evDoubt, evStopped, evCancelled, evLate}, e.what)
	})
}
