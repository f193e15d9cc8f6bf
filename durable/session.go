package durable

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Session serves the registered definitions without looking for work, for hosts
// that are woken for one thing at a time, as AWS Lambda is: what do starts or
// resumes runs here, and Session returns do's error once each of those
// executions has ended, is parked or is suspended. Like Run it drains when ctx
// ends, or when the time comes that Options.Until and Options.Reserve say. An
// engine has one Session, or one Run.
//
// ErrStillRunning, instead of do's error, means that code has not returned in
// time, a quarter of a second before Options.Until with the default Reserve: the
// host must end its process, or that code goes on behind the back of what comes
// next.
func (e *Engine) Session(ctx context.Context, do func(ctx context.Context) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	var last time.Time
	if !e.opts.Until.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, e.quiet())
		defer stop()
		last = e.opts.Until.Add(-e.opts.Reserve / 8)
	}
	over := make(chan error, 1)
	go func() {
		var err error
		left := make(chan struct{})
		go func() {
			defer close(left)
			err = do(ctx)
			e.wg.Wait()
		}()
		select {
		case <-left:
		case <-ctx.Done():
		}
		e.drain()
		<-left
		e.code.Wait()
		over <- err
	}()
	if last.IsZero() {
		return <-over
	}
	timer := time.NewTimer(last.Sub(now()))
	defer timer.Stop()
	select {
	case err := <-over:
		return err
	case <-timer.C:
		return ErrStillRunning
	}
}

// enter makes the engine one that runs executions, once.
func (e *Engine) enter() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running || e.isDraining() {
		return fmt.Errorf("%w: this engine runs already, or has run: make another", ErrInvalid)
	}
	e.running = true
	return nil
}

// Resume claims an execution that is due, runs it here, and returns how it was
// left: suspended until Head.Due (zero: until a delivery), parked, or ended. It
// needs a Session. ErrUnknownDefinition when the definition that the caller says
// it has is not registered; ErrNotDue when it is not due, or somebody else has
// taken it; ErrEnded; ErrFenced when somebody took it over while it ran. After
// any other error it is where it was, and due.
func (e *Engine) Resume(ctx context.Context, definition, version, id string) (*Head, error) {
	e.mu.Lock()
	def := e.defs[definition+"@"+version]
	e.mu.Unlock()
	if def == nil {
		return nil, fmt.Errorf("resume %q: %w: %s@%s", id, ErrUnknownDefinition, definition, version)
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("resume %q: %w", id, context.Cause(ctx))
	}
	e.mu.Lock()
	_, here := e.active[id]
	if here || !e.running || e.isDraining() {
		e.mu.Unlock()
		<-e.slots
		if here {
			return nil, fmt.Errorf("resume %q: %w: it runs here", id, ErrNotDue)
		}
		return nil, fmt.Errorf("resume %q: %w: the engine has no Session, or it ends", id, ErrHostGone)
	}
	e.active[id] = nil
	e.wg.Add(1)
	e.mu.Unlock()
	a, err := e.takeOver(def, id)
	if err != nil {
		return nil, fmt.Errorf("resume %q: %w", id, err)
	}
	return a.leftAs(id)
}

// StartJSON is Definition.Start for callers that know a definition by its name
// alone: an empty version is that which was registered last. The input, JSON,
// is refused with ErrInvalid if the definition cannot read it. In a Session it
// runs the execution here and returns how it was left, as Resume does; else, and
// if it was started before, how it stands, without input.
func (e *Engine) StartJSON(ctx context.Context, definition, version, id string, input []byte, opts ...StartOption) (*Head, error) {
	def, err := e.find(definition, version)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	o, err := startOptionsOf(opts)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	stored, err := def.normal(input, e.opts.MaxPayload)
	if err != nil {
		return nil, fmt.Errorf("start %q: input of %s@%s: %w", id, def.name, def.version, err)
	}
	a, err := e.start(ctx, def, id, stored, o)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	if a != nil {
		<-a.gone
		return a.leftAs(id)
	}
	var rec *Record
	err = e.insist(ctx, func(ctx context.Context) (err error) {
		rec, err = e.store.Load(ctx, id, LoadHead)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("start %q: it is durable, but reading it back: %w", id, err)
	}
	return &rec.Head, nil
}

// find returns the definition of a name and version, or the last one of a name.
func (e *Engine) find(name, version string) (*definition, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []string
	for i := len(e.order) - 1; i >= 0; i-- {
		d := e.order[i]
		if d.name == name && (version == "" || d.version == version) {
			return d, nil
		}
		names = append(names, d.name+"@"+d.version)
	}
	return nil, fmt.Errorf("%w: %q version %q; registered are %s", ErrUnknownDefinition, name, version, strings.Join(names, ", "))
}

// Definitions are the definitions that are registered, in that order, each as
// name and version.
func (e *Engine) Definitions() [][2]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([][2]string, len(e.order))
	for i, d := range e.order {
		all[i] = [2]string{d.name, d.version}
	}
	return all
}

// leftAs is how the activation, which is over, left the execution.
func (a *activation) leftAs(id string) (*Head, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leftHead != nil {
		return a.leftHead, nil
	}
	if err := a.eng.hard.Err(); err != nil {
		return nil, fmt.Errorf("%q was left as it was: %w", id, ErrHostGone)
	}
	return nil, fmt.Errorf("%q: %w", id, ErrFenced)
}

// HostOf is the Options.Host of the engine that made an owner nonce, as in
// Head.Owner; "" if it had none.
func HostOf(owner string) string {
	_, host, _ := strings.Cut(owner, "@")
	return host
}

// leaseGrace is how much longer than a host with a known end its leases last:
// its last commit may be on its way.
const leaseGrace = 5 * time.Second

// leaseFrom is until when a claim made or renewed at this time holds.
func (e *Engine) leaseFrom(at time.Time) time.Time {
	if e.opts.Until.IsZero() {
		return at.Add(e.opts.Lease)
	}
	return e.opts.Until.Add(leaseGrace)
}

// ageing tells whether a lease is to be moved. That of a host with a known end
// never is.
func (e *Engine) ageing(lease, at time.Time) bool {
	return e.opts.Until.IsZero() && lease.Sub(at) < e.opts.Lease/2
}

// quiet is when nothing may run here any more.
func (e *Engine) quiet() time.Time { return e.opts.Until.Add(-e.opts.Reserve) }

// hasTime tells whether what takes so long ends in time, if it starts now.
func (e *Engine) hasTime(d time.Duration) bool {
	return e.opts.Until.IsZero() || !now().Add(d).After(e.quiet())
}

// short notes that the strand's step has found too little time left here, and
// ends the strand. If the step would have found it in an activation that begins
// with its host, as the next one may, that says nothing about hosts.
func (st *strand) short(step string, need time.Duration) {
	a := st.a
	late := a.since.Sub(a.eng.made)
	a.mu.Lock()
	if a.noTime == "" && !a.eng.hasTime(need-late) {
		a.noTime = fmt.Sprintf("step %q may take %v, and this host had %v left", step, need, max(a.eng.quiet().Sub(now()), 0).Round(time.Millisecond))
	}
	a.mu.Unlock()
	st.nextActivation()
}

// maxShort is how many activations in a row may find no time for what is next
// and have done nothing else. The pauses between them add up to four minutes.
const maxShort = 8

// handOver suspends an activation that goes on elsewhere: at once, unless it had
// too little time and did nothing, which the next one may find too.
func (a *activation) handOver(wakes int) error {
	a.mu.Lock()
	n, why := a.journal.short, a.noTime
	idle := why != "" && !a.moved && !a.eng.isDraining()
	a.mu.Unlock()
	switch {
	case !idle:
		return a.suspend(now(), wakes)
	case n >= maxShort:
		a.mu.Lock()
		w := a.parkWrite(Park{
			Reason: ParkNoTime, Verbs: []Verb{VerbResume},
			Message: fmt.Sprintf("%s; so it was in %d activations in a row: give the host more time, or the step a shorter timeout, and resume", why, n+1),
		})
		a.mu.Unlock()
		a.parkAs(w)
		return nil
	}
	a.log(slog.LevelWarn, "too little time left to start a step", "why", why, "in a row", n+1)
	pause := time.Second << n
	w := a.suspension(now().Add(pause))
	w.extra[0].Delay = pause
	w.idle, w.wakes = true, wakes
	return a.commit(w)
}
