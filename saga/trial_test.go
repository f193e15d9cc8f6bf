package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

// what happens at a site.
type what string

// The events that a trial injects. Those of undos are the last four.
const (
	evRejected    what = "rejected"
	evFailed      what = "failed for good"
	evDoubt       what = "in doubt" // it happened, and failed for good
	evLost        what = "answer lost"
	evPanics      what = "panic"
	evLate        what = "saga's deadline"
	evStopped     what = "cancelled in doubt" // and it happened
	evCancelled   what = "cancelled"
	evCrashBefore what = "crash before the effect"
	evCrashAfter  what = "crash after the effect"
	evUndoFails   what = "undo fails for good"
)

var (
	forwardEvents = []what{evRejected, evFailed, evDoubt, evLost, evPanics, evLate, evStopped, evCancelled, evCrashBefore, evCrashAfter}
	undoEvents    = []what{evUndoFails, evCancelled, evCrashBefore, evCrashAfter}
	verifyEvents  = []what{evCrashBefore}
)

// site is a call of a body: which one, and how often it was called before.
type site struct {
	of   byte // 'f'orward, 'u'ndo, 'v'erify
	step int
	nth  int
}

func (s site) events() []what {
	switch s.of {
	case 'f':
		return forwardEvents
	case 'u':
		return undoEvents
	}
	return verifyEvents
}

type event struct {
	site
	what
}

func (e event) String() string { return fmt.Sprintf("%c%d#%d %s", e.of, e.step, e.nth, e.what) }

// trial is one saga, what is injected into it, and what an operator does when it
// parks first.
type trial struct {
	*shape
	n      int
	events []event
	verb   durable.Verb // "" is nothing
}

func (t *trial) id() string { return fmt.Sprintf("t%d", t.n) }

func (t *trial) String() string {
	s := t.shape.String()
	for _, e := range t.events {
		s += ", " + e.String()
	}
	if t.verb != "" {
		s += ", then " + string(t.verb)
	}
	return s
}

// has tells whether any of these is injected at a step that match picks.
func (t *trial) has(match func(step int) bool, any ...what) bool {
	return slices.ContainsFunc(t.events, func(e event) bool {
		return e.of == 'f' && slices.Contains(any, e.what) && match(e.step)
	})
}

// world is the outside of one trial. As in the other tests it applies what it
// is told without tombstones of its own, so that whatever is done wrong shows.
type world struct {
	*trial
	e     *durable.Engine
	store *durabletest.Mortal

	mu     sync.Mutex
	life   int // of the process that runs the execution; a crash begins the next
	calls  []string
	sites  []site
	count  map[site]int // calls by site with nth 0
	fired  map[event]bool
	stands [8]bool
	busy   [8]int
	may    [8]bool // some attempt may have had its effect
	undos  []int   // steps whose undo was begun, in that order
	wrong  []string

	parks int
	rec   *durable.Record // at the end
}

func newWorld(t *trial, e *durable.Engine, store *durabletest.Mortal) *world {
	return &world{trial: t, e: e, store: store, count: map[site]int{}, fired: map[event]bool{}}
}

func (w *world) fault(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// enter notes a call and returns what is to happen in it. w.mu is held.
func (w *world) enter(of byte, step int) what {
	at := site{of: of, step: step}
	at.nth = w.count[at]
	w.count[site{of: of, step: step}]++
	w.sites = append(w.sites, at)
	w.calls = append(w.calls, fmt.Sprintf("%c%d", of, step))
	for _, e := range w.events {
		if e.site == at {
			w.fired[e] = true
			return e.what
		}
	}
	return ""
}

// errGone is what bodies return whose process has died: nobody hears it.
var errGone = errors.New("gone")

// die is the death of the process that runs the execution. w.mu is held.
func (w *world) die() error {
	w.life++
	clear(w.busy[:])
	w.store.Kill(w.id())
	return errGone
}

func (w *world) cancel(ctx context.Context) {
	err := w.e.Cancel(context.WithoutCancel(ctx), w.id(), "customer", "changed my mind")
	if err = ignore(err); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fault("cancel: %v", err)
	}
	time.Sleep(time.Microsecond) // until everybody has heard it
}

// takes is how long a step takes: no sum of some is that of others, so that
// whatever happens beside each other has an order.
func takes(step int) time.Duration { return 10 * time.Millisecond << step }

// forward is the body of a step. It does not look at its context while it acts.
func (w *world) forward(c saga.Context, step int) (string, error) {
	w.mu.Lock()
	ev, life := w.enter('f', step), w.life
	if w.busy[step]++; w.busy[step] > 1 {
		w.fault("two attempts of s%d at once", step)
	}
	if slices.Contains(w.undos, step) {
		w.fault("s%d starts after its undo", step)
	}
	could := w.may[step]
	w.may[step] = true
	w.mu.Unlock()
	d := takes(step)
	if ev == evLate {
		d += shapeTimeout
	}
	time.Sleep(d)
	if ev == evCancelled || ev == evStopped {
		w.cancel(c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life != life {
		return "", errGone
	}
	w.busy[step]--
	return w.acts(c, step, ev, could)
}

// acts has the effect of a step, or not. w.mu is held.
func (w *world) acts(c saga.Context, step int, ev what, could bool) (string, error) {
	switch ev {
	case evRejected:
		w.may[step] = could
		return "", saga.Reject(errDeclined)
	case evFailed:
		return "", durable.Permanent(errOutage)
	case evCrashBefore:
		return "", w.die()
	}
	w.stands[step] = w.kinds[step] != kindReadOnly // idempotent by key, as participants are
	if slices.Contains(w.undos, step) {
		w.fault("s%d takes effect after its undo", step)
	}
	switch {
	case ev == evDoubt:
		return "", durable.Permanent(errOutage)
	case ev == evLost:
		return "", errOutage
	case ev == evPanics:
		panic("oops")
	case ev == evCrashAfter:
		return "", w.die()
	case c.Err() != nil && (ev == evStopped || ev == "" && step%2 == 1):
		return "", context.Cause(c) // stopped while it acted
	}
	return result(step), nil
}

func result(step int) string { return fmt.Sprintf("v%d", step) }

// verify tells the truth.
func (w *world) verify(step int) (saga.Verdict[string], error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[step] > 0 {
		w.fault("s%d is verified while an attempt runs", step)
	}
	if w.enter('v', step) == evCrashBefore {
		return saga.Verdict[string]{}, w.die()
	}
	if w.stands[step] {
		return saga.Happened(result(step)), nil
	}
	return saga.NoEffect[string](), nil
}

// undo takes the effect of a step back.
func (w *world) undo(c saga.UndoContext, step int, m saga.Maybe[string]) error {
	w.mu.Lock()
	ev, life := w.enter('u', step), w.life
	if v, ok := m.Get(); ok && v != result(step) {
		w.fault("the undo of s%d gets %q", step, v)
	}
	w.mayUndo(step)
	w.mu.Unlock()
	time.Sleep(takes(step))
	if ev == evCancelled {
		w.cancel(c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.life != life:
		return errGone
	case ev == evUndoFails:
		return durable.Permanent(errOutage)
	case ev == evCrashBefore:
		return w.die()
	}
	w.stands[step] = false
	if ev == evCrashAfter {
		return w.die()
	}
	return nil
}

// mayUndo checks what must hold when an undo begins. w.mu is held.
func (w *world) mayUndo(step int) {
	if !slices.Contains(w.undos, step) {
		w.undos = append(w.undos, step)
	}
	crashed := w.life > 0 // a rejection may have been lost
	if !w.may[step] && !(crashed && w.count[site{of: 'f', step: step}] > 0) {
		w.fault("s%d is undone and cannot have happened", step)
	}
	if slices.Max(w.busy[:]) > 0 {
		w.fault("s%d is undone while a forward attempt runs: %v", step, w.busy)
	}
	if p := w.pivot(); w.stands[p] {
		w.fault("s%d is undone, and the pivot has happened", step)
	}
}

// run takes the execution to its end, or to where it is parked when the operator
// has acted.
func (w *world) run(ctx context.Context, sg *saga.Saga[int, string]) error {
	x, err := sg.Start(ctx, w.e, w.id(), w.n)
	if err != nil {
		return err
	}
	for {
		_, err := x.Wait(ctx)
		if !errors.Is(err, durable.ErrParked) {
			break
		}
		if w.parks++; w.parks > 1 || w.verb == "" {
			break
		}
		if err := w.act(ctx); err != nil {
			return err
		}
		x = sg.Attach(w.e, w.id())
	}
	w.rec, err = w.store.Load(ctx, w.id(), durable.LoadAll)
	return err
}

// act is the operator's act. What it states is the truth.
func (w *world) act(ctx context.Context) error {
	rec, err := w.store.Load(ctx, w.id(), durable.LoadHead)
	if err != nil {
		return err
	}
	d := durable.Decision{Verb: w.verb, Actor: "ada", Reason: "test"}
	if d.Verb == durable.VerbResolve {
		w.mu.Lock()
		step := int(rec.Park.Operation[len(rec.Park.Operation)-1] - '0')
		if d.NoEffect = !w.stands[step]; !d.NoEffect {
			d.Output, _ = json.Marshal(result(step)) // strings do
		}
		w.mu.Unlock()
	}
	return w.e.Act(ctx, w.id(), rec.Revision, d)
}

// history is the calls in their order.
func (w *world) history() string { return strings.Join(w.calls, " ") }
