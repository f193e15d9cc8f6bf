package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// undoable declares one of the shop's steps on a scope.
func (s *shop) undoable(on saga.Scope[order], name string) saga.Output[string] {
	return saga.Step(on, name, s.body(name)).Undo(s.undoing(name))
}

// tree declares a saga of everything: a branch that is taken and one that is
// not, a group with a branch and a sub-saga in it, an approval, a step that is a
// durable function, a wait, the pivot, and a group after it.
func (s *shop) tree(client *durable.Engine, approve func(id string) error) *saga.Saga[order, string] {
	inner := saga.New[int, string]("inner", "1")
	innerOut := saga.Step(inner, "inner a", func(c saga.Context, n int) (string, error) {
		v, err := s.body("inner a")(c, order{})
		return fmt.Sprint(v, n), err
	}).Undo(func(c saga.UndoContext, _ int, m saga.Maybe[string]) error {
		if v, ok := m.Get(); ok && v != "inner a-ed7" {
			return durable.Permanent(fmt.Errorf("got %q", v))
		}
		return s.undoing("inner a")(c, order{}, saga.Maybe[string]{})
	})
	sub, err := inner.Build(func(c saga.Context, _ int) (string, error) { return innerOut.Of(c) + "!", nil })
	if err != nil {
		panic(err)
	}
	b := saga.New[order, string]("tree", "1")
	first := s.undoable(b, "first")
	vip := saga.When(b, "vip", func(c saga.Context, o order) bool { return first.Of(c) == "first-ed" })
	s.undoable(vip, "gift")
	never := saga.When(b, "never", func(c saga.Context, o order) bool { return o.Card == "black" })
	unused := s.undoable(never, "lounge")
	g := saga.Parallel(b, "book")
	left := s.undoable(g, "left")
	way := g.Branch("way")
	s.undoable(way, "way 1")
	s.undoable(way, "way 2")
	fromSub := saga.Sub(g, "inside", sub, func(c saga.Context, _ order) (int, error) { return 7, nil })
	answer := saga.Await[string](b, "approval", func(c saga.Context, _ order, id string) error {
		if err := s.hook(c, "approval"); err != nil {
			return err
		}
		s.do(c, "approval", s.takes)
		return approve(id)
	}).Timeout(time.Hour).Undo(func(c saga.UndoContext, _ order, m saga.Maybe[string]) error {
		if v, ok := m.Get(); ok && v != "yes" {
			return durable.Permanent(fmt.Errorf("got %q", v))
		}
		return s.undoing("approval")(c, order{}, saga.Maybe[string]{})
	})
	ran := saga.Run(b, "flow", func(ctx *durable.Context, _ order) (string, error) {
		for _, part := range []string{"flow 1", "flow 2"} {
			_, err := durable.Step(ctx, part, func(c context.Context) (int, error) {
				s.do(c, part, s.takes)
				return 1, nil
			})
			if err == nil {
				err = durable.Wait(ctx, "rest", time.Minute)
			}
			if err != nil {
				return "", err
			}
		}
		return "flowed", nil
	}).Undo(func(c saga.UndoContext, _ order, m saga.Maybe[string]) error {
		s.undo("flow 2")
		s.undo("flow 1")
		return nil
	})
	saga.Wait(b, "sleep", time.Hour)
	saga.Pivot(b, "capture", s.body("capture")).Verify(func(c saga.Context, _ order) (saga.Verdict[string], error) { return s.truth(c) })
	after := saga.Parallel(b, "tell")
	saga.Step(after, "mail", s.body("mail")).Retriable()
	saga.Step(after, "ledger", s.body("ledger")).Retriable()
	sg, err := b.Build(func(c saga.Context, _ order) (string, error) {
		if _, ok := unused.Get(c); ok {
			return "", errors.New("a branch that was not taken has an output")
		}
		return strings.Join([]string{left.Of(c), fromSub.Of(c), answer.Of(c), ran.Of(c)}, ","), nil
	})
	if err != nil {
		panic(err)
	}
	return sg
}

func (s *shop) hook(c saga.Context, name string) error {
	if hook := s.before[name]; hook != nil {
		return hook(c)
	}
	return nil
}

var treeSteps = []string{"first", "gift", "left", "way 1", "way 2", "inner a", "approval", "flow 1", "flow 2", "capture", "mail", "ledger"}

// TestCrashTree: whichever step of it fails or is cancelled, all is undone, and
// an approval that nobody refuses leads to the end.
func TestCrashTree(t *testing.T) {
	fails := map[string]string{"": "committed/none"}
	for _, name := range []string{"gift", "left", "way 2", "inner a", "approval", "capture"} {
		fails[name] = "rejected/complete"
	}
	fails["refused"], fails["cancelled"], fails["cancelled in group"] = "rejected/complete", "cancelled/complete", "cancelled/complete"
	for what, status := range fails {
		t.Run(what, func(t *testing.T) {
			durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
				s := newShop()
				s.before[what] = rejecting
				cancel := func(saga.Context) error { return ignore(w.Client.Cancel(w.Context(), "o1", "test", "enough")) }
				switch what {
				case "cancelled":
					s.after["first"] = cancel
				case "cancelled in group":
					s.after["way 1"] = cancel
				}
				sg := s.tree(w.Client, func(id string) error {
					if what == "refused" {
						return ignore(w.Client.FailCallback(w.Context(), id, errors.New("no")))
					}
					return ignore(w.Client.CompleteCallback(w.Context(), id, "yes"))
				})
				return durabletest.Subject{
					Definitions: []durable.Registrable{sg}, Start: starter(sg), Options: fast, Pairs: 2,
					Check: func() {
						rec, err := w.Store.Load(w.Context(), "o1", durable.LoadAll)
						if err != nil {
							w.Errorf("load: %v", err)
							return
						}
						if err := foretold(rec); err != nil {
							w.Errorf("effects: %v; calls: %s", err, s.history())
						}
						stands := "none"
						if status == "committed/none" {
							stands = "all"
						}
						if got := saga.StatusOf(&rec.Head); len(s.wrong) > 0 || got.String() != status || s.verdict(treeSteps...) != stands {
							w.Errorf("got %v (%v), standing %s, %v; want %s and %s; calls: %s", got, rec.Error, s.verdict(treeSteps...), s.wrong, status, stands, s.history())
						}
						if want := `"left-ed,inner a-ed7!,yes,flowed"`; status == "committed/none" && string(rec.Result) != want {
							w.Errorf("got %s, want %s", rec.Result, want)
						}
					},
				}
			})
		})
	}
}

func ignore(err error) error {
	if errors.Is(err, durable.ErrDelivered) || errors.Is(err, durable.ErrEnded) || errors.Is(err, durable.ErrNotOpen) {
		return nil
	}
	return err
}

// TestStuckBesideOneThatGoesOn: of two members that wait for a person one goes
// on, and the saga is stuck for the other's sake. A replay of the one that is
// asked about first takes its time, so that it comes to its decision after the
// other has come to its place.
func TestStuckBesideOneThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		b := saga.New[order, string]("s", "1")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		g := saga.Parallel(b, "tell")
		s.before["mail"] = func(saga.Context) error { time.Sleep(time.Second); return saga.Reject(errDeclined) }
		s.before["ledger"] = rejecting
		saga.Step(g, "mail", s.body("mail")).Retriable()
		saga.Step(g, "ledger", s.body("ledger")).Retriable()
		sg, err := b.Build(nothing)
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{Observer: slowly("ledger")}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ledger", "mail"} {
			_, err := x.Wait(ctx)
			rec, _ := e.Store().Load(ctx, "o1", durable.LoadHead)
			var parked *durable.ParkedError
			if !errors.As(err, &parked) || parked.Park.Operation != want || rec.Detail != "committed/stuck" {
				t.Fatalf("got %v and status %s, want parked at %s, committed/stuck", err, rec.Detail, want)
			}
			delete(s.before, want)
			if err := e.Act(ctx, "o1", rec.Revision, durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := x.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
}

// slowly is an observer that holds up replays of the operation of its name.
type slowly string

func (name slowly) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if o.Replayed && o.Name == string(name) {
		time.Sleep(time.Millisecond)
	}
	return ctx
}
