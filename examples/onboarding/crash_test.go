package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/saga/sagatest"
)

// build declares the saga over a world.
func build(t testing.TB, w *world) *saga.Saga[Hire, Welcome] {
	t.Helper()
	s, err := onboard(deps{outside: w, day: w.day})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// yes are the answers of a provider and a manager who agree at once.
var yes = []sagatest.Option{sagatest.Answer("identity check", Answer{By: "provider"}), sagatest.Answer("approval", Answer{By: "grace"})}

// TestUndos: undos are called twice, without their step, and before it.
func TestUndos(t *testing.T) {
	w := newWorld(24 * time.Hour)
	sagatest.CheckUndos(t, build(t, w), ada, w.p.Outside(), yes...)
}

// TestEveryFailureUnderCrashes: whichever step fails in whichever way, and
// wherever the process dies meanwhile, everything is done or everything is undone;
// or it is parked, because of a bug.
func TestEveryFailureUnderCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(24 * time.Hour)
	sagatest.CrashEverywhere(t, build(t, w), ada, func(r *sagatest.Run) {
		switch r.Status.String() {
		case "committed/none":
			if r.Head.Status == durable.StatusSucceeded {
				if err := w.whole(r.ID, true); err != nil {
					r.Error(err)
				}
				return
			}
		case "rejected/complete", "failed/complete", "cancelled/complete":
			if err := w.whole(r.ID, false); err != nil {
				r.Error(err)
			}
			return
		}
		if r.Head.Status != durable.StatusParked || r.Head.Park.Reason != durable.ParkPanic {
			r.Errorf("it is %s, with %v standing", r.Outcome(), w.rest(r.ID))
		}
	}, yes...)
}

// TestThreeWeeksUnderCrashes: with people who take their time, over processes that
// die at every write, once and twice.
func TestThreeWeeksUnderCrashes(t *testing.T) {
	t.Parallel()
	const day = 10 * time.Minute // who is cut off asks the store all the time
	old := ada
	old.Laptop = discontinued
	for _, c := range []struct {
		name      string
		hire      Hire
		happens   func(a answers)
		status    string
		reminders int
	}{
		{"approved on day 20", ada, func(a answers) {
			time.Sleep(day)
			a.provider("working")
			time.Sleep(3 * day / 2)
			a.provider("pass")
			time.Sleep(17*day + day/2)
			a.manager("approve")
		}, "committed/none", 4},
		{"refused on day 10", ada, func(a answers) {
			time.Sleep(day / 2)
			a.provider("pass")
			time.Sleep(10 * day)
			a.manager("refuse")
		}, "rejected/complete", 1},
		{"nobody answers", ada, func(answers) {}, "failed/complete", 1},
		{"no such laptop", old, func(a answers) {
			time.Sleep(day / 2)
			a.provider("pass")
			time.Sleep(day)
			a.manager("approve")
		}, "rejected/complete", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats := durabletest.CrashEverywhere(t, func(dw *durabletest.World) durabletest.Subject {
				w := newWorld(day)
				s := build(dw, w)
				var people sync.WaitGroup
				people.Go(func() { c.happens(over(dw, dw.Client, w)) })
				return durabletest.Subject{
					Definitions: []durable.Registrable{s}, Pairs: 4, Options: durable.Options{PollMax: time.Minute},
					Start: func(ctx context.Context, e *durable.Engine) error {
						_, err := s.Start(ctx, e, c.hire.ID, c.hire)
						return err
					},
					Check: func() {
						people.Wait()
						rec, err := dw.Store.Load(dw.Context(), c.hire.ID, durable.LoadHead)
						if err != nil {
							dw.Errorf("load: %v", err)
							return
						}
						if got := saga.StatusOf(&rec.Head).String(); got != c.status {
							dw.Errorf("it is %s, want %s: %v", got, c.status, rec.Error)
						}
						if err := w.whole(c.hire.ID, c.status == "committed/none"); err != nil {
							dw.Errorf("%v; it was told %q", err, w.told)
						}
						if got := w.when(kindReminder); len(got) != c.reminders {
							dw.Errorf("reminded on days %v, want %d times", got, c.reminders)
						}
					},
				}
			})
			if stats.Runs < 50 {
				t.Errorf("only %d runs: the harness met hardly any write", stats.Runs)
			}
		})
	}
}

// TestWelcomeInDoubt: the outbox decides, and what it says is so for good.
func TestWelcomeInDoubt(t *testing.T) {
	w := newWorld(24 * time.Hour)
	cov := sagatest.Explore(t, build(t, w), ada, func(r *sagatest.Run) {
		if r.Head.Status == durable.StatusSucceeded || r.Status.Unwind == saga.UnwindComplete {
			if err := w.whole(r.ID, r.Head.Status == durable.StatusSucceeded); err != nil {
				r.Error(err)
			}
		}
	}, yes...)
	for fault, want := range map[sagatest.Fault]string{
		sagatest.InDoubt: "committed/none", sagatest.Cancelled: "committed/none", sagatest.AnswerLost: "committed/none",
		sagatest.Rejected: "rejected/complete", sagatest.Failed: "failed/complete",
	} {
		if got := cov.Outcomes(sagatest.Injection{Step: "welcome", Kind: saga.CallForward, Fault: fault}); !slices.Equal(got, []string{want}) {
			t.Errorf("welcome %s: got %v, want %s", fault, got, want)
		}
	}
	if _, err := onboard(deps{outside: w}); !errors.As(err, new(*saga.BuildError)) {
		t.Errorf("days that take no time: got %v, want a BuildError", err)
	}
}
