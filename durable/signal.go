package durable

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Receive returns the value of the next signal by this name, and waits for it
// durably: at most for timeout, then the error is ErrSignalTimeout; 0 is without
// bound. Signals are received in the order in which they arrived, each once,
// also those that came before anybody asked. What nobody receives is lost at
// the end of the execution. On a replay it returns the same. A value that does
// not decode into a T is a *SignalError, and received. ErrCancelled once the
// execution was asked to stop; ErrInvalid on a negative timeout.
func Receive[T any](ctx *Context, name string, timeout time.Duration) (T, error) {
	var zero T
	if timeout < 0 {
		return zero, Permanent(fmt.Errorf("%w: signal %q has timeout %v", ErrInvalid, name, timeout))
	}
	k, err := ctx.begin(OpSignal, "", name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	if err := k.receive(timeout); err != nil {
		return zero, err
	}
	v, err := decodeValue[T](k.op.payload)
	if err != nil { // somebody outside sent it, so it is no bug of this code
		return zero, &SignalError{Signal: name, Err: err}
	}
	return v, nil
}

// SignalError says that a signal's value is not what the code expects.
type SignalError struct {
	Signal string
	Err    error
}

func (e *SignalError) Error() string { return fmt.Sprintf("signal %q: %v", e.Signal, e.Err) }
func (e *SignalError) Unwrap() error { return e.Err }

// receive waits until the operation has ended.
func (k *call) receive(timeout time.Duration) error {
	a := k.c.a
	for {
		a.mu.Lock()
		waits := k.tryReceive(timeout)
		a.mu.Unlock()
		if !waits {
			break
		}
		k.c.st.await(func() bool {
			return k.op.done || !k.op.leaving && (len(a.journal.signals[k.name]) > 0 || k.c.reached() != nil)
		}, time.Time{})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch k.op.end {
	case EntryCancel:
		return a.stopped(k.op)
	case EntryTimeout:
		return fmt.Errorf("signal %q: %w", k.name, ErrSignalTimeout)
	}
	return nil
}

// tryReceive takes the next signal, and tells whether there is none to be
// waited for. a.mu is held.
func (k *call) tryReceive(timeout time.Duration) (waits bool) {
	waiting := k.c.a.journal.signals[k.name]
	switch {
	case k.op != nil && k.op.done:
	case k.op != nil && k.op.leaving: // its timeout is on its way
		return true
	case k.c.reached() != nil:
		e := k.entry(EntryCancel)
		e.NoEffect = true
		k.record(e)
	case len(waiting) > 0:
		e := k.entry(EntryResult)
		e.Delivery = waiting[0].Delivery
		k.record(e)
	case k.op == nil:
		e := k.entry(EntryStart)
		e.Timeout = timeout
		k.record(e)
		return true
	default:
		return true
	}
	return false
}

// takeSignal takes a signal off those that wait, and returns its value.
func (j *journal) takeSignal(name string, delivery int64) []byte {
	waiting := j.signals[name]
	i := slices.IndexFunc(waiting, func(e *Entry) bool { return e.Delivery == delivery })
	if i < 0 {
		return nil
	}
	payload := waiting[i].Payload
	j.signals[name] = slices.Delete(waiting, i, i+1)
	return payload
}

// leftover returns the signals that nobody has received, in order of arrival.
func (j *journal) leftover() (all []Entry) {
	for _, waiting := range j.signals {
		for _, e := range waiting {
			all = append(all, *e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return int(a.Delivery - b.Delivery) })
	return all
}

// Signal sends a value to an execution, for Receive by the same name. When it
// returns nil the signal is durable: the execution will get it, if it asks
// before it ends. signalID tells signals apart: one that was sent under the same
// name and ID before is not sent again, and the error is nil; "" is a signal of
// its own. ErrEnded when the execution has ended, ErrNotFound when there is
// none, ErrInboxFull when MaxInbox deliveries wait unseen: try again later.
func (e *Engine) Signal(ctx context.Context, id, name string, value any, signalID string) error {
	if name == "" || len(name) > MaxNameLength || len(signalID) > MaxNameLength {
		return fmt.Errorf("%w: signal %.40q with ID %.40q: a name has 1 to %d bytes, an ID at most so many", ErrInvalid, name, signalID, MaxNameLength)
	}
	payload, err := encodeValue(value, e.opts.MaxPayload)
	if err != nil {
		return fmt.Errorf("signal %q: %w", name, err)
	}
	nonce := e.nonce()
	if signalID == "" {
		signalID = "@" + nonce
	}
	err = e.deliver(ctx, &Delivery{ID: id, Key: signalKey + escape(name) + "/" + signalID, Kind: DeliverSignal, Payload: payload})
	if errors.Is(err, ErrDelivered) {
		return nil
	}
	return err
}

// signalKey is what the keys of signals begin with, before name and ID.
const signalKey = "signal/"

// signalName is the name in a signal's key.
func signalName(key string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, signalKey), "/")
	return unescape(name)
}

// unescape is the reverse of escape.
func unescape(name string) string {
	if name == "%75ndo" {
		return "undo"
	}
	return strings.NewReplacer("%25", "%", "%2F", "/", "%23", "#").Replace(name)
}
