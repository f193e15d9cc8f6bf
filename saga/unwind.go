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
	tried    map[*step]error
	skipped  []string // names
}

// unwind undoes what stands, latest start first, and returns the saga's error.
func (r *run) unwind(ctx *durable.Context, cause error) error {
	if errors.Is(cause, durable.ErrSuspended) {
		return cause
	}
	r.forward = forwardOf(cause)
	r.status(ctx, UnwindRunning)
	u := &unwinding{run: r, cause: cause, tried: map[*step]error{}}
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
		if len(batch) == 1 {
			errs[0] = u.undo(out, batch[0])
			return errs
		}
		label := func(i int) string { return batch[i].Name }
		_, err := durable.Group(out, batch[0].Together, len(batch), label, func(ctx *durable.Context, i int) error {
			if errs[i] = u.undo(ctx, batch[i]); errors.Is(errs[i], durable.ErrSuspended) {
				return errs[i]
			}
			return nil // one that is left for later does not stop the others
		})
		for i := range errs {
			if err != nil && errs[i] == nil {
				errs[i] = err
			}
		}
		return errs
	})
}

// undo runs one undo until it has succeeded, or a person has said to skip it,
// parking as often as it fails for good.
func (u *unwinding) undo(ctx *durable.Context, a compensate.Action[standing]) error {
	st := a.Value
	set := st.step.undoSettings
	key, since := st.key+"/undo", time.Time{}
	u.mu.Lock()
	failed := u.tried[st.step]
	u.mu.Unlock()
	for {
		reason := ParkUndoFailed
		late, err := u.late(ctx)
		switch {
		case err != nil:
			return err
		case late:
			reason, failed = ParkUnwindDeadline, fmt.Errorf("the unwinding has taken longer than %v", u.plan.unwindTimeout)
		case failed == nil:
			var rep durable.StepReport
			opts := append(set.options(patient()),
				durable.WithSubtype(durable.SubtypeUndo, a.Order), durable.WithKey(key, since), durable.WithKeyLifetime(set.keyLifetime), durable.WithReport(&rep))
			_, err := durable.Step(ctx, a.Name, u.body(st), opts...)
			switch {
			case err == nil || errors.Is(err, durable.ErrSuspended):
				return err
			case !errors.As(err, new(*durable.StepError)):
				mustNotHappen(err)
			}
			if since.IsZero() {
				since = rep.Since
			}
			failed = err
		}
		if u.gentle {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.tried[st.step] = failed
			return failed
		}
		d, err := u.park(ctx, durable.Park{
			Reason: reason, Operation: a.Name, Message: "undo: " + failed.Error(), Stuck: true,
			Key: key, Since: since, KeyLifetime: set.keyLifetime, Verbs: []durable.Verb{durable.VerbRetry, durable.VerbSkip},
		})
		if err != nil {
			return err
		}
		u.mu.Lock()
		if reason == ParkUnwindDeadline {
			u.deadline = time.Time{} // a person has seen it
		}
		if d.Verb == durable.VerbSkip {
			u.skipped = append(u.skipped, a.Name)
		}
		u.mu.Unlock()
		u.status(ctx, UnwindRunning)
		if d.Verb == durable.VerbSkip {
			return nil
		}
		if d.Force {
			set.keyLifetime = 0
		}
		failed = nil
	}
}

// late tells whether the unwinding's deadline has passed: by a recorded clock,
// because a replay must decide as the first pass did.
func (u *unwinding) late(ctx *durable.Context) (bool, error) {
	u.mu.Lock()
	deadline := u.deadline
	u.mu.Unlock()
	if deadline.IsZero() {
		return false, nil
	}
	at, err := durable.Now(ctx)
	return err == nil && !at.Before(deadline), err
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

// park asks a person. What stands while it waits makes the saga stuck, whatever
// becomes of others in its group meanwhile.
func (r *run) park(ctx *durable.Context, p durable.Park) (durable.Decision, error) {
	if p.Stuck {
		r.stuck.Add(1)
		defer r.stuck.Add(-1)
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
