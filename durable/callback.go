package durable

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxOpenCallbacks bounds the callbacks and invocations of one execution that
// wait for a result.
const MaxOpenCallbacks = 500

// Callback is a promise that somebody outside completes, once.
type Callback[T any] struct {
	k  *call
	id string
}

// CallbackOption sets how a callback behaves.
type CallbackOption func(*callbackOptions)

type callbackOptions struct {
	timeout, heartbeat time.Duration
	submitter          []StepOption
	reminder           *reminder
	report             *StepReport
}

// WithCallbackTimeout makes the callback fail with ErrCallbackTimeout when
// nobody has completed it after d. A result that the store accepted first
// wins, whatever the clocks say.
func WithCallbackTimeout(d time.Duration) CallbackOption {
	return func(o *callbackOptions) { o.timeout = d }
}

// WithHeartbeatTimeout makes the callback fail with ErrCallbackHeartbeat when
// for d nobody has sent a heartbeat (Engine.HeartbeatCallback) or completed
// it, counted from its creation or the last heartbeat. Each d without an end
// of the callback costs the execution an activation, two writes and a read.
func WithHeartbeatTimeout(d time.Duration) CallbackOption {
	return func(o *callbackOptions) { o.heartbeat = d }
}

// CreateCallback opens a callback and returns at once. Its ID, which nobody
// can guess, is stable on replays; hand it out in a step, before whose body
// the callback is durable. It accepts one result, by
// Engine.CompleteCallback or Engine.FailCallback, from then on until it is
// completed, times out, or the execution ends.
func CreateCallback[T any](ctx *Context, name string, opts ...CallbackOption) (*Callback[T], error) {
	var o callbackOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.timeout < 0 || o.heartbeat < 0 {
		return nil, Permanent(fmt.Errorf("%w: callback %q has timeout %v and heartbeat timeout %v", ErrInvalid, name, o.timeout, o.heartbeat))
	}
	k, err := ctx.begin(OpCallback, "", name, 0)
	if err != nil {
		return nil, err
	}
	defer k.end()
	a := ctx.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case k.op != nil && k.op.end == EntryCancel && k.op.key == "":
		return nil, a.stopped(k.op)
	case k.op != nil && k.op.key == "":
		return nil, Permanent(k.op.err) // there was no room for it
	case k.op != nil:
	case ctx.reached() != nil:
		k.recordCancelled()
		return nil, a.stopped(k.op)
	case a.journal.open >= MaxOpenCallbacks:
		return nil, k.tooMany()
	default:
		e := k.entry(EntryStart)
		e.Timeout, e.Heartbeat = o.timeout, o.heartbeat
		e.Payload = []byte(fmt.Sprintf("cb%d-%s", e.Op, rand.Text()))
		k.record(e)
		a.open = append(a.open, k.op.key)
	}
	return &Callback[T]{k: k, id: callbackID(a.id.ID, k.op.key)}, nil
}

// tooMany records that there is no room for one more that a delivery would end.
// a.mu is held.
func (k *call) tooMany() error {
	e := k.entry(EntryFailure)
	e.Error = toStored(fmt.Errorf("%w: %d are open already, %q would be one more", ErrTooManyCallbacks, MaxOpenCallbacks, k.name))
	k.record(e)
	return Permanent(k.op.err)
}

// SubtypeCallback marks the contexts of WaitForCallback.
const SubtypeCallback = "WaitForCallback"

// WithSubmitter sets how the submitter of a WaitForCallback runs: its retries,
// its timeout.
func WithSubmitter(opts ...StepOption) CallbackOption {
	return func(o *callbackOptions) { o.submitter = append(o.submitter, opts...) }
}

// WithCallbackReport fills r when a WaitForCallback returns, also when it fails:
// with what the journal knows of it as a whole.
func WithCallbackReport(r *StepReport) CallbackOption {
	return func(o *callbackOptions) { o.report = r }
}

// SubmitterName is the name of the step in which a WaitForCallback hands its
// callback's ID out.
const SubmitterName = "submitter"

// WaitForCallback opens a callback, hands its ID out by submit, which runs as a
// step with its retries, and waits for the result: what CreateCallback, Step and
// Result do in a context of their own. A callback that was failed, or timed out,
// returns a *CallbackError; a submitter that failed for good its *StepError, and
// the callback is closed. It returns the same on every replay; ErrCancelled once
// the execution was asked to stop.
func WaitForCallback[T any](ctx *Context, name string, submit func(ctx context.Context, callbackID string) error, opts ...CallbackOption) (T, error) {
	var o callbackOptions
	for _, opt := range opts {
		opt(&o)
	}
	var zero T
	if r := o.reminder; r != nil && (r.every <= 0 || r.remind == nil) {
		return zero, Permanent(fmt.Errorf("%w: callback %q has reminders every %v, and no func or no time for them", ErrInvalid, name, r.every))
	}
	k, err := ctx.begin(OpContext, SubtypeCallback, name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	k.open()
	v, err := runContext(k, nil, func(ctx *Context) (T, error) {
		cb, err := CreateCallback[T](ctx, "callback", opts...)
		if err != nil {
			return zero, err
		}
		_, err = Step(ctx, SubmitterName, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, submit(ctx, cb.ID())
		}, o.submitter...)
		if err != nil {
			return zero, err
		}
		if r := o.reminder; r != nil { // given up with this context
			Go(ctx, "reminders", func(ctx *Context) (struct{}, error) { return r.run(ctx, cb.ID(), o.timeout) })
		}
		return cb.Result(ctx)
	})
	k.reportCallback(o.report)
	if failed, ok := err.(*ChildError); ok {
		err = k.whoFailed(failed.Err)
	}
	return v, err
}

// reportCallback is reportContext, but for a submitter that has not handed the ID
// out, of which more is known.
func (k *call) reportCallback(r *StepReport) {
	k.reportContext(r)
	submitter := k.submitter()
	switch {
	case r == nil || submitter != nil && submitter.end == EntryResult:
		return
	case submitter != nil:
		r.Attempts, r.Unknown = submitter.attempt, submitter.unknown
		r.Rejected = submitter.end == EntryFailure && submitter.rejected
	}
	r.InDoubt = r.InDoubt && !submitter.unasked()
}

// unasked tells of a submitter, nil if it never came to its start, whether it is
// proven that the callback's ID was not handed out.
func (op *operation) unasked() bool {
	return op == nil || op.end != EntryResult && !op.doubt && !op.running
}

// submitter is the step that hands the callback's ID out, nil before it starts.
func (k *call) submitter() *operation {
	k.c.a.mu.Lock()
	defer k.c.a.mu.Unlock()
	return k.c.a.journal.byID[opID{scopeID{parent: k.op.num}, 2}]
}

// whoFailed tells the failure of a submitter from that of its callback.
func (k *call) whoFailed(err error) error {
	if submitter := k.submitter(); submitter != nil && (submitter.end == EntryFailure || submitter.end == EntryTimeout || submitter.end == EntryLost) {
		return &StepError{Step: k.name, Attempts: submitter.attempt, Err: err}
	}
	return &CallbackError{Callback: k.name, Err: err}
}

// ID returns what somebody outside needs to complete the callback.
func (c *Callback[T]) ID() string { return c.id }

// Result waits, durably, until the callback is completed, and returns its
// result: the same one on every replay. ctx is the handle of the code that
// waits. A callback that was failed, or timed out, returns a *CallbackError; a
// cancelled execution ErrCancelled.
func (c *Callback[T]) Result(ctx *Context) (T, error) {
	var zero T
	w := &call{c: ctx, typ: OpCallback, name: c.k.name, op: c.k.op}
	if err := w.enter(); err != nil {
		return zero, err
	}
	defer w.end()
	k := c.k
	if err := w.settle(ctx.st); err != nil {
		return zero, err
	}
	switch {
	case k.op.end == EntryTimeout && errors.Is(k.op.err, ErrCallbackHeartbeat):
		return zero, &CallbackError{Callback: k.name, Err: ErrCallbackHeartbeat}
	case k.op.end == EntryTimeout:
		return zero, &CallbackError{Callback: k.name, Err: ErrCallbackTimeout}
	case k.op.err != nil:
		return zero, &CallbackError{Callback: k.name, Err: k.op.err}
	}
	v, err := decodeValue[T](k.op.payload)
	if err != nil { // somebody outside sent it, so it is no bug of this code
		return zero, &CallbackError{Callback: k.name, Err: err}
	}
	return v, nil
}

// callbackID packs where a callback lives into one opaque word.
func callbackID(execution, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(execution + "\x00" + key))
}

func parseCallbackID(id string) (execution, key string, err error) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err == nil {
		if execution, key, ok := strings.Cut(string(b), "\x00"); ok && execution != "" && strings.HasPrefix(key, "cb") {
			return execution, key, nil
		}
	}
	return "", "", fmt.Errorf("%w: %.60q is not a callback ID", ErrNotOpen, id)
}

// CompleteCallback completes a callback with a result. The first completion
// wins: later ones get a *DeliveredError. ErrNotOpen when there is no such
// callback, or it has timed out; ErrEnded when the execution has. A nil error
// means that the result is durable and the execution will see it.
func (e *Engine) CompleteCallback(ctx context.Context, callbackID string, result any) error {
	payload, err := encodeValue(result, e.opts.MaxPayload)
	if err != nil {
		return fmt.Errorf("complete callback: %w", err)
	}
	return e.deliverCallback(ctx, callbackID, payload, nil)
}

// FailCallback completes a callback with an error, which its Result returns
// inside a *CallbackError. The rules of CompleteCallback hold.
func (e *Engine) FailCallback(ctx context.Context, callbackID string, failure error) error {
	if failure == nil {
		failure = errors.New("failed")
	}
	return e.deliverCallback(ctx, callbackID, nil, toStored(failure))
}

func (e *Engine) deliverCallback(ctx context.Context, callbackID string, payload []byte, failure *Error) error {
	execution, key, err := parseCallbackID(callbackID)
	if err != nil {
		return err
	}
	return e.deliver(ctx, &Delivery{ID: execution, Key: key, Kind: DeliverCallback, Payload: payload, Error: failure})
}

// HeartbeatCallback says that whoever is to complete a callback is still at
// work, which keeps it from timing out for want of heartbeats. It makes no
// entry and wakes nobody. A *DeliveredError when it was completed, ErrNotOpen when
// there is no such callback, or it has timed out; ErrEnded when the execution has.
func (e *Engine) HeartbeatCallback(ctx context.Context, callbackID string) error {
	execution, key, err := parseCallbackID(callbackID)
	if err != nil {
		return err
	}
	return e.deliver(ctx, &Delivery{ID: execution, Key: key, Kind: DeliverHeartbeat})
}
