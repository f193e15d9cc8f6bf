// Package compensate is a stack of undo actions and the policy by which they
// run. It is pure: it neither stores nor repeats anything, and takes the
// runner of an action as a func. Package saga wires it to a journal; alone it
// serves as a tidier defer.
//
// An action carries the order of the start of what it undoes, and the stack
// unwinds from the highest order to the lowest: the order in which effects
// came about decides, never the order in which this process heard of them.
package compensate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Action is something to undo.
type Action[T any] struct {
	Order int64 // of the start of what it undoes, ascending
	Name  string
	// Together: neighbours with the same one, not empty, may be undone beside
	// each other, but those with the same Lane, not empty, only one after the other.
	Together, Lane string
	Value          T // what its runner needs
}

// Policy says what an undo that fails means for the ones after it.
type Policy uint8

// The policies.
const (
	// InOrder stops at the first undo that fails: what came about earlier may
	// only be undone after it.
	InOrder Policy = iota
	// GoOn runs every undo, whatever became of the others: for independent ones.
	GoOn
)

// Stack is a stack of actions. The zero value is empty and ready for use. It
// is not safe for concurrent use.
type Stack[T any] struct {
	actions []Action[T]
}

// Push adds an action. The order of pushes does not matter, except between
// equal Orders, of which the last one pushed is undone first.
func (s *Stack[T]) Push(a Action[T]) {
	if s.actions == nil {
		s.actions = make([]Action[T], 0, 8) // most have no more
	}
	s.actions = append(s.actions, a)
}

// Len returns the number of actions that are not undone.
func (s *Stack[T]) Len() int { return len(s.actions) }

// Plan returns the actions in the order in which Unwind would run them.
func (s *Stack[T]) Plan() []Action[T] {
	plan := slices.Clone(s.actions)
	slices.Reverse(plan)
	slices.SortStableFunc(plan, func(a, b Action[T]) int { return cmp.Compare(b.Order, a.Order) })
	return plan
}

// Unwind runs the actions, latest start first, one after the other. Those
// whose run returned nil leave the stack; those that failed, and those that
// InOrder did not get to, stay on it, so that Unwind can be called again. The
// error joins what failed, each an *Error. A context that has ended stops it
// before the next action.
func (s *Stack[T]) Unwind(ctx context.Context, p Policy, run func(context.Context, Action[T]) error) error {
	return s.unwind(ctx, p, s.Plan(), func([]Action[T], Action[T]) bool { return false }, func(ctx context.Context, batch []Action[T]) []error {
		return []error{run(ctx, batch[0])}
	})
}

// UnwindTogether is Unwind for a runner that takes neighbours which may be undone
// beside each other (Action.Together) at once, and returns an error for each.
func (s *Stack[T]) UnwindTogether(ctx context.Context, p Policy, run func(context.Context, []Action[T]) []error) error {
	return s.unwind(ctx, p, rounds(s.Plan()), together, run)
}

// rounds puts neighbours that may be undone beside each other in the order in which
// they are: the first of each lane, then the second of each that has one.
func rounds[T any](plan []Action[T]) []Action[T] {
	for i, n := 0, 0; i < len(plan); i += n {
		for n = 1; i+n < len(plan) && plan[i].Together != "" && plan[i].Together == plan[i+n].Together; n++ {
		}
		ahead := map[string]int{} // by lane
		var by [][]Action[T]
		for _, a := range plan[i : i+n] {
			round := 0
			if a.Lane != "" {
				round = ahead[a.Lane]
				ahead[a.Lane]++
			}
			if round == len(by) {
				by = append(by, nil)
			}
			by[round] = append(by[round], a)
		}
		copy(plan[i:], slices.Concat(by...))
	}
	return plan
}

// together tells whether next may be undone beside all of a batch.
func together[T any](batch []Action[T], next Action[T]) bool {
	sameLane := func(a Action[T]) bool { return a.Lane != "" && a.Lane == next.Lane }
	return next.Together != "" && batch[0].Together == next.Together && !slices.ContainsFunc(batch, sameLane)
}

func (s *Stack[T]) unwind(ctx context.Context, p Policy, plan []Action[T], together func(batch []Action[T], next Action[T]) bool, run func(context.Context, []Action[T]) []error) error {
	var left []Action[T]
	var errs []error
	for i, n := 0, 0; i < len(plan); i += n {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			left = append(left, plan[i:]...)
			break
		}
		for n = 1; i+n < len(plan) && together(plan[i:i+n], plan[i+n]); n++ {
		}
		failed := false
		for j, err := range run(ctx, plan[i:i+n]) {
			if err != nil {
				errs = append(errs, &Error{Name: plan[i+j].Name, Err: err})
				left = append(left, plan[i+j])
				failed = true
			}
		}
		if failed && p == InOrder {
			left = append(left, plan[i+n:]...)
			break
		}
	}
	slices.Reverse(left) // so that equal orders keep their places
	s.actions = left
	return errors.Join(errs...)
}

// Error says which undo failed.
type Error struct {
	Name string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("undo of %q: %v", e.Name, e.Err) }
func (e *Error) Unwrap() error { return e.Err }
