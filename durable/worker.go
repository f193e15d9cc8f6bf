package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Run serves the registered definitions: it claims what is due, runs it, and
// looks for more, until ctx ends. Then it drains: no step starts any more,
// running ones have Options.DrainTimeout to finish, and what is left is
// handed over durably. It returns nil after everything that it started has
// returned, but for bodies that ignore the end of their context. An engine runs
// once.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.enter(); err != nil {
		return err
	}
	e.poll(ctx)
	e.drain()
	return nil
}

// poll looks for due work until ctx ends.
func (e *Engine) poll(ctx context.Context) {
	pause := e.opts.PollMin
	for ctx.Err() == nil {
		began := now()
		found, later, err := e.sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			e.outage.fails(began)
			e.opts.Logger.Warn("looking for due work failed, will repeat", "error", err)
			e.trouble(err)
			pause = min(2*pause, 5*e.opts.PollMax)
		case found && !e.rivals.Swap(false):
			pause = e.opts.PollMin
		default:
			pause = min(2*pause, e.opts.PollMax)
		}
		jittered := pause*3/4 + rand.N(pause/2+1)
		if !later.IsZero() { // not everybody at once
			later = later.Add(rand.N(e.opts.PollMin))
		}
		e.sleep(ctx, earliest(now().Add(jittered), later))
	}
}

// sleep waits until the time has come for the next look, or until somebody
// wants one.
func (e *Engine) sleep(ctx context.Context, until time.Time) {
	for {
		e.mu.Lock()
		left := earliest(until, e.wanted).Sub(now())
		e.mu.Unlock()
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-e.retime:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// kick makes the poller look at t at the latest.
func (e *Engine) kick(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wanted.IsZero() || t.Before(e.wanted) {
		e.wanted = t
		select {
		case e.retime <- struct{}{}:
		default:
		}
	}
}

// wakeAt is kick for something that becomes due at t; zero is never.
func (e *Engine) wakeAt(t time.Time) {
	if !t.IsZero() {
		e.kick(t)
	}
}

// freed looks for more work if some was left for lack of slots.
func (e *Engine) freed() {
	e.mu.Lock()
	backlog := e.backlog
	e.backlog = false
	e.mu.Unlock()
	if backlog {
		e.kick(now())
	}
}

// sweep claims what is due of every registered definition, as far as slots
// go. later is when something will be due that is not yet.
func (e *Engine) sweep(ctx context.Context) (found bool, later time.Time, err error) {
	e.mu.Lock()
	defs := e.order[:len(e.order):len(e.order)]
	e.wanted = time.Time{}
	e.mu.Unlock()
	for _, def := range defs {
		q := &DueQuery{Definition: def.name, Version: def.version, Limit: 100}
		for {
			q.Now = now()
			try, cancel := context.WithTimeout(ctx, e.opts.StoreTimeout)
			page, err := e.store.Due(try, q)
			cancel()
			if err != nil {
				return found, later, fmt.Errorf("due executions of %s@%s: %w", def.name, def.version, err)
			}
			if until := e.outage.over(q.Now, now(), e.opts.Lease/3); !until.IsZero() {
				return false, until, nil
			}
			later = earliest(later, page.Later)
			took, full := e.claimAll(def, page.IDs())
			found = found || took
			if page.Next == "" || full {
				break
			}
			q.Cursor = page.Next
		}
	}
	return found, later, nil
}

// outage is what the poller knows of a store that did not answer. Leases may
// have ended meanwhile whose owners live, and have results to record: they
// have been trying all along, and come first.
type outage struct {
	since time.Time // of the first look that failed
	until time.Time // nothing is claimed until then
	// waited: the look before this one claimed nothing, so this one does, or a
	// store that is always slow would never be served.
	waited bool
}

func (o *outage) fails(at time.Time) {
	if o.since.IsZero() {
		o.since = at
	}
}

// over notes a look that began and ended at these times and did not fail, and
// tells until when nothing may be claimed; zero if it may be. A store may have
// tried all through an outage, so a slow look is as good as one that failed.
func (o *outage) over(began, at time.Time, grace time.Duration) time.Time {
	if o.since.IsZero() {
		o.since = began
	}
	long := at.Sub(o.since) > grace
	o.since = time.Time{}
	switch {
	case at.Before(o.until):
	case long && !o.waited:
		o.until, o.waited = at.Add(grace), true
	default:
		o.waited = false
		return time.Time{}
	}
	return o.until
}

// claimAll begins to run what is due; full means that it takes no more for now.
// Where others look at the same page, each takes some of it at random, so that
// they seldom want the same: a few at the first look, half as many after
// somebody else was quicker, one more after a claim that was not lost.
func (e *Engine) claimAll(def *definition, ids []string) (took, full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.skip, func(_ string, until time.Time) bool { return !now().Before(until) })
	left := len(ids)
	if e.reach < e.opts.Concurrency {
		ids, left = slices.Clone(ids), e.reach
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	}
	for _, id := range ids {
		if _, here := e.active[id]; here || !e.skip[id].IsZero() {
			continue
		}
		if left--; left < 0 {
			return took, true
		}
		select {
		case e.slots <- struct{}{}:
		default:
			e.backlog = true
			return took, true
		}
		took = true
		e.active[id] = nil
		e.wg.Add(1)
		go func() { _, _ = e.takeOver(def, id) }() // what came of it, the store knows
	}
	return took, false
}

// takeOver claims one execution and drives it. It holds a slot.
func (e *Engine) takeOver(def *definition, id string) (*activation, error) {
	defer e.wg.Done()
	a, err := e.claim(def, id)
	if err == nil && a.crashes >= e.opts.CrashesToAlone && !a.loops() {
		a.handBack()
		<-e.slots
		return e.alone(def, id)
	}
	if err == nil {
		e.setActive(id, a)
		a.run()
	} else {
		e.leaveActive(id, nil)
	}
	<-e.slots
	e.freed()
	return a, err
}

// alone runs one execution while no other runs code in this process: one that
// ends its process again and again must not take its neighbours along. It is
// claimed only once everything else has left, so that a crash meanwhile is not
// counted against it either.
func (e *Engine) alone(def *definition, id string) (*activation, error) {
	ran := false
	defer func() {
		if !ran {
			e.leaveActive(id, nil)
		}
	}()
	select {
	case e.aloneTurn <- struct{}{}:
		defer func() { <-e.aloneTurn }()
	case <-e.draining:
		return nil, ErrHostGone
	}
	patience := time.NewTimer(e.opts.Lease)
	defer patience.Stop()
	taken := 0
	defer func() {
		for range taken {
			<-e.slots
		}
		e.freed()
	}()
	for ; taken < cap(e.slots); taken++ {
		select {
		case e.slots <- struct{}{}:
		case <-e.draining:
			return nil, ErrHostGone
		case <-patience.C:
			// Somebody runs long. The others must not stand still for it: this
			// one comes again later.
			e.mu.Lock()
			e.skip[id] = now().Add(e.opts.Lease)
			e.mu.Unlock()
			return nil, fmt.Errorf("%w: it has to run alone, and others run long", ErrHostGone)
		}
	}
	a, err := e.claim(def, id)
	if err != nil {
		return nil, err
	}
	e.opts.Logger.Warn("runs alone after crashes without a result", "execution", id, "crashes", a.crashes)
	ran = true
	e.setActive(id, a)
	a.run()
	return a, nil
}

func (e *Engine) setActive(id string, a *activation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active[id] = a
}

func (e *Engine) claim(def *definition, id string) (*activation, error) {
	at := now()
	c := &Claim{ID: id, Owner: e.nonce(), Now: at, Lease: e.leaseFrom(at)}
	var rec *Record
	ctx, cancel := context.WithTimeout(e.hard, e.opts.StoreTimeout)
	defer cancel()
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		rec, err = e.store.Claim(ctx, c)
		return err
	})
	switch {
	case errors.Is(err, ErrEnded):
		e.expire(ctx, id)
		return nil, err
	case err != nil && settled(err): // somebody else was quicker
		e.rivals.Store(true)
		e.mu.Lock()
		e.reach = max(1, e.reach/2)
		e.skip[id] = at.Add(e.opts.PollMax)
		e.mu.Unlock()
		if e.opts.Observer != nil {
			e.observe(e.values, &Observation{Kind: ObserveClaimLost, Execution: &Identity{ID: id, Definition: def.name, Version: def.version}, At: now(), Err: err})
		}
		return nil, err
	case err == nil:
		e.mu.Lock()
		e.reach = min(e.opts.Concurrency, e.reach+1)
		e.mu.Unlock()
		var a *activation
		if a, err = e.resume(def, rec); err == nil {
			a.since = at // a claim that takes long is no delay by others
			return a, nil
		}
		e.parkUnreadable(def, rec, err)
		return nil, err
	}
	e.opts.Logger.Error("claim failed, will repeat", "execution", id, "error", err)
	e.trouble(err)
	e.mu.Lock()
	e.skip[id] = at.Add(e.opts.Lease)
	e.mu.Unlock()
	return nil, err
}

// expire deletes an execution that has ended and been kept for as long as its
// start asked for.
func (e *Engine) expire(ctx context.Context, id string) {
	rec, err := e.store.Load(ctx, id, LoadHead)
	if err != nil || rec.Retention == 0 || now().Before(rec.Ended.Add(rec.Retention)) {
		return
	}
	if err := e.store.Delete(ctx, id); err != nil && !settled(err) {
		e.opts.Logger.Warn("deleting an execution failed, will repeat", "execution", id, "error", err)
	}
}

// parkUnreadable parks an execution whose journal contradicts itself, without
// a look at the rest of it.
func (e *Engine) parkUnreadable(def *definition, rec *Record, err error) {
	a := e.newActivation(def, rec.Identity, rec.Owner)
	a.epoch, a.lease, a.seen, a.detail = rec.Epoch, rec.Lease, rec.Seen, rec.Detail
	a.claimed(rec)
	a.begun()
	defer a.ended()
	a.park(a.bug(ParkNondeterminism, "", err))
	a.cleanup()
}

// drive runs an activation that was born here. It holds a slot.
func (e *Engine) drive(a *activation) {
	defer e.wg.Done()
	defer close(a.gone)
	a.run()
	<-e.slots
	e.freed()
}

// leaveActive notes that an execution runs here no more, and tells who waits
// for it.
func (e *Engine) leaveActive(id string, final *Head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.active, id)
	if w := e.watched[id]; w != nil && final != nil {
		close(w.moved)
		delete(e.watched, id)
	}
}

// drain ends everything: first in peace, then in order, then at once.
func (e *Engine) drain() {
	e.mu.Lock()
	close(e.draining)
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(ended)
	}()
	for _, next := range []func(){func() { e.bodyStop(ErrHostGone) }, e.hardStop} {
		timer := time.NewTimer(e.opts.DrainTimeout)
		select {
		case <-ended:
		case <-timer.C:
			next()
		}
		timer.Stop()
	}
	<-ended
	e.bodyStop(ErrHostGone)
	e.hardStop()
}

// watch is shared by all who wait for one execution.
type watch struct {
	moved chan struct{} // closed when it ended or parked here
	users int
}

func (e *Engine) watch(id string) *watch {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.watched[id]
	if w == nil {
		w = &watch{moved: make(chan struct{})}
		e.watched[id] = w
	}
	w.users++
	return w
}

func (e *Engine) unwatch(id string, w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.users--; w.users == 0 && e.watched[id] == w {
		delete(e.watched, id)
	}
}

// outcome waits until an execution has ended or is parked.
func (e *Engine) outcome(ctx context.Context, id string, a *activation) (*Head, error) {
	if a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if a.final != nil && a.final.Status.Ended() {
			return a.final, nil
		}
	}
	w := e.watch(id)
	defer func() { e.unwatch(id, w) }()
	for pause := e.opts.PollMin; ; pause = min(2*pause, e.opts.PollMax) {
		moved := w.moved
		var rec *Record
		err := e.insist(ctx, func(ctx context.Context) (err error) {
			rec, err = e.store.Load(ctx, id, LoadHead)
			return err
		})
		switch {
		case err != nil && !errors.Is(err, ErrStoreBroken):
			return nil, err
		case err == nil && (rec.Status.Ended() || rec.Status == StatusParked && !verbWaits(rec)):
			return &rec.Head, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-moved:
			e.unwatch(id, w)
			w = e.watch(id)
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// verbWaits tells whether a parked execution is about to go on.
func verbWaits(rec *Record) bool {
	for i := range rec.Inbox {
		if rec.Inbox[i].Kind == DeliverVerb {
			return true
		}
	}
	return false
}
