package saga_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

func TestSkipCountsTheUndoAsDoneByName(t *testing.T) {
	serve(t, undoFails, func(r *ran) {
		r.parked(saga.ParkUndoFailed)
		r.act(durable.Decision{Verb: durable.VerbSkip})
		r.is("rejected/complete", "reserve", "authorize")
		if !strings.Contains(r.err.Error(), "undone: authorize; skipped: reserve") {
			t.Errorf("got %v, want it to name what was undone and what was skipped", r.err)
		}
		acted := false
		for e := range durable.History(r.record()) {
			acted = acted || e.Type == "OperatorActed" && e.Details.Verb == "skip" && e.Details.Target == "reserve" && e.Details.Actor == "ada" && e.Details.Reason == "test"
		}
		if !acted {
			t.Error("the history does not tell who skipped what, and why")
		}
	})
}

// keyed is a saga whose second step's key expires before its second attempt.
func keyed(s *shop) *saga.Saga[order, string] {
	s.before["reserve"] = func(c saga.Context) error {
		if c.Attempt() == 1 {
			s.do(c, "reserve", s.takes)
			return durable.RetryAfter(errOutage, 2*time.Hour)
		}
		return nil
	}
	b := saga.New[order, string]("shop", "1")
	s.undoable(b, "authorize")
	saga.Step(b, "reserve", s.body("reserve")).KeyLifetime(time.Hour).Undo(s.undoing("reserve"))
	return built(b)
}

// built builds a saga of which only the effects matter.
func built(b *saga.Builder[order, string]) *saga.Saga[order, string] {
	sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
	if err != nil {
		panic(err)
	}
	return sg
}

func TestUnwindOfAKeyThatExpired(t *testing.T) {
	serveSaga(t, keyed, func(r *ran) {
		r.parked(saga.ParkKeyExpired)
		if got := r.head.Verbs(); !slices.Equal(got, []durable.Verb{"retry", "resolve", "unwind", "abandon"}) {
			t.Errorf("possible are %v", got)
		}
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.is("cancelled/complete", "none", "reserve authorize") // reserve as in doubt
		if !errors.Is(r.err, durable.ErrCancelled) || !strings.Contains(r.err.Error(), `by "ada": test`) {
			t.Errorf("got %v, want cancelled by ada", r.err)
		}
	})
}

func TestUnwindAfterAPanic(t *testing.T) {
	serve(t, func(s *shop) {
		s.after["reserve"] = func(saga.Context) error { panic("oops") }
	}, func(r *ran) {
		r.parked(durable.ParkPanic)
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.is("cancelled/complete", "none", "reserve authorize")
	})
}

// TestUndoThatPanicsIsStuck: its effect stands, whatever is wrong with it, also
// where the engine parks before any code of the saga runs.
func TestUndoThatPanicsIsStuck(t *testing.T) {
	serve(t, func(s *shop) {
		s.before["capture"] = rejecting
		s.before["undo reserve"] = func(saga.Context) error { panic("oops") }
	}, func(r *ran) {
		r.parked(durable.ParkPanic)
		r.is("rejected/stuck", "authorize+reserve", "")
		if !r.head.Park.Stuck || r.head.Detail != "rejected/stuck" { // as it is stored, for lists
			t.Errorf("the park says stuck %v, the head %s", r.head.Park.Stuck, r.head.Detail)
		}
		r.act(durable.Decision{Verb: durable.VerbResume}) // as wrong as before
		r.is("rejected/stuck", "authorize+reserve", "")
		r.before["undo reserve"] = nil
		r.act(durable.Decision{Verb: durable.VerbResume})
		r.is("rejected/complete", "none", "reserve authorize")
	})
}

// TestUnwindDoesNotPassAPivotThatMayHaveHappened: the pivot had begun when it
// panicked, so it is brought to its end first, and there is nothing to undo then.
func TestUnwindDoesNotPassAPivotThatMayHaveHappened(t *testing.T) {
	serve(t, func(s *shop) {
		s.after["capture"] = func(saga.Context) error { panic("oops") }
	}, func(r *ran) {
		r.parked(durable.ParkPanic)
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.parked(durable.ParkPanic) // it is retried, and panics again
		r.is("running/none", "authorize+reserve+capture", "")
		r.after["capture"] = nil
		r.act(durable.Decision{Verb: durable.VerbResume})
		r.is("committed/none", "all", "")
	})
}

func TestUnwindIsNotPossibleAfterThePivot(t *testing.T) {
	for where, park := range map[string]func(*shop){
		"panic":   func(s *shop) { s.before["ship"] = func(saga.Context) error { panic("oops") } },
		"failure": func(s *shop) { s.before["ship"] = rejecting },
		"undo": func(s *shop) {
			s.before["capture"] = rejecting
			s.before["undo reserve"] = func(saga.Context) error { panic("oops") }
		},
	} {
		t.Run(where, func(t *testing.T) {
			serve(t, park, func(r *ran) {
				err := r.e.Act(r.t.Context(), "o1", r.head.Revision, durable.Decision{Verb: durable.VerbUnwind, Actor: "ada", Reason: "test"})
				var refused *durable.VerbError
				if !errors.As(err, &refused) || slices.Contains(refused.Possible, durable.VerbUnwind) || !strings.HasPrefix(refused.State, "parked: ") {
					t.Errorf("got %v, want a *VerbError that says what is possible", err)
				}
			})
		})
	}
}

// TestUnwindAfterNondeterminism: a build whose steps do not agree with the
// journal parks; the one that does can unwind.
func TestUnwindAfterNondeterminism(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newShop(), mem.New()
		right := func(second string) *saga.Saga[order, string] {
			b := saga.New[order, string]("shop", "1")
			s.undoable(b, "authorize")
			saga.Wait(b, "rest", time.Hour)
			s.undoable(b, second)
			return built(b)
		}
		wrong := func() *saga.Saga[order, string] {
			b := saga.New[order, string]("shop", "1")
			s.undoable(b, "other")
			return built(b)
		}()
		sg := right("reserve")
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		if _, err := sg.Start(ctx, e, "o1", order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		e, ctx, stop = running(t, store, durable.Options{}, wrong)
		r := &ran{shop: s, t: t, e: e, sg: wrong, store: store}
		_, r.err = wrong.Attach(e, "o1").Wait(ctx)
		r.parked(durable.ParkNondeterminism)
		r.reload()
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.parked(durable.ParkNondeterminism) // by the wrong code still
		stop()
		r.e, _, stop = running(t, store, durable.Options{}, sg)
		defer stop()
		r.sg = sg
		r.act(durable.Decision{Verb: durable.VerbResume}) // to unwind was decided already
		r.is("cancelled/complete", "none", "authorize")
	})
}

func TestUnwindAfterACrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newShop(), mem.New()
		inside := make(chan struct{})
		dies := true
		s.after["reserve"] = func(c saga.Context) error {
			if dies {
				inside <- struct{}{}
				<-c.Done()
			}
			return c.Err()
		}
		sg := s.build()
		starter, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := starter.Register(sg); err != nil {
			t.Fatal(err)
		}
		x, err := sg.Start(t.Context(), starter, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			crash(t, store, sg, inside)
		}
		dies = false
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		r := &ran{shop: s, t: t, e: e, sg: sg, store: store}
		_, r.err = x.Wait(ctx)
		r.parked(durable.ParkCrashLoop)
		r.reload()
		if r.head.Park.Operation != "reserve" || r.undoOrder() != "" {
			t.Errorf("parked at %q, undone %q; want at reserve, and nothing undone", r.head.Park.Operation, r.undoOrder())
		}
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.is("cancelled/complete", "none", "reserve authorize")
	})
}

// TestAbandonLeavesWhatStands: the axes say so, and the history names it.
func TestAbandonLeavesWhatStands(t *testing.T) {
	for name, c := range map[string]struct {
		park   func(*shop)
		status string
		left   string
	}{
		"an undo that fails":   {undoFails, "rejected/abandoned", "authorize reserve"},
		"a step after a pivot": {func(s *shop) { s.before["ship"] = rejecting }, "committed/abandoned", "authorize reserve capture"},
		"a pivot in doubt":     {func(s *shop) { s.after["capture"] = always(durable.Permanent(errOutage)) }, "terminated/abandoned", "authorize reserve capture"},
		"a bug":                {func(s *shop) { s.before["reserve"] = func(saga.Context) error { panic("oops") } }, "terminated/abandoned", "authorize reserve"},
		"nothing":              {func(s *shop) { s.before["authorize"] = func(saga.Context) error { panic("oops") } }, "terminated/abandoned", "authorize"},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, c.park, func(r *ran) {
				r.act(durable.Decision{Verb: durable.VerbAbandon})
				r.left(c.status, c.left)
				if r.undoOrder() != "" {
					t.Errorf("undone: %s", r.undoOrder())
				}
			})
		})
	}
}

// left checks how the order was ended from outside, and what that left.
func (r *ran) left(status, names string) {
	r.t.Helper()
	rec := r.record()
	if got := strings.Join(left(rec), " "); got != names || rec.Detail != status || rec.Status != durable.StatusTerminated || !errors.Is(r.err, durable.ErrTerminated) {
		r.t.Errorf("got %s (%v, %v), left %q; want %s and %q", rec.Detail, rec.Status, r.err, got, status, names)
	}
}

func TestTerminateWhileItRuns(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*shop)
		after   time.Duration
		status  string
		left    string
	}{
		"forward":   {func(*shop) {}, 15 * time.Second, "terminated/abandoned", "authorize reserve"},
		"committed": {func(*shop) {}, 35 * time.Second, "committed/abandoned", "authorize reserve capture ship"},
		"unwinding": {func(s *shop) {
			s.before["capture"] = rejecting
			s.before["undo authorize"] = always(errOutage)
		}, time.Minute, "rejected/abandoned", "authorize"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop()
				s.takes = 10 * time.Second
				c.prepare(s)
				r := &ran{shop: s, t: t, sg: s.build(), store: mem.New()}
				var stop func()
				r.e, _, stop = running(t, r.store, durable.Options{}, r.sg)
				defer stop()
				x, err := r.sg.Start(t.Context(), r.e, "o1", order{})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.after)
				if err := r.e.Terminate(t.Context(), "o1", "ada", "test"); err != nil {
					t.Fatal(err)
				}
				_, r.err = x.Wait(t.Context())
				r.left(c.status, c.left)
			})
		})
	}
}

// TestVerbsThatAreRefused: the error says what the state is, and what is
// possible.
func TestVerbsThatAreRefused(t *testing.T) {
	retry := durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "test"}
	serve(t, undoFails, func(r *ran) {
		at := r.head.Revision
		for name, c := range map[string]struct {
			id       string
			revision int64
			d        durable.Decision
			is       error
			says     string
		}{
			"no reason":       {"o1", at, durable.Decision{Verb: durable.VerbSkip, Actor: "ada", Reason: " "}, durable.ErrInvalid, "needs an actor and a reason"},
			"no actor":        {"o1", at, durable.Decision{Verb: durable.VerbSkip, Reason: "test"}, durable.ErrInvalid, "needs an actor and a reason"},
			"wrong verb":      {"o1", at, durable.Decision{Verb: durable.VerbResolve, NoEffect: true, Actor: "ada", Reason: "test"}, durable.ErrVerb, "parked: undo-failed: possible is retry skip abandon"},
			"unknown verb":    {"o1", at, durable.Decision{Verb: "mend", Actor: "ada", Reason: "test"}, durable.ErrVerb, "possible is retry skip abandon"},
			"cancel":          {"o1", at, durable.Decision{Verb: durable.VerbCancel, Actor: "ada", Reason: "test"}, durable.ErrVerb, "possible is retry skip abandon"},
			"earlier":         {"o1", at - 1, retry, durable.ErrRevision, "possible is retry skip abandon (it has moved on"},
			"later":           {"o1", at + 1, retry, durable.ErrRevision, "possible is retry skip abandon (it has moved on"},
			"earlier, wrong":  {"o1", at - 1, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "test"}, durable.ErrRevision, "it has moved on"},
			"unknown":         {"o2", at, retry, durable.ErrNotFound, `retry "o2"`},
			"terminate, none": {"o2", at, durable.Decision{Verb: durable.VerbTerminate, Actor: "ada", Reason: "test"}, durable.ErrNotFound, `"o2"`},
		} {
			err := r.e.Act(r.t.Context(), c.id, c.revision, c.d)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v, want %v that says %q", name, err, c.is, c.says)
			}
		}
		r.act(durable.Decision{Verb: durable.VerbSkip})
		r.is("rejected/complete", "reserve", "authorize")
		var refused *durable.VerbError
		for name, err := range map[string]error{
			"retry":     r.e.Act(r.t.Context(), "o1", at, retry),
			"cancel":    r.e.Cancel(r.t.Context(), "o1", "ada", "test"),
			"terminate": r.e.Terminate(r.t.Context(), "o1", "ada", "test"),
		} {
			if !errors.As(err, &refused) || refused.State != "failed" || len(refused.Possible) != 0 {
				t.Errorf("%s after the end: got %v, want a *VerbError that names the state", name, err)
			}
			if name != "retry" && !errors.Is(err, durable.ErrEnded) {
				t.Errorf("%s after the end: got %v, want ErrEnded", name, err)
			}
		}
	})
}

// TestTwoOperatorsDecide: the first wins, and the second hears who that was.
func TestTwoOperatorsDecide(t *testing.T) {
	serve(t, undoFails, func(r *ran) {
		client, err := durable.New(r.store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := durable.Decision{Verb: durable.VerbSkip, Actor: "ada", Reason: "refunded by hand"}
		if err := client.Act(r.t.Context(), "o1", r.head.Revision, d); err != nil {
			t.Fatal(err)
		}
		d.Actor = "bob"
		var first *durable.DeliveredError
		if err := client.Act(r.t.Context(), "o1", r.head.Revision, d); !errors.As(err, &first) || !strings.Contains(first.Winner, "ada") {
			t.Errorf("got %v, want that ada was first", err)
		}
		_, r.err = r.sg.Attach(r.e, "o1").Wait(r.t.Context())
		r.reload()
		r.is("rejected/complete", "reserve", "authorize")
	})
}

// TestResolveAStepBeforeThePivot: what a person states decides what is undone.
func TestResolveAStepBeforeThePivot(t *testing.T) {
	for name, c := range map[string]struct {
		d                     durable.Decision
		status, stands, undos string
	}{
		"no effect": {durable.Decision{NoEffect: true}, "failed/complete", "reserve", "authorize"},
		"happened":  {durable.Decision{Output: json.RawMessage(`"reserve-ed"`)}, "committed/none", "authorize+reserve", ""},
	} {
		t.Run(name, func(t *testing.T) {
			serveSaga(t, keyed, func(r *ran) {
				c.d.Verb = durable.VerbResolve
				r.act(c.d)
				r.is(c.status, c.stands, c.undos)
			})
		})
	}
}
