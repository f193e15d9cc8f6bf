package durable

import (
	"errors"
	"fmt"
)

// Errors to branch on with errors.Is. Stores return the first group.
var (
	// ErrNotFound: no execution has this ID.
	ErrNotFound = errors.New("durable: no such execution")
	// ErrExists: the ID is taken; from Start, by an execution with other input.
	ErrExists = errors.New("durable: execution exists")
	// ErrFenced: the record was claimed by someone else meanwhile, or the
	// commit is not the next one of its claim. Nothing was changed.
	ErrFenced = errors.New("durable: fenced: the claim is no longer held")
	// ErrUnseen: a conditional commit met deliveries that its owner has not
	// seen. Nothing was changed; the receipt has them.
	ErrUnseen = errors.New("durable: deliveries not yet seen")
	// ErrNotDue: the record cannot be claimed now.
	ErrNotDue = errors.New("durable: execution is not due")
	// ErrEnded: the execution has ended and accepts nothing.
	ErrEnded = errors.New("durable: execution has ended")
	// ErrNotEnded: only ended executions can be deleted.
	ErrNotEnded = errors.New("durable: execution has not ended")
	// ErrDelivered: another delivery by the same key came first. The error is
	// a *DeliveredError, which names it.
	ErrDelivered = errors.New("durable: already delivered")
	// ErrNotOpen: no callback by this key accepts a result.
	ErrNotOpen = errors.New("durable: callback is not open")
	// ErrRevision: the execution is not parked at the revision on which the
	// verb was decided.
	ErrRevision = errors.New("durable: execution moved on since")
	// ErrInboxFull: too many deliveries wait unseen; try again later.
	ErrInboxFull = errors.New("durable: inbox is full")
	// ErrStoreBroken: the store cannot serve at all until a person mends it
	// (wrong schema, corrupt or foreign file, read-only or full disk). The
	// error around it names the thing and the remedy.
	ErrStoreBroken = errors.New("durable: store needs repair")
)

// Errors that operations return to the handler.
var (
	// ErrCancelled: the execution was asked to stop; the operation did not
	// run, or did not go on. The error is a *CancelledError.
	ErrCancelled = errors.New("durable: execution cancelled")
	// ErrTimedOut: the execution's own deadline has passed. Is also ErrCancelled.
	ErrTimedOut = errors.New("durable: execution timed out")
	// ErrSuspended: the activation has ended; an operation that a deferred
	// function calls now is inert and records nothing.
	ErrSuspended = errors.New("durable: activation is over, operation ignored")
	// ErrBranchStopped is the context's cause in a body whose branch is not
	// needed any more, because what it belongs to has been decided without it.
	ErrBranchStopped = errors.New("durable: branch stopped: its outcome is not needed")
	// ErrNested: an operation was called with a handle that is busy, as from
	// inside a step's body. Use the context that the function was given.
	ErrNested = errors.New("durable: operation inside an operation: the handle is in use")
	// ErrHostGone is the context's cause in a body whose host is shutting down
	// or has lost the execution: nobody here counts on its result any more.
	ErrHostGone = errors.New("durable: this host has given the execution up")
	// ErrAttemptTimeout: the attempt did not return in time; its outcome is unknown.
	ErrAttemptTimeout = errors.New("durable: attempt timed out")
	// ErrAttemptLost: the attempt's process died; its outcome is unknown.
	ErrAttemptLost = errors.New("durable: attempt lost with its process")
	// ErrConditionNotMet: the policy of a WaitForCondition allows no further poll.
	ErrConditionNotMet = errors.New("durable: the condition was not met in as many polls as there may be")
	// ErrSignalTimeout: no signal by the name came in time.
	ErrSignalTimeout = errors.New("durable: no signal in time")
	// ErrInvokeTimeout: the invoked execution did not end in time.
	ErrInvokeTimeout = errors.New("durable: invoked execution timed out")
	// ErrInvokeStopped: the invoked execution was cancelled or terminated.
	ErrInvokeStopped = errors.New("durable: invoked execution was stopped")
	// ErrKeyExpired: the idempotency key is older than its lifetime, so that
	// the step may not be repeated under it.
	ErrKeyExpired = errors.New("durable: idempotency key expired")
	// ErrResolvedNoEffect: an operator stated that the operation had no effect.
	ErrResolvedNoEffect = errors.New("durable: resolved by an operator: no effect")
	// ErrCallbackTimeout: nobody completed the callback in time.
	ErrCallbackTimeout = errors.New("durable: callback timed out")
	// ErrCallbackHeartbeat: nobody sent a heartbeat for the callback in time.
	ErrCallbackHeartbeat = errors.New("durable: callback timed out for want of a heartbeat")
	// ErrNoneSucceeded: all futures of an Any have failed. The error around it
	// has their errors too.
	ErrNoneSucceeded = errors.New("durable: none succeeded")
	// ErrTooLarge: a payload is over Options.MaxPayload.
	ErrTooLarge = errors.New("durable: payload too large")
	// ErrTooManyOperations: the execution is over Options.MaxOperations.
	ErrTooManyOperations = errors.New("durable: too many operations in one execution")
	// ErrTooManyCallbacks: the execution has MaxOpenCallbacks open.
	ErrTooManyCallbacks = errors.New("durable: too many open callbacks")
	// ErrInvalid: an argument is out of range; the error names it.
	ErrInvalid = errors.New("durable: invalid argument")
)

// Errors that the engine returns to callers.
var (
	// ErrParked: the execution waits for a person. The error is a *ParkedError.
	ErrParked = errors.New("durable: execution is parked")
	// ErrTerminated: the execution was ended without its code, by Terminate or
	// the verb abandon. The error around it is a *TerminatedError's stored form.
	ErrTerminated = errors.New("durable: execution terminated")
	// ErrRerun: the execution may not be re-run; the error says why.
	ErrRerun = errors.New("durable: cannot be re-run")
	// ErrPaused: an operator has paused starts of the definition. The error is a
	// *PausedError, which names who, and why.
	ErrPaused = errors.New("durable: definition is paused")
	// ErrUnknownDefinition: the definition is not registered with this engine.
	ErrUnknownDefinition = errors.New("durable: definition not registered")
	// ErrStillRunning: code that a Session has started did not return in time.
	ErrStillRunning = errors.New("durable: code still runs although its time is over: end the process")
	// ErrVerb: the verb is not possible on this execution now; the error says
	// what is.
	ErrVerb = errors.New("durable: verb not possible")
)

// DeliveredError tells which delivery won a key. It is ErrDelivered.
type DeliveredError struct {
	Key    string
	Winner string // the winner's Nonce
}

func (e *DeliveredError) Error() string {
	return fmt.Sprintf("durable: %q was already delivered, by %s", e.Key, e.Winner)
}

// Is reports that every DeliveredError is ErrDelivered.
func (e *DeliveredError) Is(target error) bool { return target == ErrDelivered }
