package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Terminate ends an execution without a word to its code: nothing is undone,
// nothing is run any more, steps that run now have their contexts ended and
// what they still do is not recorded. It is for what cannot be stopped by
// Cancel, and leaves effects as they stand. On a parked execution it is the verb
// abandon, and ErrRevision if it moves on meanwhile. It returns when the request
// is durable, not when it is obeyed; one that parks at that very moment wants to
// be terminated again. ErrEnded when there is nothing to end any more; the first
// request wins, and a later one gets a *DeliveredError.
func (e *Engine) Terminate(ctx context.Context, id, actor, reason string) error {
	if err := needActor("terminate", actor, reason); err != nil {
		return err
	}
	rec, err := e.store.Load(ctx, id, LoadHead)
	if err != nil {
		return fmt.Errorf("terminate %q: %w", id, err)
	}
	if rec.Status == StatusParked {
		return e.Act(ctx, id, rec.Revision, Decision{Verb: VerbAbandon, Actor: actor, Reason: reason})
	}
	return e.requestEnd(ctx, id, actor, reason)
}

// terminateAs is Terminate of what is still as it was when that was decided: not
// parked, and if it is a saga, on both axes where it was. What may have become of it
// since a person has not seen: it may have passed its pivot, or have begun to unwind.
func (e *Engine) terminateAs(ctx context.Context, was *Head, d Decision) error {
	rec, err := e.store.Load(ctx, was.ID, LoadHead)
	if err != nil {
		return fmt.Errorf("terminate %q: %w", was.ID, err)
	}
	moved := rec.Status == StatusParked || strings.HasPrefix(rec.Fingerprint, SagaFingerprint) && rec.Detail != was.Detail
	if moved && !rec.Status.Ended() {
		refused := refuse(&rec.Head, VerbTerminate)
		refused.Err = ErrRevision
		return refused
	}
	return e.requestEnd(ctx, was.ID, d.Actor, d.Reason)
}

// requestEnd asks whoever runs an execution to end it.
func (e *Engine) requestEnd(ctx context.Context, id, actor, reason string) error {
	err := e.deliver(ctx, &Delivery{ID: id, Key: terminateKey, Kind: DeliverCancel, Actor: actor, Reason: reason})
	return e.explain(ctx, id, VerbTerminate, err)
}

const terminateKey = "terminate"

// abandons tells whether a verb's entry ends the execution.
func abandons(e *Entry) bool {
	var d Decision
	return json.Unmarshal(e.Payload, &d) == nil && d.Verb == VerbAbandon
}

// isTerminated tells whether the execution is to end without its code.
func (a *activation) isTerminated() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal.terminated != nil && a.halted == nil
}

// terminate ends the execution. None of its code runs any more.
func (a *activation) terminate() {
	a.mu.Lock()
	why := a.journal.terminated
	if a.def.terminated != nil {
		a.detail = a.def.terminated(a.detail)
	}
	a.mu.Unlock()
	failure := toStored(&TerminatedError{Actor: why.Actor, Reason: why.Reason})
	a.freeInvoked(nil)
	for errors.Is(a.end(write{ifSeen: true, status: StatusTerminated, err: failure}), ErrUnseen) {
	}
}

// TerminatedError is how an execution ends that was terminated or abandoned.
// It is ErrTerminated.
type TerminatedError struct{ Actor, Reason string }

func (e *TerminatedError) Error() string {
	return fmt.Sprintf("%v, by %q: %s", ErrTerminated, e.Actor, e.Reason)
}

// Is reports that every TerminatedError is ErrTerminated.
func (e *TerminatedError) Is(target error) bool { return target == ErrTerminated }
