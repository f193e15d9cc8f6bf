package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

func TestOnParkedTellsWhatAnOperatorNeeds(t *testing.T) {
	told := make(chan durable.Head, 10)
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		s.before["reserve"] = rejecting
		s.before["undo authorize"] = always(durable.Permanent(errOutage))
		b := saga.New[order, string]("shop", "1").OnParked(func(_ context.Context, h durable.Head) {
			told <- h
			panic("nobody minds")
		})
		s.undoable(b, "authorize")
		s.undoable(b, "reserve")
		return built(b)
	}, func(r *ran) {
		synctest.Wait()
		if len(told) != 1 {
			t.Fatalf("told %d times, want once", len(told))
		}
		h := <-told
		if h.ID != "o1" || h.Revision != r.head.Revision || h.Park.Reason != saga.ParkUndoFailed || saga.StatusOf(&h).String() != "rejected/stuck" {
			t.Errorf("told of %q at revision %d (%s, %s), want o1 at %d", h.ID, h.Revision, h.Park.Reason, h.Detail, r.head.Revision)
		}
		r.act(durable.Decision{Verb: durable.VerbRetry})
		synctest.Wait()
		if len(told) != 1 {
			t.Errorf("told %d times of the second parking, want once", len(told))
		}
		r.act(durable.Decision{Verb: durable.VerbSkip})
		r.is("rejected/complete", "authorize", "")
	})
}

// overdue is a saga whose unwinding may take an hour, and takes longer.
func overdue(s *shop) *saga.Saga[order, string] {
	s.before["reserve"] = rejecting
	b := saga.New[order, string]("shop", "1").UnwindTimeout(time.Hour)
	s.undoable(b, "authorize")
	s.undoable(b, "stock")
	s.undoable(b, "reserve")
	return built(b)
}

func TestUnwindTimeout(t *testing.T) {
	t.Run("in the retries of an undo", func(t *testing.T) {
		serveSaga(t, func(s *shop) *saga.Saga[order, string] {
			s.before["undo stock"] = always(errOutage) // for a day, by its policy
			return overdue(s)
		}, func(r *ran) {
			r.parked(saga.ParkUnwindDeadline)
			r.is("rejected/stuck", "authorize", "")
			if r.took < 50*time.Minute || r.took > time.Hour+time.Second || !strings.Contains(r.err.Error(), "outage") {
				t.Errorf("parked after %v with %v, want after an hour, with what the undo failed for", r.took, r.err)
			}
			r.before["undo stock"] = nil
			r.act(durable.Decision{Verb: durable.VerbRetry})
			r.is("rejected/complete", "none", "stock authorize")
		})
	})
	for verb, stands := range map[durable.Verb]string{durable.VerbRetry: "none", durable.VerbSkip: "authorize"} {
		t.Run("between undos, then "+string(verb), func(t *testing.T) {
			serveSaga(t, func(s *shop) *saga.Saga[order, string] {
				s.before["reserve"] = rejecting
				s.before["undo stock"] = func(saga.Context) error { time.Sleep(time.Hour); return nil }
				b := saga.New[order, string]("shop", "1").UnwindTimeout(time.Hour)
				s.undoable(b, "authorize")
				saga.Step(b, "stock", s.body("stock")).Undo(s.undoing("stock"), saga.UndoTimeout(2*time.Hour))
				s.undoable(b, "reserve")
				return built(b)
			}, func(r *ran) {
				r.parked(saga.ParkUnwindDeadline)
				r.parkedAt("authorize", "longer than 1h0m0s")
				r.act(durable.Decision{Verb: verb})
				if got := saga.StatusOf(&r.head).String(); got != "rejected/complete" || r.verdict("authorize", "stock", "reserve") != stands {
					t.Errorf("got %s, standing %s, want %s", got, r.verdict("authorize", "stock", "reserve"), stands)
				}
			})
		})
	}
	t.Run("is not met", func(t *testing.T) {
		serveSaga(t, func(s *shop) *saga.Saga[order, string] {
			s.before["undo stock"] = times(3, errOutage)
			return overdue(s)
		}, func(r *ran) { r.is("rejected/complete", "none", "stock authorize") })
	})
}

// parkedAt checks over what the order is parked.
func (r *ran) parkedAt(operation, says string) {
	r.t.Helper()
	if p := r.head.Park; p == nil || p.Operation != operation || !strings.Contains(p.Message, says) {
		r.t.Errorf("parked over %+v, want over %q that says %q", p, operation, says)
	}
}

func TestUndoIndependently(t *testing.T) {
	make := func(s *shop) *saga.Saga[order, string] {
		s.before["capture"] = rejecting
		s.before["undo reserve"] = always(durable.Permanent(errOutage))
		b := saga.New[order, string]("shop", "1").UndoIndependently()
		for _, name := range []string{"authorize", "reserve", "stock"} {
			s.undoable(b, name)
		}
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		return built(b)
	}
	serveSaga(t, make, func(r *ran) {
		r.parked(saga.ParkUndoFailed)
		r.is("rejected/stuck", "reserve", "stock authorize")
		r.parkedAt("reserve", "outage")
		r.before["undo reserve"] = nil
		r.act(durable.Decision{Verb: durable.VerbRetry})
		r.is("rejected/complete", "none", "stock authorize reserve")
	})
}

// TestUndoIndependentlyOfTheSameSubSagaTwice: an undo that fails in one is not
// taken for the same one of the other.
func TestUndoIndependentlyOfTheSameSubSagaTwice(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		inner := saga.New[string, string]("leg", "1")
		saga.Step(inner, "book", func(c saga.Context, leg string) (string, error) {
			return s.body("book "+leg)(c, order{})
		}).Undo(func(c saga.UndoContext, leg string, m saga.Maybe[string]) error {
			return s.undoing("book "+leg)(c, order{}, m)
		})
		leg, err := inner.Build(func(saga.Context, string) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		b := saga.New[order, string]("trip", "1").UndoIndependently()
		for _, name := range []string{"out", "back"} {
			saga.Sub(b, name, leg, func(saga.Context, order) (string, error) { return name, nil })
		}
		saga.Do(b, "pay", func(c saga.Context, _ order) error { return rejecting(c) }).Irreversible("test")
		s.before["undo book back"] = always(durable.Permanent(errOutage))
		return built(b)
	}, func(r *ran) {
		r.parked(saga.ParkUndoFailed)
		r.parkedAt("back/book", "outage")
		if r.undoOrder() != "book out" {
			t.Errorf("undone %q, want the other leg", r.undoOrder())
		}
		r.act(durable.Decision{Verb: durable.VerbSkip})
		if !strings.Contains(r.err.Error(), "undone: out/book; skipped: back/book") {
			t.Errorf("got %v", r.err)
		}
	})
}

// together declares a group of three whose steps are undone beside each other,
// after what comes behind it and before what stands ahead of it.
func together(s *shop) *saga.Saga[order, string] {
	s.before["capture"] = rejecting
	b := saga.New[order, string]("shop", "1").UnwindTimeout(48 * time.Hour)
	s.undoable(b, "authorize")
	g := saga.Parallel(b, "book").UndoTogether()
	s.undoable(g, "left")
	s.undoable(g, "right")
	way := g.Branch("way")
	s.undoable(way, "far")
	s.undoable(b, "stock")
	saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
	return built(b)
}

func TestUndoTogether(t *testing.T) {
	var now, most atomic.Int32
	slow := func(c saga.Context) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		time.Sleep(10 * time.Second)
		return nil
	}
	names := []string{"left", "right", "far"}
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		for _, name := range names {
			s.before["undo "+name] = slow
		}
		return together(s)
	}, func(r *ran) {
		undone := strings.Fields(r.undoOrder())
		if saga.StatusOf(&r.head).String() != "rejected/complete" || len(undone) != 5 || undone[0] != "stock" || undone[4] != "authorize" {
			t.Errorf("%s, undone %q; want stock, the group, authorize", r.head.Detail, undone)
		}
		if most.Load() != 3 {
			t.Errorf("%d undos of the group at once, want 3", most.Load())
		}
	})
}

// TestUndoTogetherKeepsTheOrderOfABranch: beside each other are members of the group,
// not the steps of one.
func TestUndoTogetherKeepsTheOrderOfABranch(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		s.before["capture"] = rejecting
		s.before["undo second"] = func(saga.Context) error { time.Sleep(10 * time.Second); return nil }
		s.before["undo left"] = func(saga.Context) error { time.Sleep(5 * time.Second); return nil }
		b := saga.New[order, string]("shop", "1")
		g := saga.Parallel(b, "book").UndoTogether()
		s.undoable(g, "left")
		way := g.Branch("way")
		s.undoable(way, "first")
		s.undoable(way, "second")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		return built(b)
	}, func(r *ran) {
		r.is("rejected/complete", "none", "left second first")
	})
}

// TestUndoTogetherParksForOneAtATime: each that fails is put before the operator,
// and what is undone beside it is not undone twice.
func TestUndoTogetherParksForOneAtATime(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		s.before["undo left"] = always(durable.Permanent(errOutage))
		s.before["undo far"] = always(durable.Permanent(errOutage))
		return together(s)
	}, func(r *ran) {
		parked := map[string]bool{}
		for range 2 {
			r.parked(saga.ParkUndoFailed)
			parked[r.head.Park.Operation] = true
			r.act(durable.Decision{Verb: durable.VerbSkip})
		}
		if !parked["left"] || !parked["far"] || r.undoOrder() != "stock right authorize" {
			t.Errorf("parked over %v, undone %q", parked, r.undoOrder())
		}
		if got := saga.StatusOf(&r.head).String(); got != "rejected/complete" || !strings.Contains(r.err.Error(), "undone: stock, right, authorize; skipped: ") {
			t.Errorf("got %s, %v", got, r.err)
		}
	})
}

// operated lets an operator, who is not part of what crashes, retry what parks
// until nothing is parked any more. The pivot of these sagas rejects, so one that
// a crash left in doubt has had no effect.
func operated(w *durabletest.World, retry func()) func() bool {
	return func() bool {
		rec, err := w.Store.Load(w.Context(), "o1", durable.LoadHead)
		if err != nil || rec.Status != durable.StatusParked {
			return err == nil
		}
		retry()
		d := durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "test"}
		if rec.Park.Reason == saga.ParkPivotInDoubt {
			d.Verb, d.NoEffect = durable.VerbResolve, true
		}
		err = w.Client.Act(w.Context(), "o1", rec.Revision, d)
		if err != nil && !errors.Is(err, durable.ErrDelivered) {
			w.Errorf("retry: %v", err)
		}
		return false
	}
}

// TestCrashUnwinding: in every way that undos may run and park, they end with
// everything undone, whatever dies when.
func TestCrashUnwinding(t *testing.T) {
	for name, build := range map[string]func(*shop) *saga.Saga[order, string]{
		"together": together,
		"independently": func(s *shop) *saga.Saga[order, string] {
			s.before["capture"] = rejecting
			b := saga.New[order, string]("shop", "1").UndoIndependently().UnwindTimeout(time.Hour)
			for _, name := range []string{"authorize", "left", "right"} {
				s.undoable(b, name)
			}
			saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
			return built(b)
		},
		"late": func(s *shop) *saga.Saga[order, string] {
			sg := overdue(s)
			s.before["undo stock"] = always(errOutage)
			return sg
		},
	} {
		t.Run(name, func(t *testing.T) {
			durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
				s := newShop()
				for _, name := range []string{"left", "right"} {
					s.before["undo "+name] = always(durable.Permanent(errOutage))
				}
				sg := build(s)
				return durabletest.Subject{
					Definitions: []durable.Registrable{sg}, Start: starter(sg), Pairs: 4,
					Options: durable.Options{Lease: time.Minute, InboxCheck: 10 * time.Second, PollMax: time.Minute},
					Settled: operated(w, func() {
						for _, name := range []string{"left", "right", "stock"} {
							delete(s.before, "undo "+name)
						}
					}),
					Check: func() {
						rec, err := w.Store.Load(w.Context(), "o1", durable.LoadAll)
						if err != nil {
							w.Errorf("load: %v", err)
							return
						}
						if err := leftAgrees(rec); err != nil {
							w.Errorf("%v", err)
						}
						stands := s.verdict("authorize", "left", "right", "far", "stock", "reserve")
						if !strings.HasSuffix(rec.Detail, "ed/complete") || len(s.wrong) > 0 || stands != "none" {
							w.Errorf("got %s (%v %v), standing %s, %v; calls: %s", rec.Detail, rec.Status, rec.Error, stands, s.wrong, s.history())
						}
					},
				}
			})
		})
	}
}

func TestLimitOfBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := saga.NewLimit(2, 0)
		var now, most, ran atomic.Int32
		b := saga.New[order, string]("shop", "1")
		saga.Do(b, "call", func(saga.Context, order) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			ran.Add(1)
			time.Sleep(5 * time.Second)
			return nil
		}).Limit(limit).ReadOnly()
		took := finish(t, built(b), 7)
		if most.Load() != 2 || ran.Load() != 7 || took < 20*time.Second || took > 30*time.Second {
			t.Errorf("%d at once, %d in all, in %v; want 2, 7, in 20 s", most.Load(), ran.Load(), took)
		}
	})
}

func TestLimitOfBodiesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := saga.NewLimit(0, 2)
		var mu sync.Mutex
		var begun []time.Time
		b := saga.New[order, string]("shop", "1")
		saga.Do(b, "call", func(saga.Context, order) error { return nil }).Limit(limit).Undo(func(saga.UndoContext, order, bool) error {
			mu.Lock()
			defer mu.Unlock()
			begun = append(begun, time.Now())
			return nil
		}, saga.UndoLimit(limit))
		saga.Do(b, "pay", func(c saga.Context, _ order) error { return rejecting(c) }).ReadOnly()
		finish(t, built(b), 6)
		if len(begun) != 6 {
			t.Fatalf("%d undos, want 6", len(begun))
		}
		for i := 1; i < len(begun); i++ {
			if gap := begun[i].Sub(begun[i-1]); gap < 490*time.Millisecond {
				t.Errorf("undo %d begins %v after the one before, want half a second", i, gap)
			}
		}
	})
}

// TestLimitWithoutATurn: an attempt that did not get to begin had no effect, is
// no rejection, and is followed by another.
func TestLimitWithoutATurn(t *testing.T) {
	for name, c := range map[string]struct {
		busy          time.Duration
		deadline      time.Duration
		status, calls string
	}{
		"for a while":   {30 * time.Second, time.Hour, "committed/none", "authorize, call"},
		"for too long":  {time.Hour, 10 * time.Hour, "failed/complete", "authorize, undo authorize"},
		"until it ends": {time.Hour, 25 * time.Second, "timed-out/complete", "authorize, undo authorize"},
	} {
		t.Run(name, func(t *testing.T) {
			serveSaga(t, func(s *shop) *saga.Saga[order, string] {
				limit := saga.NewLimit(1, 0)
				b := saga.New[order, string]("shop", "1").Timeout(c.deadline)
				s.undoable(b, "authorize")
				g := saga.Parallel(b, "both")
				saga.Do(g, "busy", func(ctx saga.Context, _ order) error {
					select {
					case <-time.After(c.busy):
					case <-ctx.Done():
					}
					return ctx.Err()
				}).Limit(limit).Timeout(2 * time.Hour).ReadOnly()
				way := g.Branch("way")
				saga.Wait(way, "a moment", time.Second)
				saga.Step(way, "call", s.body("call")).Limit(limit).Timeout(10 * time.Second).Undo(s.undoing("call"))
				return built(b)
			}, func(r *ran) {
				if got := saga.StatusOf(&r.head).String(); got != c.status || r.history() != c.calls {
					t.Errorf("got %s (%v) with calls %s; want %s with %s", got, r.err, r.history(), c.status, c.calls)
				}
				for e := range durable.History(r.record()) {
					if e.Type == "SagaRejected" {
						t.Error("the history calls it a rejection")
					}
				}
			})
		})
	}
}

// finish runs n orders of a saga to their ends.
func finish(t *testing.T, sg *saga.Saga[order, string], n int) time.Duration {
	t.Helper()
	e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
	defer stop()
	start := time.Now()
	var all []*durable.Execution[string]
	for i := range n {
		x, err := sg.Start(ctx, e, fmt.Sprint("o", i), order{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	for _, x := range all {
		_, _ = x.Wait(ctx) // what became of them the bodies know
	}
	return time.Since(start)
}
