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
	return e.deliver(ctx, &Delivery{ID: id, Key: "cancel", Kind: DeliverCancel, Actor: actor, Reason: reason})
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
		return err
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s %q: output: %w", d.Verb, id, err)
	}
	return e.deliver(ctx, &Delivery{
		ID: id, Key: "verb/" + strconv.FormatInt(revision, 10), Kind: DeliverVerb,
		Revision: revision, Payload: payload, Actor: d.Actor, Reason: d.Reason,
	})
}

func needActor(verb, actor, reason string) error {
	if strings.TrimSpace(actor) == "" || strings.TrimSpace(reason) == "" {
		return fmt.Errorf("%w: %s needs an actor and a reason: both become part of the history", ErrInvalid, verb)
	}
	return nil
}

// check tells whether the decision is possible on h.
func (d *Decision) check(h *Head) error {
	if h.Status != StatusParked || h.Park == nil {
		possible := []Verb{"cancel", "terminate"}
		if h.Status.Ended() {
			possible = nil
		}
		return &VerbError{ID: h.ID, Verb: d.Verb, State: h.Status.String(), Possible: possible}
	}
	switch {
	case d.Verb == VerbAbandon:
	case d.Verb == VerbUnwind && h.mayUnwind():
	case !slices.Contains(h.Park.Verbs, d.Verb):
		return &VerbError{ID: h.ID, Verb: d.Verb, State: "parked: " + string(h.Park.Reason), Possible: append(slices.Clone(h.Park.Verbs), VerbAbandon)}
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

// mayUnwind tells whether the engine parked a saga of which nobody has said yet
// that it goes only forward. Its pivot would not be undone even if it had begun.
func (h *Head) mayUnwind() bool {
	bug := h.Park.Reason == ParkNondeterminism || h.Park.Reason == ParkPanic || h.Park.Reason == ParkCrashLoop
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
// possible. It is ErrVerb.
type VerbError struct {
	ID       string
	Verb     Verb
	State    string
	Possible []Verb
}

func (e *VerbError) Error() string {
	possible := "nothing"
	if len(e.Possible) > 0 {
		possible = strings.Trim(fmt.Sprint(e.Possible), "[]")
	}
	return fmt.Sprintf("durable: cannot %s %q, which is %s: possible is %s", e.Verb, e.ID, e.State, possible)
}

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
