package saga

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// try is what the runner knows of a forward step in progress. It may take
// several durable steps: after a Verify that found no effect the next one runs
// under another key, and after an operator's retry under the same one.
type try struct {
	*step
	order    int64 // of the first start; 0 while there is none
	key      string
	since    time.Time // first use of key
	first    time.Time // of the whole step
	base     durable.Retry
	attempts int  // so far, of the policy
	doubt    bool // not proven to have had no effect
	forced   bool // an operator lets an expired key be used
	rep      durable.StepReport
}

// step runs one forward step to its end. An error means: unwind.
func (f *flow) step(st *step) error {
	t := &try{step: st}
	for {
		raw, err := f.attempt(t)
		if err == nil && t.rep.Resolved {
			if bad := t.check(raw); bad != nil {
				// An operator stated a result of another type: ask again.
				if done, err := f.inDoubt(t, f.reason(t), bad); done {
					return err
				}
				continue
			}
		}
		switch {
		case err == nil:
			return f.succeeded(t, raw)
		case errors.Is(err, durable.ErrSuspended):
			return err
		case t.order == 0 && t.rep.Number == 0 && !f.pivoted:
			return err // never started
		case t.rep.Number == 0 && !errors.Is(err, durable.ErrCancelled) && !errors.Is(err, durable.ErrKeyExpired):
			mustNotHappen(err)
		}
		if t.rep.Rejected && !errors.As(err, new(*NoTurnError)) {
			err = &rejection{err}
		}
		done, err := f.failed(t, err)
		if done {
			return err
		}
	}
}

// attempt runs one durable operation for t.
func (f *flow) attempt(t *try) (raw json.RawMessage, err error) {
	ctx := f.at()
	if t.class == pivot && t.doubt {
		ctx = ctx.Shielded() // it may have happened: no cancel can stop it any more
	}
	switch {
	case t.ask != nil:
		raw, err = f.asks(ctx, t)
	case t.flow != nil:
		opts := []durable.ContextOption{durable.WithContextReport(&t.rep), durable.WithContextSubtype(t.class.subtype())}
		if t.key != "" { // again, by an operator's word
			opts = append(opts, durable.WithContextKey(t.key))
		}
		raw, err = durable.Child(ctx, t.name, func(c *durable.Context) (json.RawMessage, error) {
			return through(f.run, f.call(CallForward, t.step), func(context.Context) (json.RawMessage, error) {
				return t.flow(c, f.input())
			})(c)
		}, opts...)
	default:
		raw, err = durable.Step(ctx, t.name, f.body(t.step), f.options(t)...)
	}
	t.note()
	return raw, err
}

// options are those of the durable step that runs a body.
func (f *flow) options(t *try) []durable.StepOption {
	opts := append(f.policy(t), durable.WithReport(&t.rep), withStored)
	if t.class == pivot {
		opts = append(opts, durable.PointOfNoReturn())
	}
	if sub := t.class.subtype(); sub != "" {
		opts = append(opts, durable.WithSubtype(sub, 0))
	}
	if t.key != "" {
		opts = append(opts, durable.WithKey(t.key, t.since))
	}
	return opts
}

// policy says how attempts follow each other, of a body or of what asks.
func (f *flow) policy(t *try) []durable.StepOption {
	set := t.settings
	if t.ask != nil {
		set.timeout = set.asking // the other one bounds the answer
	}
	t.base = durable.DefaultRetry()
	if f.pivoted {
		t.base = patient()
	}
	set.retry = set.retry.Or(t.base)
	if set.retry.MaxAttempts > 0 {
		set.retry.MaxAttempts = max(set.retry.MaxAttempts-t.attempts, 1)
	}
	opts := set.options(t.base)
	if set.atMostOnce && (t.verify != nil || !f.pivoted) {
		opts = append(opts, durable.StopWhenUnknown())
	}
	if !t.forced && set.keyLifetime > 0 {
		opts = append(opts, durable.WithKeyLifetime(set.keyLifetime))
	}
	return opts
}

// asks asks somebody outside and waits for the answer. Having asked is what
// there may be to undo. Asking once more is another question, under another key:
// an answer to the first one nobody would hear any more.
func (f *flow) asks(ctx *durable.Context, t *try) (json.RawMessage, error) {
	set := t.settings
	set.timeout = set.asking // the other one bounds the answer
	t.key = ""
	opts := []durable.CallbackOption{
		durable.WithSubmitter(append(f.policy(t), durable.WithSubtype(t.class.subtype(), 0))...), durable.WithCallbackReport(&t.rep),
		durable.WithCallbackTimeout(t.settings.timeout), durable.WithHeartbeatTimeout(set.heartbeat), // zero is none
	}
	if t.remind != nil {
		opts = append(opts, durable.WithReminder(set.reminders, f.handsOut(t.step, CallRemind, t.step.remind), set.options(durable.DefaultRetry())...))
	}
	raw, err := durable.WaitForCallback[json.RawMessage](ctx, t.name, f.handsOut(t.step, CallForward, t.step.ask), opts...)
	if err == nil {
		if err = t.check(raw); err != nil { // somebody outside sent it
			t.rep.InDoubt = true
		}
	}
	var refused *durable.CallbackError
	if errors.As(err, &refused) && !errors.Is(err, durable.ErrCallbackTimeout) && !errors.Is(err, durable.ErrCallbackHeartbeat) && !errors.Is(err, durable.ErrTooManyCallbacks) {
		err = &rejection{err}
	}
	return raw, err
}

// handsOut adapts what hands a callback's ID out, in asking and in reminding.
func (f *flow) handsOut(st *step, kind CallKind, body func(Context, any, string) error) func(context.Context, string) error {
	seen := f.values
	return func(c context.Context, id string) error {
		own := contextOf(c, seen)
		own.key = strings.TrimSuffix(own.Key(), "/"+durable.SubmitterName)
		call := f.call(kind, st)
		call.Key, call.Callback = own.key, id
		_, err := through(f.run, call, func(c context.Context) (struct{}, error) {
			leave, err := st.settings.limit.enter(c)
			if err != nil {
				return struct{}{}, err
			}
			defer leave()
			own := own
			own.Context = c
			return struct{}{}, body(own, f.input(), id)
		})(c)
		return err
	}
}

// newKey: what was done under the key so far is proven to have had no effect,
// and the participant refuses it from now on.
func (t *try) newKey() {
	t.doubt, t.forced, t.key, t.since = false, false, "", time.Time{}
}

// note takes in the report of the durable step that has just ended.
func (t *try) note() {
	if t.rep.Number == 0 {
		return
	}
	if t.order == 0 {
		t.order, t.first = t.rep.Number, t.rep.Since
	}
	if t.key == "" {
		t.key, t.since = t.rep.Key, t.rep.Since
	}
	t.attempts += t.rep.Attempts
	t.doubt = t.doubt || t.rep.InDoubt
}

// succeeded notes the step's result, and its undo.
func (f *flow) succeeded(t *try, raw json.RawMessage) error {
	f.values = f.values.with(t.name, raw)
	f.stands(t, raw, true)
	if t.class == pivot {
		f.pivoted, f.forward = true, ForwardCommitted
		f.status(f.ctx, UnwindNone)
	}
	return nil
}

// stands puts the step on the stack of what to undo.
func (f *flow) stands(t *try, raw json.RawMessage, known bool) {
	if t.class != undoable {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stack.Push(compensate.Action[standing]{
		Order: t.order, Name: f.prefix + t.name, Together: f.together, Lane: f.lane,
		Value: standing{step: t.step, from: f, key: t.key, value: raw, known: known},
	})
}

// failed decides what a durable step that ended with an error means. done
// says that the forward step has ended too: with nil it has succeeded after
// all, else the saga unwinds with the error.
func (f *flow) failed(t *try, cause error) (done bool, err error) {
	stopped := errors.Is(cause, durable.ErrCancelled)
	if errors.Is(cause, durable.ErrResolvedNoEffect) {
		t.doubt = false
	}
	if t.class == readOnly && !f.pivoted {
		return true, cause
	}
	doubted := t.doubt
	if t.doubt && t.verify != nil {
		v, err := f.verdict(t)
		switch {
		case errors.Is(err, durable.ErrSuspended):
			return true, err
		case err != nil: // asking failed for good: nothing is known
		case v.Kind == happened && stopped && t.class != pivot:
			f.stands(t, v.Value, true)
			return true, cause
		case v.Kind == happened:
			return true, f.succeeded(t, v.Value)
		case v.Kind == noEffect:
			// The participant refuses this key from now on.
			t.newKey()
		}
	}
	switch {
	case f.pivoted:
		return f.failedAfterPivot(t, cause, doubted)
	case t.class == pivot && t.doubt:
		return f.inDoubt(t, ParkPivotInDoubt, cause)
	case doubted && !t.doubt && !stopped && t.mayGoOn(cause):
		return false, nil
	case t.doubt && errors.Is(cause, durable.ErrKeyExpired):
		return f.inDoubt(t, ParkKeyExpired, cause)
	case t.doubt:
		f.stands(t, nil, false)
	}
	return true, cause
}

// mayGoOn tells whether a step of which Verify found no effect is tried
// again: when it was stopped because an outcome was unknown or its key had
// expired, and its policy has attempts left.
func (t *try) mayGoOn(cause error) bool {
	policy := t.settings.retry.Or(t.base)
	left := policy.MaxAttempts < 0 || t.attempts < policy.MaxAttempts
	inTime := policy.MaxElapsed < 0 || t.rep.Since.Sub(t.first) < policy.MaxElapsed
	return left && inTime && (t.settings.atMostOnce && t.rep.Unknown || errors.Is(cause, durable.ErrKeyExpired))
}

// failedAfterPivot: from here the saga only goes forward, so what cannot be
// done is for a person.
func (f *flow) failedAfterPivot(t *try, cause error, doubted bool) (bool, error) {
	if doubted && !t.doubt && t.mayGoOn(cause) {
		return false, nil
	}
	return f.inDoubt(t, ParkAfterPivot, cause)
}

// reason is why a step parks whose outcome a person has to state.
func (f *flow) reason(t *try) durable.ParkReason {
	switch {
	case f.pivoted:
		return ParkAfterPivot
	case t.class == pivot:
		return ParkPivotInDoubt
	}
	return durable.ParkCrashLoop
}

// inDoubt parks until a person has said what became of the step, or gives it
// new attempts.
func (f *flow) inDoubt(t *try, reason durable.ParkReason, cause error) (bool, error) {
	verbs := []durable.Verb{durable.VerbRetry, durable.VerbResolve}
	if !f.pivoted && t.class != pivot {
		verbs = append(verbs, durable.VerbUnwind)
	}
	d, err := f.park(f.ctx.Shielded(), durable.Park{
		Reason: reason, Operation: f.prefix + t.name, Message: cause.Error(), Stuck: reason != ParkKeyExpired,
		Key: t.key, Since: t.since, KeyLifetime: t.settings.keyLifetime,
		Verbs: verbs,
	})
	if err != nil {
		return true, err
	}
	f.status(f.ctx, UnwindNone)
	t.attempts = 0
	switch {
	case d.Verb == durable.VerbUnwind:
		f.stands(t, nil, false)
		return true, &durable.CancelledError{Actor: d.Actor, Reason: d.Reason}
	case d.Verb == durable.VerbResolve && d.NoEffect && f.pivoted:
		t.newKey()
		return false, nil // it still has to be done
	case d.Verb == durable.VerbResolve && d.NoEffect:
		t.doubt = false
		return true, cause
	case d.Verb == durable.VerbResolve:
		if bad := t.check(d.Output); bad != nil {
			return f.inDoubt(t, reason, bad)
		}
		return true, f.succeeded(t, d.Output)
	}
	t.forced = t.forced || d.Force
	return false, nil
}

// verdict runs the step's Verify: shielded, because what it finds out decides
// whether there is anything to undo.
func (f *flow) verdict(t *try) (verdict, error) {
	seen, call := f.values, f.call(CallVerify, t.step)
	call.Key = t.key
	v, err := durable.Step(f.ctx.Shielded(), "verify "+t.name, through(f.run, call, func(c context.Context) (verdict, error) {
		vctx := contextOf(c, seen)
		vctx.key = call.Key
		return t.verify(vctx, f.input())
	}), durable.WithRetry(patient()), durable.WithSubtype(durable.SubtypeVerify, t.order), durable.AfterBodies())
	var failed *durable.StepError
	if err != nil && !errors.As(err, &failed) && !errors.Is(err, durable.ErrSuspended) {
		mustNotHappen(err)
	}
	return v, err
}
