package saga

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// try is what the runner knows of a forward step in progress. It may take
// several durable steps: after a Verify that found no effect the next one runs
// under another key, and after an operator's retry under the same one.
type try[In any] struct {
	*step[In]
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
func (r *run[In]) step(ctx *durable.Context, st *step[In]) error {
	t := &try[In]{step: st}
	for {
		raw, err := r.attempt(ctx, t)
		if err == nil && t.rep.Resolved {
			if bad := t.check(raw); bad != nil {
				// An operator stated a result of another type: ask again.
				if done, err := r.inDoubt(ctx, t, r.reason(t), bad); done {
					return err
				}
				continue
			}
		}
		switch {
		case err == nil:
			return r.succeeded(t, raw)
		case errors.Is(err, durable.ErrSuspended):
			return err
		case t.order == 0 && t.rep.Number == 0 && !r.pivoted:
			return err // never started
		case t.rep.Number == 0 && !errors.Is(err, durable.ErrCancelled) && !errors.Is(err, durable.ErrKeyExpired):
			mustNotHappen(err)
		}
		if t.rep.Rejected {
			err = &rejection{err}
		}
		done, err := r.failed(ctx, t, err)
		if done {
			return err
		}
	}
}

// attempt runs one durable step for t.
func (r *run[In]) attempt(ctx *durable.Context, t *try[In]) (json.RawMessage, error) {
	set := t.settings
	t.base = durable.DefaultRetry()
	switch {
	case r.pivoted:
		ctx, t.base = ctx.Shielded(), patient()
	case t.class == pivot && t.doubt:
		ctx = ctx.Shielded() // it may have happened: no cancel can stop it any more
	}
	set.retry = set.retry.Or(t.base)
	if set.retry.MaxAttempts > 0 {
		set.retry.MaxAttempts = max(set.retry.MaxAttempts-t.attempts, 1)
	}
	opts := append(set.options(t.base), durable.WithReport(&t.rep))
	if set.atMostOnce && (t.verify != nil || !r.pivoted) {
		opts = append(opts, durable.StopWhenUnknown())
	}
	if t.class == pivot {
		opts = append(opts, durable.PointOfNoReturn(), durable.WithSubtype(durable.SubtypePivot, 0))
	}
	if t.key != "" {
		opts = append(opts, durable.WithKey(t.key, t.since))
	}
	if !t.forced {
		opts = append(opts, durable.WithKeyLifetime(set.keyLifetime))
	}
	raw, err := durable.Step(ctx, t.name, r.body(t.body), opts...)
	t.note()
	return raw, err
}

// newKey: what was done under the key so far is proven to have had no effect,
// and the participant refuses it from now on.
func (t *try[In]) newKey() {
	t.doubt, t.forced, t.key, t.since = false, false, "", time.Time{}
}

// note takes in the report of the durable step that has just ended.
func (t *try[In]) note() {
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
func (r *run[In]) succeeded(t *try[In], raw json.RawMessage) error {
	r.values = r.values.with(t.name, raw)
	r.stands(t, raw, true)
	if t.class == pivot {
		r.pivoted = true
	}
	return nil
}

// stands puts the step on the stack of what to undo.
func (r *run[In]) stands(t *try[In], raw json.RawMessage, known bool) {
	if t.class != undoable {
		return
	}
	r.stack.Push(compensate.Action[standing[In]]{
		Order: t.order, Name: t.name,
		Value: standing[In]{step: t.step, key: t.key, value: raw, known: known},
	})
}

// failed decides what a durable step that ended with an error means. done
// says that the forward step has ended too: with nil it has succeeded after
// all, else the saga unwinds with the error.
func (r *run[In]) failed(ctx *durable.Context, t *try[In], cause error) (done bool, err error) {
	stopped := errors.Is(cause, durable.ErrCancelled)
	if errors.Is(cause, durable.ErrResolvedNoEffect) {
		t.doubt = false
	}
	if t.class == readOnly && !r.pivoted {
		return true, cause
	}
	doubted := t.doubt
	if t.doubt && t.verify != nil {
		v, err := r.ask(ctx, t)
		switch {
		case errors.Is(err, durable.ErrSuspended):
			return true, err
		case err != nil: // asking failed for good: nothing is known
		case v.Kind == happened && stopped && t.class != pivot:
			r.stands(t, v.Value, true)
			return true, cause
		case v.Kind == happened:
			return true, r.succeeded(t, v.Value)
		case v.Kind == noEffect:
			// The participant refuses this key from now on.
			t.newKey()
		}
	}
	switch {
	case r.pivoted:
		return r.failedAfterPivot(ctx, t, cause, doubted)
	case t.class == pivot && t.doubt:
		return r.inDoubt(ctx, t, ParkPivotInDoubt, cause)
	case doubted && !t.doubt && !stopped && t.mayGoOn(cause):
		return false, nil
	case t.doubt && errors.Is(cause, durable.ErrKeyExpired):
		return r.inDoubt(ctx, t, ParkKeyExpired, cause)
	case t.doubt:
		r.stands(t, nil, false)
	}
	return true, cause
}

// mayGoOn tells whether a step of which Verify found no effect is tried
// again: when it was stopped because an outcome was unknown or its key had
// expired, and its policy has attempts left.
func (t *try[In]) mayGoOn(cause error) bool {
	policy := t.settings.retry.Or(t.base)
	left := policy.MaxAttempts < 0 || t.attempts < policy.MaxAttempts
	inTime := policy.MaxElapsed < 0 || t.rep.Since.Sub(t.first) < policy.MaxElapsed
	return left && inTime && (t.settings.atMostOnce && t.rep.Unknown || errors.Is(cause, durable.ErrKeyExpired))
}

// failedAfterPivot: from here the saga only goes forward, so what cannot be
// done is for a person.
func (r *run[In]) failedAfterPivot(ctx *durable.Context, t *try[In], cause error, doubted bool) (bool, error) {
	if doubted && !t.doubt && t.mayGoOn(cause) {
		return false, nil
	}
	return r.inDoubt(ctx, t, ParkAfterPivot, cause)
}

// reason is why a step parks whose outcome a person has to state.
func (r *run[In]) reason(t *try[In]) durable.ParkReason {
	switch {
	case r.pivoted:
		return ParkAfterPivot
	case t.class == pivot:
		return ParkPivotInDoubt
	}
	return durable.ParkCrashLoop
}

// inDoubt parks until a person has said what became of the step, or gives it
// new attempts.
func (r *run[In]) inDoubt(ctx *durable.Context, t *try[In], reason durable.ParkReason, cause error) (bool, error) {
	d, err := r.park(ctx.Shielded(), durable.Park{
		Reason: reason, Operation: t.name, Message: cause.Error(), Stuck: reason != ParkKeyExpired,
		Key: t.key, Since: t.since, KeyLifetime: t.settings.keyLifetime,
		Verbs: []durable.Verb{durable.VerbRetry, durable.VerbResolve},
	})
	if err != nil {
		return true, err
	}
	r.status(ctx, UnwindNone)
	t.attempts = 0
	switch {
	case d.Verb == durable.VerbResolve && d.NoEffect && r.pivoted:
		t.newKey()
		return false, nil // it still has to be done
	case d.Verb == durable.VerbResolve && d.NoEffect:
		t.doubt = false
		return true, cause
	case d.Verb == durable.VerbResolve:
		if bad := t.check(d.Output); bad != nil {
			return r.inDoubt(ctx, t, reason, bad)
		}
		return true, r.succeeded(t, d.Output)
	}
	t.forced = t.forced || d.Force
	return false, nil
}

// ask runs the step's Verify: shielded, because what it finds out decides
// whether there is anything to undo.
func (r *run[In]) ask(ctx *durable.Context, t *try[In]) (verdict, error) {
	v, err := durable.Step(ctx.Shielded(), "verify "+t.name, func(c context.Context) (verdict, error) {
		vctx := r.context(c)
		vctx.key = t.key
		return t.verify(vctx, r.input())
	}, durable.WithRetry(patient()), durable.WithSubtype(durable.SubtypeVerify, t.order), durable.AfterBodies())
	var failed *durable.StepError
	if err != nil && !errors.As(err, &failed) && !errors.Is(err, durable.ErrSuspended) {
		mustNotHappen(err)
	}
	return v, err
}
