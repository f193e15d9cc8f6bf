package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Pause says what of a definition is paused, while a participant is down. What
// runs already goes on forward.
type Pause struct {
	Definition string `json:"definition"`
	// Starts: no execution is started, nor re-run. What running executions
	// invoke still starts.
	Starts bool `json:"starts,omitempty"`
	// Unwinding: sagas begin no undo. One that has begun goes on with its
	// retries.
	Unwinding bool      `json:"unwinding,omitempty"`
	Actor     string    `json:"actor"`
	Reason    string    `json:"reason"`
	At        time.Time `json:"at"`

	// Continued says who ended it, why and when; nil while it lasts.
	Continued *Continued `json:"continued,omitempty"`
}

// Continued says who ended a pause.
type Continued struct {
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// PauseDefinition is the reserved name under which stores keep pauses: as
// records that were born ended, so that nothing is ever due, with the Pause as
// their result. The one in force has the ID clew.pause/NAME; those that are over
// have the time of their end behind it, and stay until somebody deletes them.
const PauseDefinition = "clew.pause"

// PausedError says that a definition is paused, by whom and why. It is ErrPaused.
type PausedError struct{ Pause Pause }

func (e *PausedError) Error() string {
	return fmt.Sprintf("%v: %q, by %q at %s: %s", ErrPaused, e.Pause.Definition, e.Pause.Actor, e.Pause.At.Format(time.RFC3339), e.Pause.Reason)
}

// Is reports that every PausedError is ErrPaused.
func (e *PausedError) Is(target error) bool { return target == ErrPaused }

// Pause pauses starts of a definition, of all its versions, or the unwinding of
// its sagas, or both. It is in force at once in this engine, and in others within
// their Options.PauseCheck. A definition that is paused already is a *PausedError:
// continue it first.
func (e *Engine) Pause(ctx context.Context, p Pause) error {
	if err := needActor("pause", p.Actor, p.Reason); err != nil {
		return err
	}
	id := pauseID(p.Definition)
	switch most := MaxNameLength - len(id) + len(p.Definition) - len("@"+time.RFC3339Nano); {
	case p.Definition == "" || len(p.Definition) > most:
		return fmt.Errorf("%w: pause of the definition %.40q: its name has 1 to %d bytes", ErrInvalid, p.Definition, most)
	case !p.Starts && !p.Unwinding:
		return fmt.Errorf("%w: pause what of %q: starts, unwinding or both", ErrInvalid, p.Definition)
	}
	p.At, p.Continued = now(), nil
	err := e.keepPause(ctx, id, &p)
	if errors.Is(err, ErrExists) {
		there, err := e.readPause(ctx, p.Definition)
		if err != nil {
			return fmt.Errorf("pause %q: %w", p.Definition, err)
		}
		return &PausedError{*there}
	}
	if err != nil {
		return fmt.Errorf("pause %q: %w", p.Definition, err)
	}
	e.pauses.note(p.Definition, &p)
	e.opts.Logger.Warn("paused", "definition", p.Definition, "starts", p.Starts, "unwinding", p.Unwinding, "actor", p.Actor, "reason", p.Reason)
	return nil
}

// Continue ends a pause. Starts are accepted again at once here, and elsewhere
// within Options.PauseCheck; sagas that wait to unwind look every 30 s or so, and
// every 5 minutes if the pause was long. A definition that is not paused is a
// *VerbError.
func (e *Engine) Continue(ctx context.Context, definition, actor, reason string) error {
	if err := needActor("continue", actor, reason); err != nil {
		return err
	}
	p, err := e.readPause(ctx, definition)
	if errors.Is(err, ErrNotFound) {
		return &VerbError{ID: definition, Verb: "continue", State: "not paused", Possible: []Verb{"pause"}}
	}
	if err != nil {
		return fmt.Errorf("continue %q: %w", definition, err)
	}
	// First the record of it, then the end: a crash in between leaves the pause
	// in force, to be continued again.
	p.Continued = &Continued{Actor: actor, Reason: reason, At: now()}
	err = e.keepPause(ctx, pauseID(definition)+"@"+p.Continued.At.Format(time.RFC3339Nano), p)
	if err == nil {
		err = e.insist(ctx, func(ctx context.Context) error { return e.store.Delete(ctx, pauseID(definition)) })
	}
	if err != nil && !errors.Is(err, ErrNotFound) { // somebody else has ended it meanwhile
		return fmt.Errorf("continue %q: %w", definition, err)
	}
	e.pauses.note(definition, nil)
	e.opts.Logger.Warn("continued", "definition", definition, "actor", actor, "reason", reason)
	return nil
}

// Paused reads whether a definition is paused; nil if it is not.
func (e *Engine) Paused(ctx context.Context, definition string) (*Pause, error) {
	p, err := e.readPause(ctx, definition)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return p, err
}

// Pauses reads all pauses that are in force.
func (e *Engine) Pauses(ctx context.Context) ([]Pause, error) {
	var all []Pause
	q := &ListQuery{Definition: PauseDefinition, Limit: 500}
	for {
		page, err := e.store.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list pauses: %w", err)
		}
		for i := range page.Heads {
			p, err := fromJSON[Pause](page.Heads[i].Result)
			if err != nil {
				return nil, fmt.Errorf("pause %q: %w", page.Heads[i].ID, err)
			}
			if p.Continued == nil {
				all = append(all, *p)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return all, nil
		}
	}
}

func pauseID(definition string) string { return PauseDefinition + "/" + definition }

// keepPause creates the record of a pause.
func (e *Engine) keepPause(ctx context.Context, id string, p *Pause) error {
	result, err := json.Marshal(p)
	if err != nil { // nothing of it can fail
		return err
	}
	at := now()
	c := &Create{
		Identity: Identity{ID: id, Definition: PauseDefinition, Version: "1", Created: at, Digest: digest(id, result)},
		Now:      at, Owner: e.nonce(),
		First: &Commit{ID: id, Epoch: 1, Seq: 1, Now: at, Status: StatusSucceeded, Result: result},
	}
	return e.insist(ctx, func(ctx context.Context) error { return e.store.Create(ctx, c) })
}

func (e *Engine) readPause(ctx context.Context, definition string) (*Pause, error) {
	var rec *Record
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		rec, err = e.store.Load(ctx, pauseID(definition), LoadHead)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fromJSON[Pause](rec.Result)
}

// pauses is what an engine has read of pauses. An engine reads when it starts an
// execution, or is about to begin an undo, and has not looked for PauseCheck; so
// one that does neither reads nothing.
type pauses struct {
	mu    sync.Mutex
	looks map[string]*pauseLook // by definition
}

// pauseLook is what was last read of one definition.
type pauseLook struct {
	turn  chan struct{} // held by who reads
	pause *Pause
	until time.Time // when to look again; zero is at once
}

func (ps *pauses) of(definition string) *pauseLook {
	if ps.looks == nil {
		ps.looks = map[string]*pauseLook{}
	}
	l := ps.looks[definition]
	if l == nil {
		l = &pauseLook{turn: make(chan struct{}, 1)}
		ps.looks[definition] = l
	}
	return l
}

// note takes in what this engine has done itself.
func (ps *pauses) note(definition string, p *Pause) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	l := ps.of(definition)
	l.pause, l.until = p, time.Time{}
}

// pausedNow tells whether a definition is paused, as far as this engine knows: at
// most PauseCheck old. While somebody looks, others go by what was known, unless
// nothing is. A store that does not answer changes nothing.
func (e *Engine) pausedNow(ctx context.Context, definition string) *Pause {
	e.pauses.mu.Lock()
	l := e.pauses.of(definition)
	known, first := l.pause, l.until.IsZero()
	fresh := now().Before(l.until)
	e.pauses.mu.Unlock()
	if fresh {
		return known
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return e.lookForPause(ctx, l, definition)
	default:
	}
	if !first {
		return known
	}
	select {
	case l.turn <- struct{}{}:
		<-l.turn
	case <-ctx.Done():
	}
	e.pauses.mu.Lock()
	defer e.pauses.mu.Unlock()
	return l.pause
}

// lookForPause reads. The caller has the turn.
func (e *Engine) lookForPause(ctx context.Context, l *pauseLook, definition string) *Pause {
	ctx, cancel := context.WithTimeout(ctx, e.opts.StoreTimeout)
	defer cancel()
	rec, err := e.store.Load(ctx, pauseID(definition), LoadHead)
	var p *Pause
	if err == nil {
		p, err = fromJSON[Pause](rec.Result)
	}
	e.pauses.mu.Lock()
	defer e.pauses.mu.Unlock()
	if err != nil && !errors.Is(err, ErrNotFound) {
		e.opts.Logger.Warn("looking for a pause failed, will repeat", "definition", definition, "error", err)
		return l.pause
	}
	l.pause = p
	l.until = now().Add(e.opts.PauseCheck*3/4 + rand.N(e.opts.PauseCheck/4+1)) // not everybody at once
	return p
}

// mayStart tells whether a definition takes new executions. One that exists may
// be started again all the same: nothing starts by that.
func (e *Engine) mayStart(ctx context.Context, definition, id string) error {
	p := e.pausedNow(ctx, definition)
	if p == nil || !p.Starts {
		return nil
	}
	if _, err := e.store.Load(ctx, id, LoadHead); !errors.Is(err, ErrNotFound) {
		return nil // it exists; or the store says what is wrong when it is asked to create it
	}
	return &PausedError{*p}
}

// reserved says why an ID or a definition's name cannot be a user's, nil if it
// can.
func reserved(name string) error {
	if name == PauseDefinition || strings.HasPrefix(name, PauseDefinition+"/") {
		return fmt.Errorf("%w: the name %q is reserved for pauses", ErrInvalid, name)
	}
	return nil
}

// AwaitContinued returns once the unwinding of the execution's definition is not
// paused, which mostly is at once. While it is paused the execution is suspended
// and looks again from time to time. It is no operation: nothing of it is
// recorded, and an operation that follows and was recorded before is not held up.
// It is for layers that unwind, as package saga does.
func (c *Context) AwaitContinued() error {
	if c.Replaying() {
		return nil
	}
	w := &call{c: c, typ: OpContext}
	if err := w.enter(); err != nil {
		return err
	}
	defer w.end()
	a := c.a
	for {
		c.st.rest()
		p := a.eng.pausedNow(a.eng.hard, a.def.name)
		c.st.resume()
		if p == nil || !p.Unwinding {
			return nil
		}
		c.st.await(never, now().Add(p.lookAgain()))
	}
}

// The pauses between two looks of an execution that waits to unwind: each costs a
// claim and a suspension, so that they grow with the pause.
const (
	lookFirst = 30 * time.Second
	lookLast  = 5 * time.Minute
)

// lookAgain is after how long an execution looks whether the pause is over.
func (p *Pause) lookAgain() time.Duration {
	d := min(max(now().Sub(p.At)/20, lookFirst), lookLast)
	return d*3/4 + rand.N(d/2)
}
