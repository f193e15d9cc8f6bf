package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cancel asks an execution to stop: operations that have not started answer
// ErrCancelled from then on, the running step's context ends, and what the
// handler still has to do it does shielded. It returns when the request is
// durable, not when it is obeyed. The first request wins: a later one gets a
// *DeliveredError. ErrEnded when there is nothing to stop any more. A parked
// execution obeys once it has been resumed.
func (e *Engine) Cancel(ctx context.Context, id, actor, reason string) error {
	if err := needActor("cancel", actor, reason); err != nil {
		return err
	}
	err := e.deliver(ctx, &Delivery{ID: id, Key: "cancel", Kind: DeliverCancel, Actor: actor, Reason: reason})
	return e.explain(ctx, id, VerbCancel, err)
}

// Act delivers an operator's decision to a parked execution. revision is the
// Head.Revision on which it was decided: when the execution has moved on
// since, or somebody else has decided, nothing happens and the error is
// ErrRevision or ErrDelivered. A verb that the parked state does not offer is
// a *VerbError.
func (e *Engine) Act(ctx context.Context, id string, revision int64, d Decision) error {
	if err := needActor(string(d.Verb), d.Actor, d.Reason); err != nil {
		return err
	}
	rec, err := e.store.Load(ctx, id, LoadHead)
	if err != nil {
		return fmt.Errorf("%s %q: %w", d.Verb, id, err)
	}
	if err := d.check(&rec.Head); err != nil {
		var verb *VerbError
		if errors.As(err, &verb) && rec.Revision != revision {
			verb.Err = ErrRevision
		}
		return err
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s %q: output: %w", d.Verb, id, err)
	}
	err = e.deliver(ctx, &Delivery{
		ID: id, Key: "verb/" + strconv.FormatInt(revision, 10), Kind: DeliverVerb,
		Revision: revision, Payload: payload, Actor: d.Actor, Reason: d.Reason,
	})
	return e.explain(ctx, id, d.Verb, err)
}

// explain adds to the store's refusal of a verb what the state is now, and what
// is possible. Nothing is read unless it was refused.
func (e *Engine) explain(ctx context.Context, id string, verb Verb, err error) error {
	var why error
	switch {
	case errors.Is(err, ErrRevision):
		why = ErrRevision
	case errors.Is(err, ErrEnded):
		why = ErrEnded
	default:
		return err
	}
	rec, lost := e.store.Load(ctx, id, LoadHead)
	if lost != nil {
		return err // the refusal is what matters
	}
	refused := refuse(&rec.Head, verb)
	refused.Err = why
	return refused
}

func needActor(verb, actor, reason string) error {
	if strings.TrimSpace(actor) == "" || strings.TrimSpace(reason) == "" {
		return fmt.Errorf("%w: %s needs an actor and a reason: both become part of the history", ErrInvalid, verb)
	}
	return nil
}

// check tells whether the decision is possible on h.
func (d *Decision) check(h *Head) error {
	switch {
	case !slices.Contains(h.Verbs(), d.Verb), h.Status != StatusParked:
		return refuse(h, d.Verb)
	case d.Verb == VerbResolve && (len(d.Output) > 0) == d.NoEffect:
		return fmt.Errorf("%w: resolve states either the operation's output or that it had no effect", ErrInvalid)
	case len(d.Output) > 0 && !json.Valid(d.Output):
		return fmt.Errorf("%w: the output is not JSON: %.60q", ErrInvalid, d.Output)
	case d.Verb == VerbRetry && h.Park.Expired(now()) && !d.Force:
		return fmt.Errorf("%w: key %q is %v old and participants honour it for %v: resolve instead, or force the retry if you know that it is safe",
			ErrKeyExpired, h.Park.Key, h.Park.KeyAge(now()).Round(time.Second), h.Park.KeyLifetime)
	}
	return nil
}

// Verbs are the verbs that are possible on the execution as it is.
func (h *Head) Verbs() []Verb {
	switch {
	case h.Status.Ended():
		return nil
	case h.Status != StatusParked || h.Park == nil:
		return []Verb{VerbCancel, VerbTerminate}
	}
	verbs := slices.Clone(h.Park.Verbs)
	if h.mayUnwind() && !slices.Contains(verbs, VerbUnwind) {
		verbs = append(verbs, VerbUnwind)
	}
	return append(verbs, VerbAbandon)
}

func refuse(h *Head, verb Verb) *VerbError {
	state := h.Status.String()
	if h.Status == StatusParked && h.Park != nil {
		state += ": " + string(h.Park.Reason)
	}
	return &VerbError{ID: h.ID, Verb: verb, State: state, Revision: h.Revision, Possible: h.Verbs()}
}

// mayUnwind tells whether the engine parked a saga of which nobody has said yet
// that it goes only forward. Its pivot would not be undone even if it had begun.
func (h *Head) mayUnwind() bool {
	bug := h.Park.Reason == ParkNondeterminism || h.Park.Reason == ParkPanic || h.Park.Reason == ParkCrashLoop || h.Park.Reason == ParkNoTime
	return bug && strings.HasPrefix(h.Fingerprint, SagaFingerprint) && strings.HasPrefix(h.Detail, "running/")
}

// KeyAge is how long ago the parked operation's key was first used.
func (p *Park) KeyAge(at time.Time) time.Duration {
	if p.Since.IsZero() {
		return 0
	}
	return at.Sub(p.Since)
}

// Expired tells whether the parked operation's key is past its lifetime.
func (p *Park) Expired(at time.Time) bool {
	return p.KeyLifetime > 0 && p.KeyAge(at) > p.KeyLifetime
}

// VerbError says that a verb is not possible, what the state is, and what is
// possible. It is ErrVerb, and what Err is: ErrRevision when the execution has
// moved on since the revision that was named, ErrEnded when it has ended.
type VerbError struct {
	ID       string
	Verb     Verb
	State    string
	Revision int64 // as it is now
	Possible []Verb
	Err      error // ErrRevision, ErrEnded or nil
}

func (e *VerbError) Error() string {
	possible := "nothing"
	if len(e.Possible) > 0 {
		possible = strings.Trim(fmt.Sprint(e.Possible), "[]")
	}
	msg := fmt.Sprintf("durable: cannot %s %q, which is %s: possible is %s", e.Verb, e.ID, e.State, possible)
	if e.Err == ErrRevision {
		msg += fmt.Sprintf(" (it has moved on, to revision %d: look again)", e.Revision)
	}
	return msg
}

func (e *VerbError) Unwrap() error { return e.Err }

// Is reports that every VerbError is ErrVerb.
func (e *VerbError) Is(target error) bool { return target == ErrVerb }

// deliver brings something to an execution and wakes whoever serves it here.
func (e *Engine) deliver(ctx context.Context, d *Delivery) error {
	d.Nonce, d.Now = e.nonce(), now()
	if d.Actor != "" {
		d.Nonce += " " + d.Actor
	}
	if d.Kind != DeliverVerb {
		d.Revision = -1
	}
	err := e.insist(ctx, func(ctx context.Context) error { return e.store.Deliver(ctx, d) })
	if err != nil {
		var lost *DeliveredError
		if errors.As(err, &lost) {
			return err
		}
		return fmt.Errorf("deliver %s to %q: %w", d.Key, d.ID, err)
	}
	e.mu.Lock()
	a := e.active[d.ID]
	e.mu.Unlock()
	if a != nil {
		a.checkInbox()
		return nil
	}
	e.kick(now())
	return nil
}
