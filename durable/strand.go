package durable

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// strand is one goroutine of a handler's code: the handler's own, or that of
// a branch. Strands run beside each other; what one of them waits for durably
// it awaits, and when all do, the activation has nothing more to run.
type strand struct {
	a     *activation
	above *strand       // which started it, nil for the handler's own
	kids  []*strand     // that it has started and that have not ended; guarded by a.mu
	wake  chan struct{} // buffered: it may go on
	gone  chan struct{} // closed when its goroutine has ended

	ofGroup bool // it is never given up; its own goroutine sets it first

	// Guarded by a.mu.
	ready   func() bool // what it awaits, while it does
	until   time.Time   // or this time, if not zero
	leaves  bool        // it will go on in another activation only
	resting bool        // it runs no code of the handler
	body    *body       // of the step that it runs
	stopped bool        // its branch was given up: it ends at its next operation
	ending  bool        // its goroutine ends: operations are inert
}

func (a *activation) newStrand(above *strand) *strand {
	st := &strand{a: a, above: above, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strands[st] = struct{}{}
	a.busy++
	st.stopped = a.journal.terminated != nil
	if above != nil {
		above.kids = append(above.kids, st)
		st.stopped = st.stopped || above.stopped
	}
	return st
}

// leave takes a strand out whose goroutine is about to end.
func (st *strand) leave() {
	a := st.a
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.strands, st)
	if !st.resting {
		a.busyLess()
	}
	if up := st.above; up != nil {
		for i, kid := range up.kids {
			if kid == st {
				up.kids[i] = up.kids[len(up.kids)-1]
				up.kids = up.kids[:len(up.kids)-1]
				break
			}
		}
		a.wakeIfReady(up)
	}
	close(st.gone)
	a.stirUp()
}

// spawn runs code in a strand of its own. A panic in it parks the execution.
func (st *strand) spawn(run func(kid *strand)) *strand {
	kid := st.a.newStrand(st)
	go func() {
		defer kid.leave()
		returned := false
		defer func() {
			p := recover()
			switch {
			case p != nil:
				kid.standStill(kid.a.bug(ParkPanic, "", fmt.Errorf("a branch panicked: %v\n%s", p, debug.Stack())))
			case !returned && !kid.over():
				kid.standStill(kid.a.bug(ParkPanic, "", errors.New("a branch's goroutine was ended by runtime.Goexit")))
			}
			kid.joinKids()
		}()
		run(kid)
		returned = true
	}()
	return kid
}

// over tells whether the code of this strand must not go on.
func (st *strand) over() bool {
	st.a.mu.Lock()
	defer st.a.mu.Unlock()
	return st.a.halted != nil || st.stopped
}

// stop gives a strand up, and all that it has started: each ends at its next
// operation, and the context of a body that runs ends now. a.mu is held.
func (st *strand) stop() {
	if st.stopped {
		return
	}
	st.stopped = true
	if st.body != nil {
		st.body.cancel(ErrBranchStopped)
	}
	st.a.wakeIfReady(st)
	for _, kid := range st.kids {
		kid.stop()
	}
}

// joinKids gives up what the strand has started, and waits for its end.
func (st *strand) joinKids() {
	st.a.mu.Lock()
	kids := append([]*strand(nil), st.kids...)
	for _, kid := range kids {
		kid.stop()
	}
	st.a.mu.Unlock()
	join(kids)
}

// join waits for goroutines that have been told to end.
func join(strands []*strand) {
	for _, st := range strands {
		<-st.gone
	}
}

// exit ends the strand's goroutine, whose deferred functions run. From then on
// operations answer ErrSuspended.
func (st *strand) exit() {
	st.a.mu.Lock()
	st.ending = true
	st.a.mu.Unlock()
	st.joinKids()
	runtime.Goexit()
}

// await blocks the strand until ready, which is called with a.mu held, or
// until the time has come, whichever is first; zero means never. If the
// activation ends before, or the strand's branch is given up, await does not
// return: the goroutine ends and its deferred functions run, as with
// runtime.Goexit.
func (st *strand) await(ready func() bool, until time.Time) {
	if !st.block(ready, until, false) {
		st.exit()
	}
}

// nextActivation ends the strand here; it goes on in the next activation.
func (st *strand) nextActivation() {
	st.block(never, time.Time{}, true)
	st.exit()
}

func never() bool { return false }

// block is await that returns false where await would not return.
func (st *strand) block(ready func() bool, until time.Time, leaves bool) bool {
	a := st.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		switch {
		case a.halted != nil || st.stopped:
			return false
		case ready(), !until.IsZero() && !now().Before(until):
			return true
		}
		st.ready, st.until, st.leaves, st.resting = ready, until, leaves, true
		a.blocked++
		a.busyLess()
		a.stirUp()
		a.mu.Unlock()
		<-st.wake
		a.mu.Lock()
	}
}

// wakeIfReady lets a strand go on that has no reason to wait any more. While
// the execution has no slot only its end is a reason. a.mu is held.
func (a *activation) wakeIfReady(st *strand) {
	if st.ready == nil {
		return
	}
	if a.halted == nil && !st.stopped && (a.hot || !st.due(now())) {
		if a.hot {
			a.stirUp()
		}
		return
	}
	st.ready, st.until, st.leaves, st.resting = nil, time.Time{}, false, false
	a.blocked--
	a.busy++
	a.wakes++
	st.wake <- struct{}{}
}

// due tells whether a strand that waits has a reason to go on. a.mu is held.
func (st *strand) due(at time.Time) bool {
	return st.ready() || !st.until.IsZero() && !at.Before(st.until)
}

// wakeReady lets all strands go on that can. a.mu is held.
func (a *activation) wakeReady() {
	for st := range a.strands {
		a.wakeIfReady(st)
	}
}

// rest tells that the strand runs no code of the handler until resume.
func (st *strand) rest() {
	st.a.mu.Lock()
	defer st.a.mu.Unlock()
	st.resting = true
	st.a.busyLess()
}

func (st *strand) resume() {
	st.a.mu.Lock()
	defer st.a.mu.Unlock()
	st.resting = false
	st.a.busy++
}

// busyLess counts one strand less that runs code. a.mu is held.
func (a *activation) busyLess() {
	a.busy--
	if a.busy == 0 && a.calm != nil {
		close(a.calm)
		a.calm = nil
	}
}

// gather waits a moment for strands that run code: what they are about to
// record leaves with the same write. The caller holds the token.
func (a *activation) gather() {
	a.mu.Lock()
	if a.busy == 0 || a.halted != nil {
		a.mu.Unlock()
		return
	}
	if a.calm == nil {
		a.calm = make(chan struct{})
	}
	calm := a.calm
	a.mu.Unlock()
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-calm:
	case <-timer.C:
	}
}

// gatherFor bounds what a write waits for others to join it.
const gatherFor = 500 * time.Microsecond

// parkAndExit parks the execution once everything else in it stands still, and
// ends the strand's goroutine.
func (st *strand) parkAndExit(p Park) {
	st.standStill(p)
	st.exit()
}

// standStill asks for the execution to be parked, and blocks until the
// activation is over.
func (st *strand) standStill(p Park) {
	a := st.a
	a.mu.Lock()
	if a.parking == nil && !st.stopped {
		a.parking = a.parkWrite(p)
	}
	a.mu.Unlock()
	st.block(never, time.Time{}, true)
}

// giveWay ends the strand if the execution is about to leave this host, or to
// be parked: nothing new begins here.
func (st *strand) giveWay() {
	st.a.mu.Lock()
	parking := st.a.parking != nil
	st.a.mu.Unlock()
	if parking || st.a.eng.isDraining() {
		st.nextActivation()
	}
}

// meetDeadline waits until it is recorded that the execution's deadline has
// passed, if it has.
func (st *strand) meetDeadline() {
	a := st.a
	if a.id.Deadline.IsZero() || now().Before(a.id.Deadline) {
		return
	}
	st.await(func() bool { return a.journal.cancel != nil }, time.Time{})
}

// commit is the activation's, by a strand that waits for it.
func (st *strand) commit(w write) error {
	st.rest()
	defer st.resume()
	return st.a.commit(w)
}

// body is a step's body that runs now.
type body struct {
	cancel  func(error)
	reached func() error // why it must stop, or nil; a.mu is held
}

// reachBodies cancels the running bodies that a cancel concerns. a.mu is held.
func (a *activation) reachBodies() {
	for st := range a.strands {
		if st.body == nil {
			continue
		}
		if err := st.body.reached(); err != nil {
			st.body.cancel(err)
		}
	}
}
