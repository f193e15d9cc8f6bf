package saga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/compensate"
	"github.com/clewdev/clew/durable"
)

// unwinding is the way back of one run.
type unwinding struct {
	*run
	cause    error
	deadline time.Time // zero is none
	gentle   bool      // what fails for good is left for later, and does not park

	// Guarded by mu.
	tried   map[string]error // what the gentle pass left, by name
	skipped []string         // names
	seen    bool             // a person has seen that the deadline has passed
}

// unwind undoes what stands, latest start first, and returns the saga's error.
func (r *run) unwind(ctx *durable.Context, cause error) error {
	if errors.Is(cause, durable.ErrSuspended) {
		return cause
	}
	r.forward = forwardOf(cause)
	r.status(ctx, UnwindRunning)
	u := &unwinding{run: r, cause: cause, tried: map[string]error{}}
	failed := &Error{Saga: r.plan.name, Forward: r.forward, Err: cause}
	for _, a := range r.stack.Plan() {
		failed.Undone = append(failed.Undone, a.Name)
	}
	out := ctx.Unwinding()
	if r.plan.unwindTimeout > 0 && len(failed.Undone) > 0 {
		began, err := durable.Now(out)
		if err != nil {
			return err
		}
		u.deadline = began.Add(r.plan.unwindTimeout)
	}
	if r.plan.independent {
		u.gentle = true
		if err := u.all(ctx, out, compensate.GoOn); errors.Is(err, durable.ErrSuspended) {
			return err
		}
		u.gentle = false // what is left now parks
	}
	if err := u.all(ctx, out, compensate.InOrder); err != nil { // the activation is over: nothing of this is recorded
		return err
	}
	failed.skip(u.skipped)
	r.status(ctx, UnwindComplete)
	return failed
}

// all undoes what is on the stack.
func (u *unwinding) all(ctx, out *durable.Context, p compensate.Policy) error {
	return u.stack.UnwindTogether(ctx, p, func(_ context.Context, batch []compensate.Action[standing]) []error {
		errs := make([]error, len(batch))
		left, skip, err := u.admit(out, batch)
		switch {
		case err == nil && skip:
			return errs
		case err == nil && len(batch) == 1:
			errs[0] = u.undo(out, batch[0], left)
			return errs
		case err == nil:
			label := func(i int) string { return batch[i].Name }
			_, err = durable.Group(out, batch[0].Together, len(batch), label, func(ctx *durable.Context, i int) error {
				if errs[i] = u.undo(ctx, batch[i], left); errors.Is(errs[i], durable.ErrSuspended) {
					return errs[i]
				}
				return nil // one that is left for later does not stop the others
			})
		}
		for i := range errs {
			if err != nil && errs[i] == nil {
				errs[i] = err
			}
		}
		return errs
	})
}

// admit lets undos begin that run beside each other. Once the unwinding's
// deadline has passed a person has to; skip says that the person has skipped it.
// Else left is how much time they have, zero if there is no deadline.
//
// The clock is asked here, where nothing else of the saga runs, and recorded: a
// replay must decide as the first pass did.
func (u *unwinding) admit(out *durable.Context, batch []compensate.Action[standing]) (left time.Duration, skip bool, err error) {
	if err := awaitContinued(out); err != nil {
		return 0, false, err
	}
	if u.deadline.IsZero() || u.seen {
		return 0, false, nil
	}
	at, err := durable.Now(out)
	if err != nil {
		return 0, false, err
	}
	if left = u.deadline.Sub(at); left > 0 {
		return left, false, nil
	}
	late := fmt.Errorf("the unwinding has taken longer than %v", u.plan.unwindTimeout)
	if u.gentle {
		return 0, false, late // the pass to come asks
	}
	p := durable.Park{Reason: ParkUnwindDeadline, Operation: batch[0].Together, Message: late.Error(), Stuck: true, Verbs: []durable.Verb{durable.VerbRetry}}
	if len(batch) == 1 {
		p.Operation, p.Key, p.Verbs = batch[0].Name, batch[0].Value.key+"/undo", []durable.Verb{durable.VerbRetry, durable.VerbSkip}
	}
	d, err := u.ask(out, p)
	return 0, d.Verb == durable.VerbSkip, err
}

// undo runs one undo until it has succeeded, or a person has said to skip it,
// parking as often as it fails for good. left is how long it may be retried,
// zero for as long as its policy says.
func (u *unwinding) undo(ctx *durable.Context, a compensate.Action[standing], left time.Duration) error {
	t := &undoing{Action: a, set: a.Value.step.undoSettings, key: a.Value.key + "/undo", left: left}
	t.set.retry = t.set.retry.Or(patient())
	u.mu.Lock()
	failed := u.tried[a.Name]
	u.mu.Unlock()
	for {
		reason := ParkUndoFailed
		if failed == nil {
			if failed = u.attempt(ctx, t); failed == nil || errors.Is(failed, durable.ErrSuspended) {
				return failed
			}
			late, err := u.late(ctx, t)
			if err != nil {
				return err
			}
			if late {
				reason = ParkUnwindDeadline
			}
		}
		if u.gentle {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.tried[a.Name] = failed
			return failed
		}
		d, err := u.ask(ctx, durable.Park{
			Reason: reason, Operation: a.Name, Message: "undo: " + failed.Error(), Stuck: true,
			Key: t.key, Since: t.since, KeyLifetime: t.set.keyLifetime, Verbs: []durable.Verb{durable.VerbRetry, durable.VerbSkip},
		})
		if err != nil || d.Verb == durable.VerbSkip {
			return err
		}
		if d.Force {
			t.set.keyLifetime = 0
		}
		failed, t.left = nil, 0 // a person has seen it
	}
}

// undoing is an undo in progress. It may take several durable steps, one after
// each retry of an operator, under one key.
type undoing struct {
	compensate.Action[standing]
	set   settings
	key   string
	since time.Time     // first use of key
	left  time.Duration // for retries; zero is no limit
}

// awaitContinued waits while unwinding is paused.
func awaitContinued(ctx *durable.Context) error {
	err := ctx.AwaitContinued()
	if err != nil && !errors.Is(err, durable.ErrSuspended) {
		mustNotHappen(err)
	}
	return err
}

// attempt runs one durable step of an undo.
func (u *unwinding) attempt(ctx *durable.Context, t *undoing) error {
	if err := awaitContinued(ctx); err != nil {
		return err
	}
	set := t.set
	if t.left > 0 && (set.retry.MaxElapsed < 0 || t.left < set.retry.MaxElapsed) {
		set.retry.MaxElapsed = t.left
	}
	var rep durable.StepReport
	opts := append(set.options(patient()), durable.WithSubtype(durable.SubtypeUndo, t.Order),
		durable.WithKey(t.key, t.since), durable.WithKeyLifetime(set.keyLifetime), durable.WithReport(&rep))
	_, err := durable.Step(ctx, t.Name, u.body(t.Value), opts...)
	if err != nil && !errors.Is(err, durable.ErrSuspended) && !errors.As(err, new(*durable.StepError)) {
		mustNotHappen(err)
	}
	if t.since.IsZero() {
		t.since = rep.Since
	}
	return err
}

// late tells whether an undo that had a deadline failed for it: there is no time
// left for the delay before another attempt.
func (u *unwinding) late(ctx *durable.Context, t *undoing) (bool, error) {
	if t.left == 0 {
		return false, nil
	}
	at, err := durable.Now(ctx)
	return err == nil && !at.Add(t.set.retry.Max).Before(u.deadline), err
}

// ask parks for a person, and takes in what concerns the unwinding as a whole.
func (u *unwinding) ask(ctx *durable.Context, p durable.Park) (durable.Decision, error) {
	d, err := u.park(ctx, p)
	if err != nil {
		return d, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = u.seen || p.Reason == ParkUnwindDeadline
	if d.Verb == durable.VerbSkip {
		u.skipped = append(u.skipped, p.Operation)
	}
	u.status(ctx, UnwindRunning)
	return d, nil
}

// body adapts an undo to a durable step.
func (u *unwinding) body(st standing) func(context.Context) (struct{}, error) {
	call := st.from.call(CallUndo, st.step)
	call.ForwardKey, call.Known = st.key, st.known
	return through(u.run, call, func(c context.Context) (struct{}, error) {
		leave, err := st.step.undoSettings.limit.enter(c)
		if err != nil {
			return struct{}{}, err
		}
		defer leave()
		ctx := UndoContext{Context: st.from.context(c), forwardKey: st.key, cause: u.cause}
		return struct{}{}, st.step.undo(ctx, st.from.input(), st.value, st.known)
	})
}

// park asks a person. What stands while it waits makes the saga stuck; that it
// stays so whatever others in its group say meanwhile, parked sees to.
func (r *run) park(ctx *durable.Context, p durable.Park) (durable.Decision, error) {
	if p.Stuck {
		r.status(ctx, UnwindStuck)
	}
	d, err := ctx.Park(p.Operation, p)
	if err != nil && !errors.Is(err, durable.ErrSuspended) {
		mustNotHappen(err)
	}
	return d, err
}

// mustNotHappen parks, by a panic, what the rule of unwinding has no answer
// for: operations that the engine refused outright, where unwinding would
// undo what may have to stand. An unexplained error never unwinds.
func mustNotHappen(err error) {
	panic(fmt.Sprintf("saga: the engine refused an operation that the saga cannot do without: %v", err))
}
