package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// ran is what became of a shop's order.
type ran struct {
	*shop
	t     *testing.T
	e     *durable.Engine
	sg    *saga.Saga[order, string]
	store *mem.Store
	err   error
	head  durable.Head
	took  time.Duration
}

// serve runs one order of a shop, without faults, until it has ended or is
// parked, and hands it over while the engine still runs.
func serve(t *testing.T, prepare func(*shop), then func(r *ran)) {
	t.Helper()
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		prepare(s)
		return s.build()
	}, then)
}

// serveSaga is serve of another saga than the shop's own.
func serveSaga(t *testing.T, make func(*shop) *saga.Saga[order, string], then func(r *ran)) {
	t.Helper()
	serveWith(t, durable.Options{}, make, then)
}

// serveWith is serveSaga by an engine with options of its own.
func serveWith(t *testing.T, opts durable.Options, make func(*shop) *saga.Saga[order, string], then func(r *ran)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		r := &ran{shop: s, t: t, sg: make(s), store: mem.New()}
		var stop func()
		opts.PollMax = time.Minute
		r.e, _, stop = running(t, r.store, opts, r.sg)
		defer stop()
		start := time.Now()
		x, err := r.sg.Start(t.Context(), r.e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		_, r.err = x.Wait(t.Context())
		r.took = time.Since(start)
		r.reload()
		if len(s.wrong) > 0 {
			t.Errorf("%v; calls: %s", s.wrong, s.history())
		}
		then(r)
	})
}

func (r *ran) reload() {
	r.t.Helper()
	r.head = r.record().Head
}

func (r *ran) record() *durable.Record {
	r.t.Helper()
	rec, err := r.store.Load(r.t.Context(), "o1", durable.LoadAll)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := leftAgrees(rec); err != nil {
		r.t.Error(err)
	}
	return rec
}

// running makes an engine that serves a saga, and a context for its callers.
func running(t *testing.T, store durable.Store, opts durable.Options, sg durable.Registrable) (*durable.Engine, context.Context, func()) {
	t.Helper()
	e, err := durable.New(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(sg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx) // fails only when run twice
	}()
	synctest.Wait()
	return e, ctx, func() {
		cancel()
		<-done
	}
}

// is compares the outcome: the two axes, what stands, and what was undone.
func (r *ran) is(status, stands, undos string) {
	r.t.Helper()
	got := saga.StatusOf(&r.head).String()
	if got != status || r.verdict(allSteps...) != stands || r.undoOrder() != undos {
		r.t.Errorf("got %s (%v), standing %s, undone %q; want %s, %s, %q; error: %v; calls: %s",
			got, r.head.Status, r.verdict(allSteps...), r.undoOrder(), status, stands, undos, r.err, r.history())
	}
}

// parked checks that the order is parked for this reason.
func (r *ran) parked(reason durable.ParkReason) {
	r.t.Helper()
	var parked *durable.ParkedError
	if !errors.As(r.err, &parked) || parked.Park.Reason != reason {
		r.t.Fatalf("got %v, want parked for %s", r.err, reason)
	}
}

// act lets an operator act and waits for what comes of it.
func (r *ran) act(d durable.Decision) {
	r.t.Helper()
	d.Actor, d.Reason = "ada", "test"
	if err := r.e.Act(r.t.Context(), "o1", r.head.Revision, d); err != nil {
		r.t.Fatal(err)
	}
	_, r.err = r.sg.Attach(r.e, "o1").Wait(r.t.Context())
	r.reload()
}

func always(err error) func(saga.Context) error { return func(saga.Context) error { return err } }

// times fails the first n calls.
func times(n int, err error) func(saga.Context) error {
	return func(saga.Context) error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

var errOutage = errors.New("outage")

func TestRejectionBeforePivot(t *testing.T) {
	serve(t, func(s *shop) { s.before["reserve"] = rejecting }, func(r *ran) {
		r.is("rejected/complete", "none", "authorize") // reserve is proven to have had no effect
		if r.head.Status != durable.StatusFailed || !strings.Contains(r.err.Error(), "declined") {
			t.Errorf("got %v, %v", r.head.Status, r.err)
		}
	})
}

func TestRejectionOfFirstStepUndoesNothing(t *testing.T) {
	serve(t, func(s *shop) { s.before["authorize"] = rejecting }, func(r *ran) {
		r.is("rejected/complete", "none", "")
	})
}

func TestTransientErrorBeforePivotRetriesThenUnwindsInDoubt(t *testing.T) {
	serve(t, func(s *shop) { s.after["reserve"] = always(errOutage) }, func(r *ran) {
		r.is("failed/complete", "none", "reserve authorize")
		if n := strings.Count(r.history(), "reserve") - 1; n != 6 {
			t.Errorf("%d attempts, want 6", n)
		}
	})
}

func TestTransientErrorThenSuccess(t *testing.T) {
	serve(t, func(s *shop) { s.before["reserve"] = times(3, errOutage) }, func(r *ran) {
		r.is("committed/none", "all", "")
	})
}

func TestPivotRejected(t *testing.T) {
	serve(t, func(s *shop) { s.before["capture"] = rejecting }, func(r *ran) {
		r.is("rejected/complete", "none", "reserve authorize")
	})
}

func TestPivotInDoubtIsVerified(t *testing.T) {
	for _, c := range []struct {
		name                  string
		verdict               saga.Verdict[string]
		status, stands, undos string
	}{
		{"happened", saga.Happened("capture-ed"), "committed/none", "all", ""},
		{"no effect", saga.NoEffect[string](), "failed/complete", "capture", "reserve authorize"},
		{"unknown", saga.Unknown[string](), "running/stuck", "authorize+reserve+capture", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			serve(t, func(s *shop) {
				s.after["capture"] = always(errOutage)
				s.verify = func(saga.Context) (saga.Verdict[string], error) { return c.verdict, nil }
			}, func(r *ran) { r.is(c.status, c.stands, c.undos) })
		})
	}
}

func TestPivotRejectedAfterAnAttemptInDoubtIsVerified(t *testing.T) {
	serve(t, func(s *shop) {
		s.before["capture"] = func(c saga.Context) error {
			if c.Attempt() > 1 {
				return saga.Reject(errDeclined) // says nothing about attempt 1, which took effect
			}
			return nil
		}
		s.after["capture"] = always(errOutage)
		s.verify = s.truth
	}, func(r *ran) { r.is("committed/none", "all", "") })
}

func TestVerifyIsAskedAgainThroughAnOutage(t *testing.T) {
	asked := 0
	serve(t, func(s *shop) {
		s.after["capture"] = always(errOutage)
		s.verify = func(c saga.Context) (saga.Verdict[string], error) {
			if asked++; asked < 8 {
				return saga.Verdict[string]{}, errOutage
			}
			return s.truth(c)
		}
	}, func(r *ran) { r.is("committed/none", "all", "") })
}

func TestPivotInDoubtParksAndIsResolved(t *testing.T) {
	prepare := func(s *shop) { s.after["capture"] = always(durable.Permanent(errOutage)) }
	t.Run("happened", func(t *testing.T) {
		serve(t, prepare, func(r *ran) {
			r.parked(saga.ParkPivotInDoubt)
			r.act(durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"by hand"`)})
			r.is("committed/none", "all", "")
		})
	})
	t.Run("no effect", func(t *testing.T) {
		serve(t, prepare, func(r *ran) {
			r.stands["capture"] = 0 // the operator knows
			r.act(durable.Decision{Verb: durable.VerbResolve, NoEffect: true})
			r.is("failed/complete", "none", "reserve authorize")
		})
	})
	t.Run("retry", func(t *testing.T) {
		serve(t, prepare, func(r *ran) {
			r.after["capture"] = nil
			r.act(durable.Decision{Verb: durable.VerbRetry})
			r.is("committed/none", "all", "")
		})
	})
}

func TestOutageAfterPivotIsSatOut(t *testing.T) {
	serve(t, func(s *shop) { s.before["ship"] = times(12, errOutage) }, func(r *ran) {
		r.is("committed/none", "all", "")
	})
}

func TestFailureAfterPivotParks(t *testing.T) {
	for name, err := range map[string]error{"rejection": saga.Reject(errDeclined), "transient for a day": errOutage} {
		t.Run(name, func(t *testing.T) {
			serve(t, func(s *shop) { s.before["ship"] = always(err) }, func(r *ran) {
				r.parked(saga.ParkAfterPivot)
				r.is("committed/stuck", "authorize+reserve+capture", "")
				r.before["ship"] = nil
				r.act(durable.Decision{Verb: durable.VerbRetry})
				r.is("committed/none", "all", "")
			})
		})
	}
}

func TestAfterPivotResolvedByHand(t *testing.T) {
	serve(t, func(s *shop) { s.before["ship"] = rejecting }, func(r *ran) {
		r.act(durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"posted it myself"`)})
		r.is("committed/none", "authorize+reserve+capture", "")
	})
}

func TestUndoRetriesThroughAnOutage(t *testing.T) {
	serve(t, func(s *shop) {
		s.before["capture"] = rejecting
		s.before["undo reserve"] = times(9, errOutage)
	}, func(r *ran) {
		r.is("rejected/complete", "none", "reserve authorize")
		if r.took < 10*time.Second || r.took > time.Hour { // with full jitter it is minutes on average only
			t.Errorf("took %v, want minutes", r.took)
		}
	})
}

func TestUndoThatFailsForGoodParksAndKeepsOrder(t *testing.T) {
	for name, err := range map[string]error{"permanent": durable.Permanent(errOutage), "for a day": errOutage} {
		t.Run(name, func(t *testing.T) {
			serve(t, func(s *shop) {
				s.before["capture"] = rejecting
				s.before["undo reserve"] = always(err)
			}, func(r *ran) {
				r.parked(saga.ParkUndoFailed)
				r.is("rejected/stuck", "authorize+reserve", "")
				r.before["undo reserve"] = nil
				r.act(durable.Decision{Verb: durable.VerbRetry})
				r.is("rejected/complete", "none", "reserve authorize")
			})
		})
	}
}

func TestPanicParksAndNeverUnwinds(t *testing.T) {
	for _, where := range []string{"reserve", "capture", "ship"} {
		t.Run(where, func(t *testing.T) {
			serve(t, func(s *shop) {
				s.verify = s.truth
				s.before[where] = func(saga.Context) error { panic("oops") }
			}, func(r *ran) {
				r.parked(durable.ParkPanic)
				if r.undoOrder() != "" {
					t.Errorf("undone: %s", r.undoOrder())
				}
				r.before[where] = nil
				r.act(durable.Decision{Verb: durable.VerbResume})
				r.is("committed/none", "all", "")
			})
		})
	}
}

func TestCancelAfterPivotIsRecordedAndFinishesForward(t *testing.T) {
	serve(t, func(s *shop) { s.takes = 20 * time.Second }, func(r *ran) { r.is("committed/none", "all", "") })
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.takes = 5 * time.Second
		sg := s.build()
		store := mem.New()
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second) // during capture
		if err := e.Cancel(ctx, "o1", "customer", "too late"); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); err != nil {
			t.Errorf("got %v, want a commit", err)
		}
		rec, _ := store.Load(ctx, "o1", durable.LoadAll)
		found := false
		for _, e := range rec.Journal {
			found = found || e.Kind == durable.EntryCancel && e.Actor == "customer"
		}
		if !found || s.verdict(allSteps...) != "all" {
			t.Errorf("standing %s, cancel recorded %v; want all, true", s.verdict(allSteps...), found)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Run("before the pivot unwinds", func(t *testing.T) {
		serve(t, func(s *shop) { s.takes, s.deadline = 5*time.Second, 7*time.Second }, func(r *ran) {
			r.is("timed-out/complete", "none", "reserve authorize")
			if r.head.Status != durable.StatusTimedOut || !errors.Is(r.err, durable.ErrTimedOut) {
				t.Errorf("got %v, %v", r.head.Status, r.err)
			}
		})
	})
	t.Run("after the pivot finishes", func(t *testing.T) {
		serve(t, func(s *shop) { s.takes, s.deadline = 5*time.Second, 12*time.Second }, func(r *ran) {
			r.is("committed/none", "all", "")
		})
	})
}

// TestResolvedWithTheWrongTypeParksAgain: an operator's slip must not end up
// where no verb reaches it any more.
func TestResolvedWithTheWrongTypeParksAgain(t *testing.T) {
	serve(t, func(s *shop) { s.after["capture"] = always(durable.Permanent(errOutage)) }, func(r *ran) {
		r.act(durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`{"not":"a string"}`)})
		r.parked(saga.ParkPivotInDoubt)
		if !strings.Contains(r.err.Error(), "does not decode into string") {
			t.Errorf("got %v, want it to name the type", r.err)
		}
		r.act(durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"by hand"`)})
		r.is("committed/none", "all", "")
	})
}

// TestDeadlineBetweenStepsStopsThePivot: it passes while nothing runs that
// would notice.
func TestDeadlineBetweenStepsStopsThePivot(t *testing.T) {
	serve(t, func(s *shop) {
		s.deadline = 10 * time.Second
		s.after["reserve"] = func(saga.Context) error { time.Sleep(10 * time.Second); return nil }
	}, func(r *ran) { r.is("timed-out/complete", "none", "reserve authorize") })
}

// TestCancelWhileThePivotIsInDoubt: a cancel that comes while the pivot is
// parked neither stops its retry nor unwinds past it.
func TestCancelWhileThePivotIsInDoubt(t *testing.T) {
	for name, verify := range map[string]bool{"verified": true, "retried": false} {
		t.Run(name, func(t *testing.T) {
			known := false
			serve(t, func(s *shop) {
				s.after["capture"] = always(durable.Permanent(errOutage))
				if verify {
					s.verify = func(c saga.Context) (saga.Verdict[string], error) {
						if !known {
							return saga.Unknown[string](), nil
						}
						return s.truth(c)
					}
				}
			}, func(r *ran) {
				r.parked(saga.ParkPivotInDoubt)
				if err := r.e.Cancel(r.t.Context(), "o1", "customer", "takes too long"); err != nil {
					t.Fatal(err)
				}
				known = true
				if !verify {
					r.after["capture"] = nil
				}
				r.act(durable.Decision{Verb: durable.VerbRetry})
				r.is("committed/none", "all", "")
			})
		})
	}
}

// TestCancelDuringTheResult: a saga without a pivot can be cancelled until its
// end is recorded, also by the process that runs it.
func TestCancelDuringTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		var e *durable.Engine
		b := saga.New[order, string]("s", "1")
		saga.Step(b, "authorize", s.body("authorize")).Undo(s.undoing("authorize"))
		cancelled := false
		sg, err := b.Build(func(saga.Context, order) (string, error) {
			if !cancelled {
				cancelled = true
				if err := e.Cancel(context.Background(), "o1", "customer", "at the last moment"); err != nil {
					t.Error(err)
				}
			}
			return "", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var ctx context.Context
		var stop func()
		e, ctx, stop = running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); !errors.Is(err, durable.ErrCancelled) || s.undoOrder() != "authorize" {
			t.Errorf("got %v, undone %q; want cancelled and undone", err, s.undoOrder())
		}
	})
}

// TestOutputThatCannotBeStoredParks: all its steps have succeeded, so it is no
// failure of the saga.
func TestOutputThatCannotBeStoredParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := saga.New[order, any]("s", "1")
		saga.Pivot(b, "capture", func(saga.Context, order) (string, error) { return "", nil }).ParkInDoubt()
		sg, err := b.Build(func(saga.Context, order) (any, error) { return func() {}, nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); !errors.Is(err, durable.ErrParked) || !strings.Contains(err.Error(), "output of s@1") {
			t.Errorf("got %v, want parked with the output named", err)
		}
	})
}

// TestExpiredKey: past its lifetime a key is not used again; Verify decides,
// and without one a person does.
func TestExpiredKey(t *testing.T) {
	build := func(s *shop, verify bool) *saga.Saga[order, string] {
		b := saga.New[order, string]("s", "1")
		f := saga.Step(b, "reserve", s.body("reserve")).KeyLifetime(time.Hour).Retry(durable.Retry{Initial: 2 * time.Hour, Max: 4 * time.Hour})
		if verify {
			f.Verify(func(saga.Context, order) (saga.Verdict[string], error) { return saga.NoEffect[string](), nil })
		}
		f.Undo(s.undoing("reserve"))
		sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		return sg
	}
	for _, verify := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop()
			keys := map[string]bool{}
			s.before["reserve"] = func(c saga.Context) error {
				keys[c.Key()] = true
				if len(keys) == 1 {
					return durable.RetryAfter(errOutage, 2*time.Hour)
				}
				return nil
			}
			sg := build(s, verify)
			e, ctx, stop := running(t, mem.New(), durable.Options{PollMax: time.Minute}, sg)
			defer stop()
			x, err := sg.Start(ctx, e, "o1", order{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = x.Wait(ctx)
			var parked *durable.ParkedError
			switch {
			case verify && (err != nil || !keys["o1/1/reserve"] || !keys["o1/1/reserve#2"]):
				t.Errorf("with Verify: got %v, keys %v; want success under a second key", err, keys)
			case !verify && (!errors.As(err, &parked) || parked.Park.Reason != saga.ParkKeyExpired || len(keys) != 1):
				t.Errorf("without: got %v, keys %v; want parked for key-expired", err, keys)
			}
			if !verify {
				rec, _ := e.Store().Load(ctx, "o1", durable.LoadHead)
				d := durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "test"}
				if err := e.Act(ctx, "o1", rec.Revision, d); !errors.Is(err, durable.ErrKeyExpired) {
					t.Errorf("retry under an expired key: got %v, want ErrKeyExpired", err)
				}
				d.Force, s.before["reserve"] = true, nil
				if err := e.Act(ctx, "o1", rec.Revision, d); err != nil {
					t.Error(err)
				}
				if _, err := x.Wait(ctx); err != nil {
					t.Errorf("after a forced retry: %v", err)
				}
			}
		})
	}
}

// TestVerifyWaitsForADeafBody: one that ignores the end of its context may
// still have its effect, which a Verify must not miss.
func TestVerifyWaitsForADeafBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.takes = 40 * time.Second
		b := saga.New[order, string]("s", "1")
		saga.Step(b, "capture", s.body("capture")).AtMostOnce().Retry(durable.Retry{MaxAttempts: 1}).
			Verify(func(c saga.Context, _ order) (saga.Verdict[string], error) {
				if s.busy["capture"] > 0 {
					t.Error("Verify runs beside an attempt")
				}
				return s.truth(c)
			}).Undo(s.undoing("capture"))
		sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); err != nil {
			t.Errorf("got %v, want what Verify found: it happened", err)
		}
	})
}

// TestBodiesShareNothing: what one body makes of its input, no other sees.
func TestBodiesShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type cart struct{ Items []string }
		b := saga.New[cart, string]("s", "1")
		saga.Step(b, "a", func(_ saga.Context, c cart) (string, error) { c.Items[0] = "changed"; return "", nil }).ReadOnly()
		seen := saga.Step(b, "b", func(_ saga.Context, c cart) (string, error) { return c.Items[0], nil }).ReadOnly()
		sg, err := b.Build(func(c saga.Context, _ cart) (string, error) { return seen.Of(c), nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", cart{[]string{"tea"}})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(ctx); out != "tea" || err != nil {
			t.Errorf("got %q, %v, want tea", out, err)
		}
	})
}

// TestKeyThatExpiresUnderARetryParksAgain: the operator decided in time, the
// worker came too late.
func TestKeyThatExpiresUnderARetryParksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.after["capture"] = always(durable.Permanent(errOutage))
		b := saga.New[order, string]("s", "1")
		captured := saga.Pivot(b, "capture", s.body("capture")).KeyLifetime(time.Hour).ParkInDoubt()
		sg, err := b.Build(func(c saga.Context, _ order) (string, error) { return captured.Of(c), nil })
		if err != nil {
			t.Fatal(err)
		}
		store := mem.New()
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); !errors.Is(err, durable.ErrParked) {
			t.Fatalf("got %v, want parked", err)
		}
		stop()
		act := func(d durable.Decision) {
			t.Helper()
			rec, err := store.Load(t.Context(), "o1", durable.LoadHead)
			if err != nil {
				t.Fatal(err)
			}
			d.Actor, d.Reason = "ada", "test"
			if err := e.Act(t.Context(), "o1", rec.Revision, d); err != nil {
				t.Fatal(err)
			}
		}
		act(durable.Decision{Verb: durable.VerbRetry})
		time.Sleep(2 * time.Hour) // no worker meanwhile
		e, ctx, stop = running(t, store, durable.Options{}, sg)
		defer stop()
		var parked *durable.ParkedError
		if _, err := sg.Attach(e, "o1").Wait(ctx); !errors.As(err, &parked) || parked.Park.Reason != saga.ParkPivotInDoubt {
			t.Fatalf("got %v, want parked as before", err)
		}
		act(durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"by hand"`)})
		if out, err := sg.Attach(e, "o1").Wait(ctx); err != nil || out != "by hand" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}
