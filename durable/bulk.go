package durable

import (
	"context"
	"fmt"
	"iter"
)

// Act is what is decided about one of several executions, and then what became
// of it.
type Act struct {
	Head     Head // as it was when that was decided
	Decision Decision
	Err      error // why it is not possible, or why it failed
}

// Decide asks decide about every execution that a query finds, and returns the
// acts that it has decided on, in order of ID. It does nothing: what it returns
// is for a person to look at, and then for ActAll. Those with an Err are not
// possible as things are, and ActAll leaves them alone.
func (e *Engine) Decide(ctx context.Context, q ListQuery, decide func(*Head) (Decision, bool)) ([]Act, error) {
	var acts []Act
	for {
		page, err := e.store.List(ctx, &q)
		if err != nil {
			return nil, fmt.Errorf("list executions: %w", err)
		}
		for i := range page.Heads {
			h := &page.Heads[i]
			if d, ok := decide(h); ok {
				acts = append(acts, Act{Head: *h, Decision: d, Err: d.possible(h)})
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return acts, nil
		}
	}
}

// ActAll carries out what was decided, one after the other, and yields what
// became of each: Err is nil once an act is durable. An error stops none of the
// others. Each is guarded by the revision that its head had, so that an execution
// which has moved on since is left alone (ErrRevision, or ErrDelivered when somebody
// else decided). What is not parked moves all the time. Terminate is then guarded by
// what it leaves behind: it is refused, with ErrRevision, of an execution that has
// parked since, and of a saga that is on another point of its two axes. Cancel is
// never guarded, because the rule of unwinding decides what it means whenever it
// arrives.
func (e *Engine) ActAll(ctx context.Context, acts []Act) iter.Seq[Act] {
	return func(yield func(Act) bool) {
		for _, a := range acts {
			if a.Err == nil {
				a.Err = e.act(ctx, &a)
			}
			if !yield(a) {
				return
			}
		}
	}
}

func (e *Engine) act(ctx context.Context, a *Act) error {
	h, d := &a.Head, a.Decision
	switch {
	case d.Verb == VerbCancel:
		return e.Cancel(ctx, h.ID, d.Actor, d.Reason)
	case d.Verb == VerbTerminate && h.Status == StatusParked:
		d.Verb = VerbAbandon
	case d.Verb == VerbTerminate:
		return e.terminateAs(ctx, h, d)
	}
	return e.Act(ctx, h.ID, h.Revision, d)
}

// possible tells whether the decision can be carried out on h.
func (d *Decision) possible(h *Head) error {
	if err := needActor(string(d.Verb), d.Actor, d.Reason); err != nil {
		return err
	}
	anyway := d.Verb == VerbCancel || d.Verb == VerbTerminate // parked or not
	switch {
	case anyway && !h.Status.Ended():
		return nil
	case anyway:
		return refuse(h, d.Verb)
	}
	return d.check(h)
}
