package sagatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// CheckUndos calls the undos of a saga in all the ways in which they will be
// called one day, and fails the test over those that are not up to it. The saga
// runs four times for each step that can be undone:
//
//   - The step happens, and is undone twice, as after a crash. Then its body is
//     called once more, as by a request that was late on its way.
//   - So too, with an attempt before it whose answer was lost.
//   - The step happens, and no answer comes: its undo is called without the
//     result and must find the effect by UndoContext.ForwardKey, twice too.
//   - The step does not happen, and no answer comes: its undo is called for
//     nothing. Then the request arrives, which the participant has to refuse.
//
// What each call changed is seen by Outside.Standing, called before and after.
// If there is Outside.Requests, an idempotency key that came with two inputs is
// found too. Steps that the saga does not come past with this input are logged.
// A durable function (saga.Run) is called once and not late, and what it does is
// not looked at.
func CheckUndos[In, Out any](t *testing.T, sg *saga.Saga[In, Out], input In, outside Outside, opts ...Option) {
	t.Helper()
	problems, passed := undoProblems(t, sg, input, outside, opts...)
	for _, p := range problems {
		t.Error(p)
	}
	if len(passed) > 0 {
		t.Logf("not checked, because the saga does not come past them: %s", strings.Join(passed, ", "))
	}
}

// scenario is how a step comes to be undone.
type scenario string

const (
	known    scenario = "after it succeeded"
	retried  scenario = "after its second attempt"
	inDoubt  scenario = "in doubt, having happened"
	unstated scenario = "in doubt, not having happened"
)

func undoProblems[In, Out any](t *testing.T, sg *saga.Saga[In, Out], input In, outside Outside, opts ...Option) (problems, passed []string) {
	o := optionsOf(opts)
	for name, node := range steps(sg.Shape().Nodes, "") {
		if node.Class != "undoable" {
			continue
		}
		for _, s := range []scenario{known, retried, inDoubt, unstated} {
			id := newID()
			u := &undoCheck{outside: outside, step: name, scenario: s, durable: node.Kind == "run"}
			head := once(t, sg, input, o, id, func(client *durable.Engine) saga.Interceptor {
				u.injector, u.turn = newInjector(o, id, client), make(chan struct{}, 1)
				return u.intercept
			})
			u.end(&head)
			problems = append(problems, u.problems...)
			if !u.came && !slices.Contains(passed, name) {
				passed = append(passed, name)
			}
		}
	}
	return slices.Compact(append(problems, reused(outside)...)), passed
}

// reused finds keys that came with more than one input.
func reused(outside Outside) (problems []string) {
	if outside.Requests == nil {
		return nil
	}
	first, told := map[string]string{}, map[string]bool{}
	for _, r := range outside.Requests() {
		switch was, seen := first[r.Key]; {
		case !seen:
			first[r.Key] = r.Input
		case was != r.Input && !told[r.Key]:
			told[r.Key] = true
			problems = append(problems, fmt.Sprintf("idempotency key %q came with input %s, and then with %s: a participant answers the second as it did the first, or refuses it; derive the key from Context.Key, and the input from what is recorded", r.Key, was, r.Input))
		}
	}
	return problems
}

// undoCheck is the interceptor of one run: it watches one step.
type undoCheck struct {
	*injector
	outside  Outside
	step     string
	scenario scenario
	durable  bool // it is a durable function

	// turn is held by one call at a time, so that what it changes is its own. A
	// mutex would keep the bubble's time from passing.
	turn     chan struct{}
	problems []string
	came     bool
	late     func() error   // calls the forward function
	effect   map[string]int // of the forward function
	undone   bool
}

func (u *undoCheck) problem(format string, args ...any) {
	u.problems = append(u.problems, fmt.Sprintf("step %q %s: ", u.step, u.scenario)+fmt.Sprintf(format, args...))
}

// change calls f and returns what it has changed.
func (u *undoCheck) change(f func() error) (diff map[string]int, err error) {
	before := u.outside.Standing()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
		diff = minus(u.outside.Standing(), before)
	}()
	return nil, f()
}

// minus is what b lacks of a, without zeros.
func minus(a, b map[string]int) map[string]int {
	diff := maps.Clone(a)
	if diff == nil {
		diff = map[string]int{}
	}
	for k, n := range b {
		diff[k] -= n
	}
	maps.DeleteFunc(diff, func(_ string, n int) bool { return n == 0 })
	return diff
}

func (u *undoCheck) intercept(ctx context.Context, c saga.Call, next func(context.Context) error) error {
	if c.Attempt == 0 { // durable functions take as long as they like, and wait for nobody
		if c.Step == u.step {
			return u.run(ctx, c, next)
		}
		return next(ctx)
	}
	u.turn <- struct{}{}
	defer func() { <-u.turn }()
	switch {
	case c.Step != u.step, c.Kind == saga.CallRemind:
		return u.do(ctx, c, next)
	case c.Kind == saga.CallVerify:
		return nil // it is unknown, so that the undo is called
	case c.Kind == saga.CallUndo:
		u.undo(ctx, next)
		return nil // whatever is wrong with it is known now
	}
	return u.forward(ctx, c, next)
}

// run is the step's durable function. Replays come past it as the first time.
func (u *undoCheck) run(ctx context.Context, c saga.Call, next func(context.Context) error) error {
	u.came = true
	if u.scenario == unstated {
		return durable.Permanent(errInjected)
	}
	if err := next(ctx); err != nil {
		return err
	}
	return u.ended(ctx, c)
}

// ended makes the saga unwind after the step has happened.
func (u *undoCheck) ended(ctx context.Context, c saga.Call) error {
	switch {
	case u.scenario == inDoubt:
		return durable.Permanent(errInjected)
	case u.scenario == retried && c.Attempt == 1:
		return errInjected // the answer is lost
	}
	return u.cancel(ctx)
}

// forward is the body of the step.
func (u *undoCheck) forward(ctx context.Context, c saga.Call, next func(context.Context) error) error {
	u.came = true
	u.late = func() error { return next(context.WithoutCancel(ctx)) }
	if u.scenario == unstated {
		return durable.Permanent(errInjected)
	}
	diff, err := u.change(func() error { return u.do(ctx, c, next) })
	switch {
	case err != nil:
		u.problem("it failed by itself: %v", err)
		return durable.Permanent(err)
	case u.effect != nil && len(diff) > 0:
		u.problem("its body is not idempotent: a second attempt under the same key changed %v", diff)
	case u.effect == nil:
		u.effect = diff
		if len(diff) == 0 {
			u.problem("Standing shows no effect of it, so nothing can be checked")
		}
	}
	return u.ended(ctx, c)
}

// undo is the undo of the step.
func (u *undoCheck) undo(ctx context.Context, next func(context.Context) error) {
	u.undone = true
	call := func() error { return next(ctx) }
	diff, err := u.change(call)
	switch {
	case err != nil && u.scenario == unstated:
		u.problem("its undo fails when there is nothing to undo: %v; it must succeed, and leave a tombstone at the participant", err)
		return
	case err != nil && u.scenario == inDoubt:
		u.problem("its undo fails without the result: %v; find the effect by UndoContext.ForwardKey", err)
		return
	case err != nil:
		u.problem("its undo fails: %v", err)
		return
	case !maps.Equal(diff, minus(nil, u.effect)) && (!u.durable || u.scenario == unstated):
		u.problem("the step changed %v, and its undo %v, which does not take that back", u.effect, diff)
	}
	if diff, err = u.change(call); err != nil || len(diff) > 0 {
		u.problem("its undo is not idempotent: a second call changed %v and returned %v", diff, err)
	}
	if u.durable {
		return
	}
	if diff, _ = u.change(u.late); len(diff) > 0 {
		u.problem("a forward request that arrives after the undo has an effect, %v: the undo must leave a tombstone for the forward key, known or not", diff)
	}
}

// end looks at how the saga ended.
func (u *undoCheck) end(h *durable.Head) {
	switch {
	case !u.came:
	case h.Status == durable.StatusParked:
		u.problem("the saga parked: %s: %s", h.Park.Reason, h.Park.Message)
	case !u.undone:
		var err error
		if h.Error != nil {
			err = errors.New(h.Error.Message)
		}
		u.problem("it was not undone; the saga is %v: %v", h.Status, err)
	}
}
