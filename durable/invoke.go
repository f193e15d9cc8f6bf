package durable

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// InvokeOption sets how an invocation behaves.
type InvokeOption func(*invokeOptions)

type invokeOptions struct {
	id      string
	tenant  string
	timeout time.Duration
}

// WithInvokeTimeout gives the invoked execution a deadline d after its start,
// and bounds by the same d what its caller waits.
func WithInvokeTimeout(d time.Duration) InvokeOption {
	return func(o *invokeOptions) { o.timeout = d }
}

// WithInvokeID sets the ID of the invoked execution, which else is derived from
// the caller's and the path of names. An ID that is taken by another execution
// fails the invocation with an *ExistsError.
func WithInvokeID(id string) InvokeOption { return func(o *invokeOptions) { o.id = id } }

// WithTenant names on whose behalf the execution is invoked: it gets the tag
// "tenant".
func WithTenant(id string) InvokeOption { return func(o *invokeOptions) { o.tenant = id } }

// invocation is the payload of an invocation's start.
type invocation struct {
	ID          string          `json:"id"` // of the execution
	Definition  string          `json:"definition"`
	Version     string          `json:"version"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	Tenant      string          `json:"tenant,omitempty"`
	Key         string          `json:"key"` // of the delivery that ends it
	Input       json.RawMessage `json:"input,omitempty"`
}

// Invoke starts an execution of another definition, waits for its end and
// returns its result: the same one on every replay. It is an execution of its
// own, with its own ID, journal, limits and versions, that workers anywhere run,
// and is started once, however often its caller is resumed. The definition need
// not be registered where the caller runs, but somewhere.
//
// A failure of it is an *InvokeError, with its stored error inside; past
// WithInvokeTimeout that is ErrInvokeTimeout, and ErrInvokeStopped if it was
// cancelled or terminated. When the caller is asked to stop, or the context of
// Invoke ends without waiting for it, the invoked execution is asked to stop
// too before that is recorded; Invoke then returns ErrCancelled without waiting
// for its end.
func Invoke[In, Out any](ctx *Context, name string, def *Definition[In, Out], in In, opts ...InvokeOption) (Out, error) {
	var zero Out
	var o invokeOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.timeout < 0 || len(o.id) > MaxNameLength {
		return zero, Permanent(fmt.Errorf("%w: invocation %q has timeout %v and an ID of %d bytes, at most %d are possible", ErrInvalid, name, o.timeout, len(o.id), MaxNameLength))
	}
	input, err := encodeValue(in, ctx.a.eng.opts.MaxPayload)
	if err != nil {
		return zero, err
	}
	k, err := ctx.begin(OpInvoke, "", name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	if err := k.invoke(&def.d, input, &o); err != nil {
		return zero, err
	}
	return decodeResult[Out](ctx, nil, k.op, k.path, k.op.payload)
}

// invoke takes the invocation to its end.
func (k *call) invoke(def *definition, input []byte, o *invokeOptions) error {
	a, st := k.c.a, k.c.st
	started, err := k.startInvoke(def, input, o)
	if err != nil {
		return err
	}
	if started {
		if st.commit(write{status: StatusRunning}) != nil {
			st.exit()
		}
	}
	op := k.op
	for {
		// Nothing about it is recorded while its timeout is on its way.
		st.await(func() bool { return !op.leaving }, time.Time{})
		var again time.Time
		a.mu.Lock()
		done, reached := op.done, k.c.reached() != nil
		a.mu.Unlock()
		switch {
		case done:
			return k.invoked()
		case reached:
			st.rest()
			a.freeInvoked([]*operation{op})
			st.resume()
			a.mu.Lock()
			if !op.done && !op.leaving {
				k.record(k.entry(EntryCancel))
				a.closed = append(a.closed, op.key)
			}
			a.mu.Unlock()
			continue
		case !op.stopped:
			st.rest()
			err := a.createInvoked(op, true)
			st.resume()
			if !k.noteCreation(err) {
				continue
			}
			if err != nil {
				again = now().Add(time.Second)
			}
		}
		st.await(func() bool { return op.done || !op.leaving && k.c.reached() != nil }, again)
	}
}

// startInvoke records the start, unless there is one, or cancel comes first.
func (k *call) startInvoke(def *definition, input []byte, o *invokeOptions) (started bool, err error) {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case k.op != nil:
	case k.c.reached() != nil:
		k.recordCancelled()
	case a.journal.open >= MaxOpenCallbacks:
		return false, k.tooMany()
	default:
		e := k.entry(EntryStart)
		e.Timeout, e.Epoch = o.timeout, a.epoch
		inv := invocation{
			ID: o.id, Definition: def.name, Version: def.version, Fingerprint: def.fingerprint, Tenant: o.tenant,
			Key: fmt.Sprintf("iv%d-%s", e.Op, rand.Text()[:8]), Input: input,
		}
		if inv.ID == "" {
			inv.ID = derivedID(a.id.ID, k.key())
		}
		if e.Payload, err = json.Marshal(inv); err != nil {
			return false, Permanent(err)
		}
		k.record(e)
		a.open = append(a.open, inv.Key)
		return true, nil
	}
	return false, nil
}

// derivedID is the ID of an execution that another invokes by a key.
func derivedID(caller, key string) string {
	sum := sha256.Sum256([]byte(key))
	suffix := "." + hex.EncodeToString(sum[:6])
	return caller[:min(len(caller), MaxNameLength-len(suffix))] + suffix
}

func (j *journal) addInvoked(op *operation, e *Entry) {
	inv, err := fromJSON[invocation](e.Payload)
	if err != nil {
		inv = &invocation{} // the engine writes what it reads
	}
	op.invoked, op.key, op.epoch = inv, inv.Key, e.Epoch
	if e.Timeout > 0 {
		op.until = e.At.Add(e.Timeout)
	}
	j.byKey[op.key] = op
	j.open++
}

// createInvoked makes sure that the invoked execution exists. An activation
// that ended in order had made sure of it before (then op.stopped). One that is
// created only to be cancelled must not begin before it is: wanted is false.
func (a *activation) createInvoked(op *operation, wanted bool) error {
	inv := op.invoked
	id := Identity{
		ID: inv.ID, Definition: inv.Definition, Version: inv.Version, Fingerprint: inv.Fingerprint,
		Input: inv.Input, Digest: digest(inv.ID, inv.Input), Created: now(), Deadline: op.until,
		Parent: Parent{ID: a.id.ID, Key: inv.Key}, Trace: a.id.Trace,
	}
	if inv.Tenant != "" {
		id.Tags = map[string]string{"tenant": inv.Tenant}
	}
	e := a.eng
	if e.opts.Observer != nil {
		a.mu.Lock()
		by := a.about(op, ObserveOperationStart, now())
		a.mu.Unlock()
		if trace := e.startedBy(a.ctx, &id, by); trace != nil {
			id.Trace = trace
		}
	}
	e.mu.Lock()
	def := e.defs[inv.Definition+"@"+inv.Version]
	e.mu.Unlock()
	due := id.Created
	switch {
	case !wanted:
		def, due = nil, due.Add(e.opts.Lease)
	case e.opts.HotWait < 0:
		// Where nothing stays in memory the caller leaves before what it has
		// invoked begins: its history is the same each time.
		due = due.Add(e.opts.PollMin)
	}
	_, err := e.create(e.hard, def, id, due)
	if !errors.Is(err, ErrExists) {
		return err
	}
	var rec *Record
	err = e.insist(e.hard, func(ctx context.Context) (err error) {
		rec, err = e.store.Load(ctx, id.ID, LoadHead)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound), err == nil && rec.Parent == id.Parent:
		return nil // it is ours, and may have ended and gone already
	case err == nil:
		return &ExistsError{ID: id.ID, Definition: rec.Definition, Have: hex.EncodeToString(rec.Digest), Want: hex.EncodeToString(id.Digest)}
	}
	return err
}

// noteCreation records what came of creating the execution: that it cannot be,
// or by the epoch of the start whether the suspension of this activation says
// that it exists. False means that this is not the time to record it.
func (k *call) noteCreation(err error) bool {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	op, epoch := k.op, a.epoch
	switch {
	case op.done:
		return true
	case op.leaving:
		return false
	case errors.Is(err, ErrExists), errors.Is(err, ErrInvalid):
		e := k.entry(EntryFailure)
		e.Error = toStored(err)
		k.record(e)
		a.closed = append(a.closed, op.key)
		return true
	case err != nil:
		epoch = 0
	}
	if op.epoch != epoch {
		e := k.entry(EntryStart)
		e.Epoch = epoch
		k.record(e)
	}
	return true
}

// freeInvoked asks invoked executions to stop whose end nobody waits for any
// more: these, or all that run still if it is nil. One that may not exist yet
// is created first, or a start that is under way would come after the cancel.
func (a *activation) freeInvoked(ops []*operation) {
	a.mu.Lock()
	if ops == nil {
		for _, op := range a.journal.unended {
			ops = append(ops, op)
		}
	}
	a.mu.Unlock()
	for _, op := range ops {
		for n := 0; op.typ == OpInvoke && !a.freed(op); n++ {
			select {
			case <-time.After(a.eng.storeBackoff(n)):
			case <-a.over:
				return
			case <-a.eng.hard.Done():
				return
			}
		}
	}
}

// freed asks one invoked execution to stop, if it has not ended; false means
// that it is not known to have been asked.
func (a *activation) freed(op *operation) bool {
	a.mu.Lock()
	done := op.done
	a.mu.Unlock()
	if done {
		return true
	}
	if !op.stopped {
		if err := a.createInvoked(op, false); err != nil {
			return errors.Is(err, ErrExists) || errors.Is(err, ErrInvalid) // there is none, or it is somebody else's
		}
	}
	d := &Delivery{ID: op.invoked.ID, Key: "cancel", Kind: DeliverCancel, Actor: a.id.ID, Reason: "its caller has stopped waiting"}
	err := a.eng.deliver(a.eng.hard, d)
	return err == nil || settled(err) // what has ended, or was cancelled before, needs no cancel
}

// invokedIn returns the invocations that have not ended in a context.
func (a *activation) invokedIn(context *operation) []*operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	ops := []*operation{}
	if context.open == 0 {
		return ops
	}
	for _, op := range a.journal.unended {
		if op.typ == OpInvoke && a.journal.within(op, context) {
			ops = append(ops, op)
		}
	}
	return ops
}

// invoked returns the error of an invocation that has ended; nil if it
// succeeded.
func (k *call) invoked() error {
	a, op := k.c.a, k.op
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case op.end == EntryResult:
		return nil
	case op.end == EntryCancel, errors.Is(op.err, ErrInvokeStopped) && op.asked && !k.c.shielded:
		// The second was stopped by us, and told so before that was recorded.
		return a.stopped(op)
	}
	if op.invoked == nil {
		return Permanent(op.err) // there was no room for it
	}
	return &InvokeError{Name: op.name, Execution: op.invoked.ID, Err: op.err}
}

// InvokeError says that an invoked execution did not succeed. Err is the stored
// form of its error, or ErrInvokeTimeout or ErrInvokeStopped.
type InvokeError struct {
	Name      string // of the invocation
	Execution string // ID of the invoked execution
	Err       error
}

func (e *InvokeError) Error() string {
	return fmt.Sprintf("invocation %q (execution %q): %v", e.Name, e.Execution, e.Err)
}
func (e *InvokeError) Unwrap() error { return e.Err }

// endInvoked makes the entry of an invocation's end what its status calls for.
func (e *Entry) endInvoked(status string) {
	e.Reason = ""
	switch status {
	case StatusTimedOut.String():
		e.Kind, e.Error = EntryTimeout, toStored(ErrInvokeTimeout)
	case StatusCancelled.String(), StatusTerminated.String():
		e.Kind, e.Error = EntryFailure, toStored(fmt.Errorf("%w: %s", ErrInvokeStopped, e.Error))
	}
}

// end records the end of the execution. The parent of one that was invoked has
// to know of it, and nobody would tell it once this record has ended: so how it
// will end is recorded first, for good, and then told.
func (a *activation) end(w write) error {
	if a.id.Parent == (Parent{}) {
		return a.commit(w)
	}
	outcome := Entry{Kind: EntryOutcome, At: now(), Payload: w.result, Error: w.err, Reason: w.status.String()}
	w.status, w.result, w.err, w.extra = StatusRunning, nil, nil, []Entry{outcome}
	if err := a.commit(w); err != nil {
		return err
	}
	a.announce()
	return nil
}

// isDecided tells whether it is recorded how the execution ends.
func (a *activation) isDecided() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal.outcome != nil
}

// announce tells the parent how the execution ends, and ends it. A parent that
// has no room now is told later; one that does not wait any more need not know.
func (a *activation) announce() {
	a.mu.Lock()
	o := a.journal.outcome
	a.mu.Unlock()
	err := a.eng.deliver(a.eng.hard, &Delivery{ID: a.id.Parent.ID, Key: a.id.Parent.Key, Kind: DeliverCallback, Payload: o.Payload, Error: o.Error, Reason: o.Reason})
	w := write{ifSeen: true, result: o.Payload, err: o.Error}
	for _, s := range []Status{StatusSucceeded, StatusFailed, StatusCancelled, StatusTimedOut, StatusTerminated} {
		if s.String() == o.Reason {
			w.status = s
		}
	}
	switch {
	case errors.Is(err, ErrInboxFull):
		a.mu.Lock()
		pause := time.Second << min(a.journal.short, 6) // it may last: nobody reads the inbox of one that is parked
		a.mu.Unlock()
		w = a.suspension(now().Add(pause))
		w.extra[0].Delay = pause
	case err != nil && !settled(err) && !errors.Is(err, ErrDelivered):
		return // this host is ending
	}
	for errors.Is(a.commit(w), ErrUnseen) {
	}
}
