package saga_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

var noUnwinding = durable.Pause{Definition: "shop", Unwinding: true, Actor: "ada", Reason: "the warehouse is down"}

// TestPauseOfUnwinding: sagas go forward, and those that would unwind wait,
// without an operation more in their journals; then they go on.
func TestPauseOfUnwinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newShop(), mem.New()
		s.before["capture"] = func(c saga.Context) error {
			if c.Key() == "bad/1/capture" {
				return saga.Reject(errDeclined)
			}
			return nil
		}
		sg := s.build()
		operator, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := operator.Pause(t.Context(), noUnwinding); err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		bad, err := sg.Start(ctx, e, "bad", order{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := operator.Cancel(ctx, "bad", "customer", "never mind"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		rec, err := store.Load(ctx, "bad", durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		var ops, looks int
		cancelled := false
		for _, e := range rec.Journal {
			ops = max(ops, int(e.Op))
			cancelled = cancelled || e.Kind == durable.EntryCancel && e.Actor == "customer"
			if e.Kind == durable.EntrySuspended {
				looks++
			}
		}
		if s.undoOrder() != "" || ops != 3 || !cancelled || rec.Detail != "rejected/running" {
			t.Errorf("paused: undone %q, %d operations, cancel recorded %v, %s", s.undoOrder(), ops, cancelled, rec.Detail)
		}
		if looks < 20 || looks > 100 {
			t.Errorf("%d looks in two hours", looks)
		}
		good, err := sg.Start(ctx, e, "good", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := good.Wait(ctx); err != nil {
			t.Errorf("forward: got %v, want a commit", err)
		}
		if err := operator.Continue(ctx, "shop", "ada", "it is back"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := bad.Wait(ctx); err == nil || errors.Is(err, durable.ErrParked) {
			t.Errorf("got %v, want that it has unwound", err)
		}
		if took := time.Since(start); took > 7*time.Minute || s.undoOrder() != "reserve authorize" {
			t.Errorf("undone %q after %v", s.undoOrder(), took)
		}
	})
}

// TestPauseBetweenUndos: one that has begun goes on, and the next one waits.
func TestPauseBetweenUndos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newShop(), mem.New()
		s.before["capture"] = rejecting
		sg := s.build()
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		s.before["undo reserve"] = func(saga.Context) error { time.Sleep(20 * time.Second); return nil }
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		operator, err := durable.New(store, durable.Options{}) // in another process
		if err != nil {
			t.Fatal(err)
		}
		if err := operator.Pause(ctx, noUnwinding); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if s.undoOrder() != "reserve" {
			t.Errorf("undone %q during the pause, want the one that had begun", s.undoOrder())
		}
		if err := operator.Continue(ctx, "shop", "ada", "it is back"); err != nil {
			t.Fatal(err)
		}
		if _, _ = x.Wait(ctx); s.undoOrder() != "reserve authorize" {
			t.Errorf("undone %q", s.undoOrder())
		}
	})
}

// TestCrashPaused: whatever dies when, nothing is undone before the operator lets
// it, and everything then.
func TestCrashPaused(t *testing.T) {
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		s := newShop()
		s.before["capture"] = rejecting
		s.verify = s.truth
		start := time.Now()
		early := ""
		for _, name := range []string{"reserve", "authorize"} {
			s.before["undo "+name] = func(saga.Context) error {
				if since := time.Since(start); since < 3*time.Minute {
					early = name + " after " + since.String()
				}
				return nil
			}
		}
		sg := s.build()
		if err := w.Client.Pause(w.Context(), noUnwinding); err != nil {
			w.Errorf("pause: %v", err)
		}
		go func() {
			time.Sleep(3 * time.Minute)
			if err := w.Client.Continue(w.Context(), "shop", "ada", "it is back"); err != nil {
				w.Errorf("continue: %v", err)
			}
		}()
		return durabletest.Subject{
			Definitions: []durable.Registrable{sg}, Start: starter(sg), Options: fast, Pairs: 12,
			Check: func() {
				rec, err := w.Store.Load(w.Context(), "o1", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				if err := foretold(rec); err != nil {
					w.Errorf("effects: %v", err)
				}
				if early != "" || len(s.wrong) > 0 || s.verdict(allSteps...) != "none" || s.undoOrder() != "reserve authorize" || !rec.Status.Ended() {
					w.Errorf("got %s, standing %s, undone %q, too early %q, %v; calls: %s", rec.Detail, s.verdict(allSteps...), s.undoOrder(), early, s.wrong, s.history())
				}
			},
		}
	})
}
