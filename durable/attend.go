package durable

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// attend looks after the activation while its code runs: it holds the claim,
// takes in what arrives, ends what time ends, and once all strands wait for
// something durable it waits with them or leaves. It returns how the handler's
// goroutine ended.
func (a *activation) attend(out <-chan ending) ending {
	timer := time.NewTimer(a.tickEvery())
	defer timer.Stop()
	draining, hard := a.eng.draining, a.eng.hard.Done()
	for {
		select {
		case e := <-out:
			a.leaveHot()
			return e
		case <-a.stir:
		case <-timer.C:
		case <-draining:
			draining = nil
		case <-hard:
			hard = nil
			a.mu.Lock()
			a.halt(errHaltLost)
			a.mu.Unlock()
		}
		timer.Reset(a.tend())
	}
}

// stirUp makes attend look: something has changed that it goes by.
func (a *activation) stirUp() {
	select {
	case a.stir <- struct{}{}:
	default:
	}
}

// tend does what is to be done now, and returns how long nothing will be
// unless it is stirred up.
func (a *activation) tend() time.Duration {
	if a.isOver() {
		return a.tickEvery()
	}
	if !now().Before(a.looked.Add(a.tickEvery())) {
		a.keep()
	}
	if a.pressing() {
		a.leaveHot()
	}
	if a.isHot() {
		return a.pause()
	}
	if a.expire() != nil || a.fire() != nil {
		return a.tickEvery()
	}
	a.mu.Lock()
	a.wakeReady()
	leaves, next := a.outlook()
	idle, parking, wakes := a.idle(), a.parking, a.wakes
	a.mu.Unlock()
	switch {
	case !idle:
		return a.pause()
	case parking != nil:
		a.parkAs(parking)
	case leaves:
		_ = a.handOver(wakes)
	case !a.enterHot(next):
		_ = a.suspend(next, wakes)
	default:
		return a.pause()
	}
	return 0 // in case something came in between
}

func (a *activation) isOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.halted != nil
}

func (a *activation) isHot() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hot
}

// pressing tells whether one that waits in memory has to go on.
func (a *activation) pressing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.hot {
		return false
	}
	at := now()
	for st := range a.strands {
		if st.ready == nil || st.due(at) {
			return true
		}
	}
	_, next := a.outlook()
	return a.halted != nil || a.parking != nil || a.eng.isDraining() || !next.IsZero() && !at.Before(next)
}

// enterHot gives the slot away, if the wait until next is short enough to stay
// in memory and there is room; false means that the execution has to be
// suspended instead.
func (a *activation) enterHot(next time.Time) bool {
	if next.IsZero() || next.Sub(now()) > a.eng.opts.HotWait || !a.eng.hasTime(next.Sub(now())) || a.eng.isDraining() || !a.eng.enterHot() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hot = true
	return true
}

// leaveHot gets a slot back, and holds the claim meanwhile.
func (a *activation) leaveHot() {
	if !a.isHot() {
		return
	}
	for got := false; !got; {
		timer := time.NewTimer(a.tickEvery())
		select {
		case a.eng.slots <- struct{}{}:
			got = true
		case <-timer.C:
			a.keep()
		}
		timer.Stop()
	}
	<-a.eng.hot
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hot = false
	a.wakeReady()
}

// outlook tells whether a strand goes on in another activation only, and when
// time will end something. a.mu is held.
func (a *activation) outlook() (leaves bool, next time.Time) {
	next = a.journal.nextTimer()
	for st := range a.strands {
		if st.ready != nil {
			next = earliest(next, st.until)
			leaves = leaves || st.leaves
		}
	}
	if a.journal.cancel == nil {
		next = earliest(next, a.id.Deadline)
	}
	return leaves, next
}

// idle tells whether there is code and all of it waits. a.mu is held.
func (a *activation) idle() bool {
	return a.halted == nil && a.blocked > 0 && a.blocked == len(a.strands)
}

// pause is how long attend may sleep.
func (a *activation) pause() time.Duration {
	a.mu.Lock()
	_, next := a.outlook()
	a.mu.Unlock()
	tick := a.tickEvery()
	if next.IsZero() {
		return tick
	}
	if left := next.Sub(now()); left > 0 {
		return min(tick, left)
	}
	return time.Millisecond // code that runs is about to see to it
}

// expire records that the execution's deadline has passed, if it has. A
// delivery that the store accepted before wins. It returns an error when the
// activation is over.
func (a *activation) expire() error {
	for !a.id.Deadline.IsZero() {
		a.mu.Lock()
		due := a.journal.cancel == nil && !now().Before(a.id.Deadline)
		a.mu.Unlock()
		if !due {
			return nil
		}
		err := a.commit(write{ifSeen: true, status: StatusRunning, extra: []Entry{{Kind: EntryTimeout, At: now()}}})
		if err != nil && !errors.Is(err, ErrUnseen) {
			return err
		}
	}
	return nil
}

// overdue ends the waits whose time has come, and returns the timeouts of
// callbacks to be recorded, with their keys; mute, that one of them is for want
// of a heartbeat.
func (a *activation) overdue(at time.Time) (late []Entry, keys []string, mute bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, op := range a.journal.due(at) {
		if op.typ == OpWait {
			// A cancel that came first ends the wait, unless it is shielded,
			// which only the code that waits can tell.
			if a.journal.cancel == nil {
				a.append(Entry{Kind: EntryResult, Op: op.num, At: at})
			}
			continue
		}
		why := ErrCallbackTimeout
		switch {
		case op.typ == OpSignal && len(a.journal.signals[op.name]) > 0:
			continue // its code is about to take one
		case op.typ == OpSignal:
			why = ErrSignalTimeout
		case op.typ == OpInvoke:
			why = ErrInvokeTimeout
		case op.until.IsZero() || op.until.After(at):
			why, mute = ErrCallbackHeartbeat, true
		}
		late = append(late, Entry{Kind: EntryTimeout, Op: op.num, At: at, Error: toStored(why)})
		if op.key != "" {
			keys = append(keys, op.key)
		}
	}
	return late, keys, mute
}

// tickEvery is how often an activation looks after its claim and inbox.
func (a *activation) tickEvery() time.Duration {
	every := min(a.eng.opts.InboxCheck, a.eng.opts.Lease/4)
	if left := a.id.Deadline.Sub(now()); !a.id.Deadline.IsZero() && left > 0 {
		every = min(every, left)
	}
	return max(every, time.Millisecond)
}

// fire ends every wait whose time has come and every callback whose timeout
// has, whether or not the code is blocked on it. A result that the store
// accepted before the timeout's commit wins, and a heartbeat that it has got
// meanwhile. It returns an error when the activation is over.
func (a *activation) fire() error {
	for heard := false; ; {
		late, keys, mute := a.overdue(now())
		switch {
		case len(late) == 0:
			return nil
		case mute && !heard:
			if err := a.hear(); err != nil {
				return err
			}
			heard = true
			continue
		}
		a.mu.Lock()
		a.closed = append(a.closed, keys...)
		a.mu.Unlock()
		if err := a.commit(write{ifSeen: true, status: StatusRunning, extra: late}); !errors.Is(err, ErrUnseen) {
			return err
		}
		a.mu.Lock() // decided anew
		a.closed = slices.DeleteFunc(a.closed, func(key string) bool { return slices.Contains(keys, key) })
		a.mu.Unlock()
	}
}

// suspend ends the activation until next (zero: until a delivery), if all its
// code waits still, and has since wakes was counted.
func (a *activation) suspend(next time.Time, wakes int) error {
	w := a.suspension(next)
	w.idle, w.wakes = true, wakes
	return a.commit(w)
}

func (a *activation) suspension(next time.Time) write {
	return write{ifSeen: true, status: StatusSuspended, due: next, extra: []Entry{{Kind: EntrySuspended, At: now(), Epoch: a.epoch}}}
}

// keep holds the claim and fetches what arrived from outside.
func (a *activation) keep() {
	a.looked = now()
	if a.expire() != nil {
		return
	}
	a.mu.Lock()
	renew := a.eng.ageing(a.lease, now())
	a.mu.Unlock()
	if renew {
		_ = a.commit(write{status: StatusRunning, renew: true}) // an error has halted the activation
		return
	}
	a.checkInbox()
}

// checkInbox reads the inbox and the heartbeats without writing.
func (a *activation) checkInbox() {
	ctx, cancel := context.WithTimeout(a.eng.hard, a.eng.opts.StoreTimeout)
	defer cancel()
	rec, err := a.eng.store.Load(ctx, a.id.ID, LoadHead)
	if err != nil {
		a.log(slog.LevelWarn, "inbox check failed", "error", err)
		return
	}
	a.takeIn(rec)
}

// hear is checkInbox for what may not be decided without it.
func (a *activation) hear() error {
	return a.eng.insist(a.eng.hard, func(ctx context.Context) error {
		rec, err := a.eng.store.Load(ctx, a.id.ID, LoadHead)
		if err == nil {
			a.takeIn(rec)
		}
		return err
	})
}

func (a *activation) takeIn(rec *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rec.Epoch != a.epoch {
		a.halt(errHaltLost)
		return
	}
	if a.halted == nil {
		a.journal.hear(rec.Heartbeats)
		a.incorporate(rec.Inbox)
	}
}
