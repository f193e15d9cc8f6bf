package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Error is the stored form of an error: what a replay, another process or a
// history gets to see of it. Operations return it on the first run too, so
// that code branches the same way ever after. errors.As finds the original
// type behind it when that type was registered with RegisterError.
type Error struct {
	Type    string `json:"type"`           // Go type of the error that was returned
	Code    string `json:"code,omitempty"` // under which its type is registered
	Message string `json:"message"`
	Data    []byte `json:"data,omitempty"` // JSON of a registered error
}

func (e *Error) Error() string { return e.Message }

// ErrorType is what histories and telemetry call the error: the code under
// which its type is registered, or else its Go type. There are few of them.
func (e *Error) ErrorType() string {
	switch e.Code {
	case "":
		return e.Type
	case "clew/callback-timeout":
		return "Callback.Timeout"
	case "clew/callback-heartbeat":
		return "Callback.Heartbeat"
	case "clew/invoke-timeout":
		return "Invoke.Timeout"
	case "clew/invoke-stopped":
		return "Invoke.Stopped"
	}
	return e.Code
}

// Unwrap returns the registered error that was stored, or nil.
func (e *Error) Unwrap() error {
	if e.Code == "" {
		return nil
	}
	if own := ownErrors[e.Code]; own != nil {
		return own
	}
	registry.Lock()
	kind, ok := registry.kinds[e.Code]
	registry.Unlock()
	if !ok {
		return nil
	}
	return kind.decode(e.Data)
}

// ownErrors are this package's errors that can end up stored; errors.Is finds
// them behind their stored form.
var ownErrors = map[string]error{
	"clew/attempt-timeout":     ErrAttemptTimeout,
	"clew/attempt-lost":        ErrAttemptLost,
	"clew/key-expired":         ErrKeyExpired,
	"clew/resolved-no-effect":  ErrResolvedNoEffect,
	"clew/callback-timeout":    ErrCallbackTimeout,
	"clew/callback-heartbeat":  ErrCallbackHeartbeat,
	"clew/nested":              ErrNested,
	"clew/none-succeeded":      ErrNoneSucceeded,
	"clew/too-large":           ErrTooLarge,
	"clew/too-many-operations": ErrTooManyOperations,
	"clew/too-many-callbacks":  ErrTooManyCallbacks,
	"clew/invalid":             ErrInvalid,
	"clew/condition-not-met":   ErrConditionNotMet,
	"clew/signal-timeout":      ErrSignalTimeout,
	"clew/invoke-timeout":      ErrInvokeTimeout,
	"clew/invoke-stopped":      ErrInvokeStopped,
}

// errorKind is a registered error type, its type parameter erased.
type errorKind struct {
	encode func(error) ([]byte, bool)
	decode func([]byte) error
}

var registry = struct {
	sync.Mutex
	kinds map[string]errorKind
	codes []string // in order of registration, so that matching is repeatable
}{kinds: map[string]errorKind{}}

// RegisterError lets errors of type E survive storage: an operation that
// fails with one returns, now and on replay, an error in which errors.As
// finds an equal E. E is stored as JSON under code, which must stay the same
// between builds. Call it from an init function or a package variable; a code
// that is taken panics there.
func RegisterError[E error](code string) {
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.kinds[code]; taken || code == "" || strings.HasPrefix(code, "clew/") {
		panic(fmt.Sprintf("durable: RegisterError: code %q is empty, reserved or taken", code))
	}
	registry.codes = append(registry.codes, code)
	registry.kinds[code] = errorKind{
		encode: func(err error) ([]byte, bool) {
			var e E
			if !errors.As(err, &e) {
				return nil, false
			}
			data, jsonErr := json.Marshal(e)
			return data, jsonErr == nil
		},
		decode: func(data []byte) error {
			var e E
			if json.Unmarshal(data, &e) != nil {
				return nil
			}
			return e
		},
	}
}

// toStored returns the stored form of err; nil for nil.
func toStored(err error) *Error {
	if err == nil {
		return nil
	}
	if already, ok := err.(*Error); ok {
		return already
	}
	if cb, ok := err.(*CallbackError); ok { // what somebody outside said is passed on as it was
		return toStored(cb.Err)
	}
	s := &Error{Type: typeName(err), Message: err.Error()}
	var inner *Error
	if errors.As(err, &inner) && inner.Code != "" {
		s.Code, s.Data = inner.Code, inner.Data
		return s
	}
	registry.Lock()
	defer registry.Unlock()
	for code, own := range ownErrors {
		if errors.Is(err, own) {
			s.Code = code
		}
	}
	for _, code := range registry.codes {
		if data, ok := registry.kinds[code].encode(err); ok {
			s.Code, s.Data = code, data
			break
		}
	}
	return s
}

// typeName names the first error in the chain that is more than a wrapper.
func typeName(err error) string {
	for {
		switch e := err.(type) {
		case *Error:
			return e.Type
		case *steered, *StepError, *ChildError, *InvokeError, *CallbackError:
		default:
			name := fmt.Sprintf("%T", err)
			if name != "*fmt.wrapError" && name != "*fmt.wrapErrors" {
				return name
			}
		}
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}

// steered is an error with an instruction for the retry policy.
type steered struct {
	err       error
	permanent bool
	noEffect  bool
	after     time.Duration
	hasAfter  bool
}

func (s *steered) Error() string { return s.err.Error() }
func (s *steered) Unwrap() error { return s.err }

// Permanent marks err so that its step is not tried again. It proves nothing
// about the effect of the attempt: see NoEffect. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &steered{err: err, permanent: true}
}

// RetryAfter marks err so that the next attempt, if the policy allows one,
// starts after d instead of the policy's delay. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &steered{err: err, after: max(d, 0), hasAfter: true}
}

// NoEffect marks err as proof that this attempt had no effect and never will,
// and stops retrying as Permanent does. It says nothing about the attempts
// before. NoEffect(nil) is nil.
func NoEffect(err error) error {
	if err == nil {
		return nil
	}
	return &steered{err: err, permanent: true, noEffect: true}
}

// NoEffectYet marks err as proof that this attempt had no effect and never will,
// as NoEffect does, and leaves it to the policy whether another follows.
// NoEffectYet(nil) is nil.
func NoEffectYet(err error) error {
	if err == nil {
		return nil
	}
	return &steered{err: err, noEffect: true}
}

// steering collects the instructions in err's tree; the outermost delay wins.
// Of joined errors one that is permanent stops retrying, but only all of them
// together prove that there was no effect.
func steering(err error) (s steered) {
	switch e := err.(type) {
	case nil:
		return s
	case *steered:
		s = steering(e.err)
		s.permanent, s.noEffect = s.permanent || e.permanent, s.noEffect || e.noEffect
		if e.hasAfter {
			s.after, s.hasAfter = e.after, true
		}
	case interface{ Unwrap() error }:
		return steering(e.Unwrap())
	case interface{ Unwrap() []error }:
		for i, branch := range e.Unwrap() {
			b := steering(branch)
			s.permanent = s.permanent || b.permanent
			s.noEffect = b.noEffect && (s.noEffect || i == 0)
			if b.hasAfter && !s.hasAfter {
				s.after, s.hasAfter = b.after, true
			}
		}
	}
	return s
}

// StepError says that a step failed for good. Err is the stored form of what
// the last attempt returned, or ErrAttemptTimeout, ErrAttemptLost or
// ErrKeyExpired.
type StepError struct {
	Step     string
	Attempts int
	Err      error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("step %q failed after %d attempt(s): %v", e.Step, e.Attempts, e.Err)
}
func (e *StepError) Unwrap() error { return e.Err }

// ChildError says that a child context's function returned an error.
type ChildError struct {
	Child string
	Err   error
}

func (e *ChildError) Error() string { return fmt.Sprintf("child %q: %v", e.Child, e.Err) }
func (e *ChildError) Unwrap() error { return e.Err }

// CallbackError says that a callback was failed from outside or timed out
// (then it is ErrCallbackTimeout).
type CallbackError struct {
	Callback string
	Err      error
}

func (e *CallbackError) Error() string { return fmt.Sprintf("callback %q: %v", e.Callback, e.Err) }
func (e *CallbackError) Unwrap() error { return e.Err }

// CancelledError is returned by operations that did not run, or did not go
// on, because the execution was asked to stop. It is ErrCancelled, and also
// ErrTimedOut when it was the execution's own deadline that asked.
type CancelledError struct {
	TimedOut      bool
	Actor, Reason string
}

func (e *CancelledError) Error() string {
	if e.TimedOut {
		return ErrTimedOut.Error()
	}
	return fmt.Sprintf("%v, by %q: %s", ErrCancelled, e.Actor, e.Reason)
}

// Is matches ErrCancelled, and ErrTimedOut if the deadline was the cause.
func (e *CancelledError) Is(target error) bool {
	return target == ErrCancelled || target == ErrTimedOut && e.TimedOut
}

// ParkedError is returned while waiting for an execution that waits for a
// person. Wait again after the person has acted.
type ParkedError struct {
	ID   string
	Park Park
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("durable: execution %q is parked (%s): %s", e.ID, e.Park.Reason, e.Park.Message)
}

// Is reports that every ParkedError is ErrParked.
func (e *ParkedError) Is(target error) bool { return target == ErrParked }

// ExistsError says that an ID is taken by an execution with other input. It
// is ErrExists, and shows digests, never values.
type ExistsError struct {
	ID         string
	Have, Want string // hex digests of the stored and of the given input
	Definition string // of the execution that has the ID
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("%v: %q (definition %s) was started with input %.12s…, not %.12s…: start under another ID, or with the same definition and input",
		ErrExists, e.ID, e.Definition, e.Have, e.Want)
}

// Is reports that every ExistsError is ErrExists.
func (e *ExistsError) Is(target error) bool { return target == ErrExists }

// NondeterminismError says that the code asked for another operation than the
// journal has in that place. The execution is parked with it; deploy code
// that agrees with the journal, then resume.
type NondeterminismError struct {
	Place     string // path of the parent context and position in it
	Have      string // what the journal has
	Want      string // what the code asked for
	Execution string
}

func (e *NondeterminismError) Error() string {
	return fmt.Sprintf("durable: nondeterminism in execution %q at %s: the journal has %s, the code asks for %s",
		e.Execution, e.Place, e.Have, e.Want)
}
