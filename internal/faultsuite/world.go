package faultsuite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// The two definitions of 14 operations each.
const (
	chainName = "chain" // steps, some of them at most once, a wait, a callback
	tripName  = "trip"  // a saga; every other one is rejected at its pivot
)

// filler makes results as large as results are, so that journals leave heads.
var filler = strings.Repeat("x", 120)

// quick are the times of steps: an interrupted attempt is waited for as long.
const attemptTimeout = 300 * time.Millisecond

func quick() durable.Retry {
	return durable.Retry{MaxAttempts: -1, MaxElapsed: -1, Initial: 5 * time.Millisecond, Max: 20 * time.Millisecond}
}

// effect is one line of evidence.
type effect struct {
	step    string
	what    string // do, undo, late for a do after its undo, void for one that never comes, or ask with the callback's ID in key
	key     string
	attempt int
}

// participant keeps the effects of each execution in a file of its own. As
// participants must, it refuses what arrives after its undo.
type participant struct{ dir string }

func (p participant) path(id string) string { return filepath.Join(p.dir, id) }

// act leaves an effect, unless an undo of its key came before: then it leaves
// only a note that it came.
func (p participant) act(id string, e effect) error {
	_, err := p.unless(id, e, func(b effect) error {
		if e.what == "do" && (b.what == "undo" || b.what == "void") && b.key == e.key {
			return errTombstone
		}
		return nil
	})
	if errors.Is(err, errTombstone) {
		e.what = "late"
		_, failed := p.unless(id, e, func(effect) error { return nil })
		err = errors.Join(err, failed)
	}
	return err
}

// verify tells whether an effect has happened. If not, it never will.
func (p participant) verify(id string, e effect) (happened bool, err error) {
	e.what = "void"
	return p.unless(id, e, func(b effect) error {
		if b.what == "do" && b.key == e.key {
			return errHappened
		}
		return nil
	})
}

// unless leaves an effect if stop has nothing against any that came before.
func (p participant) unless(id string, e effect, stop func(effect) error) (happened bool, err error) {
	lock := flock.New(p.path(id) + ".lock")
	if err := lock.Lock(); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	before, err := p.effects(id)
	if err != nil {
		return false, err
	}
	for _, b := range before {
		if err := stop(b); errors.Is(err, errHappened) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	f, err := os.OpenFile(p.path(id), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return false, err
	}
	_, err = fmt.Fprintf(f, "%s %s %s %d\n", e.step, e.what, e.key, e.attempt)
	return false, errors.Join(err, f.Close())
}

var (
	errTombstone = errors.New("refused: it was undone before")
	errHappened  = errors.New("it has happened")
)

// effects are those of an execution, in order.
func (p participant) effects(id string) (all []effect, err error) {
	f, err := os.Open(p.path(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) != 4 {
			continue // the last line, of a process that was killed in it
		}
		n, err := strconv.Atoi(words[3])
		if err != nil {
			return nil, err
		}
		all = append(all, effect{step: words[0], what: words[1], key: words[2], attempt: n})
	}
	return all, nil
}

func (p participant) step(ctx *durable.Context, name, what string, key func() string, opts ...durable.StepOption) error {
	_, err := durable.Step(ctx, name, func(body context.Context) (string, error) {
		info, _ := durable.StepInfoFrom(body)
		e := effect{step: name, what: what, key: info.Key, attempt: info.Attempt}
		if key != nil {
			e.key = key()
		}
		time.Sleep(rand.N(4 * time.Millisecond))
		return filler, p.act(info.Execution, e)
	}, append(opts, durable.WithTimeout(attemptTimeout), durable.WithRetry(quick()))...)
	return err
}

// chain is twelve steps, a wait and a callback.
func (p participant) chain() *durable.Definition[string, string] {
	return durable.Define(chainName, "1", func(ctx *durable.Context, _ string) (string, error) {
		var answer *durable.Callback[string]
		for i := 1; i <= operations; i++ {
			name := stepName(i)
			var err error
			switch i {
			case 6:
				err = durable.Wait(ctx, name, 30*time.Millisecond)
			case 8:
				if answer, err = durable.CreateCallback[string](ctx, name); err == nil {
					err = p.step(ctx, "ask", "ask", answer.ID)
				}
			default:
				var opts []durable.StepOption
				if once(chainName, name) {
					opts = append(opts, durable.AtMostOnce())
				}
				err = p.step(ctx, name, "do", nil, opts...)
			}
			if err != nil {
				return "", err
			}
		}
		return answer.Result(ctx)
	})
}

// trip is seven steps that can be undone, a pivot, and six steps after it.
func (p participant) trip() *saga.Saga[string, string] {
	b := saga.New[string, string](tripName, "1")
	act := func(what, step string) func(saga.Context) error {
		return func(c saga.Context) error {
			info, _ := durable.StepInfoFrom(c)
			time.Sleep(rand.N(4 * time.Millisecond))
			return p.act(info.Execution, effect{step: step, what: what, key: c.Key(), attempt: c.Attempt()})
		}
	}
	for i := 1; i <= 7; i++ {
		name := stepName(i)
		step := saga.Step(b, name, func(c saga.Context, _ string) (string, error) {
			err := act("do", name)(c)
			if errors.Is(err, errTombstone) {
				err = saga.Reject(err)
			}
			return filler, err
		}).Timeout(attemptTimeout).Retry(quick())
		if once(tripName, name) { // a lost attempt leaves it in doubt, and it is undone so
			step.AtMostOnce()
		}
		step.Undo(func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			info, _ := durable.StepInfoFrom(c)
			return p.act(info.Execution, effect{step: name, what: "undo", key: c.ForwardKey(), attempt: c.Attempt()})
		}, saga.UndoTimeout(attemptTimeout), saga.UndoRetry(quick()))
	}
	saga.Pivot(b, "step-08", func(c saga.Context, in string) (string, error) {
		if in == "reject" {
			return "", saga.Reject(errors.New("declined"))
		}
		return filler, act("do", "step-08")(c)
	}).Timeout(attemptTimeout).Retry(quick()).Verify(func(c saga.Context, _ string) (saga.Verdict[string], error) {
		info, _ := durable.StepInfoFrom(c)
		happened, err := p.verify(info.Execution, effect{step: "step-08", key: c.Key(), attempt: c.Attempt()})
		if happened {
			return saga.Happened(filler), err
		}
		return saga.NoEffect[string](), err
	})
	for i := 9; i <= operations; i++ {
		name := stepName(i)
		saga.Step(b, name, func(c saga.Context, _ string) (string, error) {
			return filler, act("do", name)(c)
		}).Timeout(attemptTimeout).Retry(quick()).Retriable()
	}
	s, err := b.Build(func(saga.Context, string) (string, error) { return filler, nil })
	if err != nil {
		panic(err) // the declaration above is wrong
	}
	return s
}

// once tells which steps run at most once in each attempt.
func once(definition, step string) bool {
	if definition == tripName {
		return step == stepName(5)
	}
	return step == stepName(4) || step == stepName(11)
}

// plan of an execution: its definition and input follow from its number.
func executionID(n int) string {
	name := chainName
	if n%2 == 1 {
		name = tripName
	}
	return fmt.Sprintf("%s-%04d", name, n)
}

func inputOf(n int) string {
	if n%4 == 1 {
		return "reject"
	}
	return "go"
}
