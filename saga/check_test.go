package saga_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// declared declares sagas by a word for each node in these tests: "a" can be undone, "a?" is
// read-only, "a!" is the pivot, "a+" comes after it, "~" waits for a day, "a/…" is
// a sub-saga of one step.
type declared struct {
	*outside
	fails map[string]error
}

// declare makes version v of saga "sale". Undos name it in the outside's calls.
func (d *declared) declare(v, nodes string) *saga.Saga[order, string] {
	b := saga.New[order, string]("sale", v)
	for word := range strings.FieldsSeq(nodes) {
		d.node(b, v, word)
	}
	sg, err := b.Build(nothing)
	if err != nil {
		panic(err)
	}
	return sg
}

func (d *declared) node(b *saga.Builder[order, string], v, word string) {
	name := strings.TrimRight(word, "?!+")
	run := func(saga.Context, order) (string, error) { return name, d.fails[name] }
	undo := func(saga.UndoContext, order, saga.Maybe[string]) error {
		d.undo(name + "@" + v)
		return nil
	}
	sub, inner, nested := strings.Cut(word, "/")
	switch {
	case nested:
		c := saga.New[order, string](sub, v)
		d.node(c, v, inner)
		child, err := c.Build(nothing)
		if err != nil {
			panic(err)
		}
		saga.Sub(b, sub, child, func(_ saga.Context, o order) (order, error) { return o, nil })
	case name == "~":
		saga.Wait(b, "day", 24*time.Hour)
	case strings.HasSuffix(word, "?"):
		saga.Step(b, name, run).ReadOnly()
	case strings.HasSuffix(word, "!"):
		saga.Pivot(b, name, run).ParkInDoubt()
	case strings.HasSuffix(word, "+"):
		saga.Step(b, name, run).Retriable()
	default:
		saga.Step(b, name, run).Undo(undo)
	}
}

// inFlight starts an execution and lets it run for a minute.
func inFlight(t *testing.T, store durable.Store, id string, sg *saga.Saga[order, string]) {
	t.Helper()
	e, ctx, stop := running(t, store, durable.Options{}, sg)
	defer stop()
	if _, err := sg.Start(ctx, e, id, order{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
}

func shapes(sagas ...*saga.Saga[order, string]) (all []saga.Shape) {
	for _, s := range sagas {
		all = append(all, s.Shape())
	}
	return all
}

func TestCheck(t *testing.T) {
	d := &declared{outside: newOutside()}
	doubt := &declared{outside: newOutside(), fails: map[string]error{
		"pay": durable.Permanent(fmt.Errorf("no answer"))}}
	for name, c := range map[string]struct {
		old   *saga.Saga[order, string]
		build []*saga.Saga[order, string]
		fit   saga.Fit
		why   string
	}{
		"the same": {d.declare("1", "a ~ b"), []*saga.Saga[order, string]{d.declare("1", "a ~ b")}, saga.FitContinue, ""},
		"kept beside the new one": {d.declare("1", "a ~ b"), []*saga.Saga[order, string]{d.declare("2", "x"), d.declare("1", "a ~ b")},
			saga.FitContinue, ""},
		"another shape": {d.declare("1", "a ~ b"), []*saga.Saga[order, string]{d.declare("1", "a ~ c")}, saga.FitUnwind,
			"version 1 has another shape in this build"},
		"another version": {d.declare("1", "a q? ~ b"), []*saga.Saga[order, string]{d.declare("2", "x a")}, saga.FitUnwind,
			"version 1 is not in this build"},
		"an undo is gone": {d.declare("1", "a b ~ c"), []*saga.Saga[order, string]{d.declare("2", "a c")}, saga.FitNone,
			`version 1 is not in this build, and the build has no undo for "b"`},
		"undos of two versions": {d.declare("1", "a b ~ c"), []*saga.Saga[order, string]{d.declare("2", "a"), d.declare("3", "b")}, saga.FitNone,
			`version 1 is not in this build, and the build has no undo for "b"`},
		"a step is not undone any more": {d.declare("1", "a ~"), []*saga.Saga[order, string]{d.declare("2", "a?")}, saga.FitNone,
			`version 1 is not in this build, and the build has no undo for "a"`},
		"in a sub-saga": {d.declare("1", "s/a ~"), []*saga.Saga[order, string]{d.declare("2", "s/a")}, saga.FitUnwind,
			"version 1 is not in this build"},
		"out of its sub-saga": {d.declare("1", "s/a ~"), []*saga.Saga[order, string]{d.declare("2", "a")}, saga.FitNone,
			`version 1 is not in this build, and the build has no undo for "s/a"`},
		"parked in its pivot": {doubt.declare("1", "a pay!"), []*saga.Saga[order, string]{d.declare("2", "a pay!")}, saga.FitNone,
			`version 1 is not in this build, and it can only go forward since "pay"`},
		"past its pivot": {d.declare("1", "a p! ~ b+"), []*saga.Saga[order, string]{d.declare("2", "a p! ~ b+ c+")}, saga.FitNone,
			`version 1 is not in this build, and it can only go forward since "p"`},
		"no saga of that name": {d.declare("1", "a ~"), nil, saga.FitNone,
			"version 1 is not in this build, and the build has no saga of that name"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				inFlight(t, store, "s1", c.old)
				r, err := saga.Check(t.Context(), store, shapes(c.build...))
				if err != nil {
					t.Fatal(err)
				}
				want := []saga.Checked{{Saga: "sale", Version: "1", Fingerprint: c.old.Shape().Fingerprint, Fit: c.fit, Why: c.why, IDs: []string{"s1"}}}
				if len(r.Checked) != 1 || fmt.Sprint(r.Checked) != fmt.Sprint(want) || r.Count(c.fit) != 1 {
					t.Errorf("got  %+v\nwant %+v", r.Checked, want)
				}
			})
		})
	}
}

// TestCheckSeesAll: in pages, not what has ended, and apart what is no saga.
func TestCheckSeesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &declared{outside: newOutside()}
		store, ended, waits := mem.New(), d.declare("1", "a"), d.declare("2", "a ~")
		inFlight(t, store, "ended", ended)
		inFlight(t, store, "waits", waits)
		other := durable.Define("other", "1", func(*durable.Context, int) (int, error) { return 0, nil })
		e, err := durable.New(store, durable.Options{}) // which runs nothing
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Register(ended, waits, other); err != nil {
			t.Fatal(err)
		}
		const many = 1203
		for i := range many {
			if _, err := ended.Start(t.Context(), e, fmt.Sprintf("p%05d", i), order{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := other.Start(t.Context(), e, "other", 1); err != nil {
			t.Fatal(err)
		}
		for _, names := range [][]string{nil, {"sale"}, {"sale", "sale", "unknown"}} {
			r, err := saga.Check(t.Context(), store, shapes(waits), names...)
			if err != nil {
				t.Fatal(err)
			}
			wantOthers := 0
			if names == nil {
				wantOthers = 1
			}
			if r.Count(saga.FitContinue) != 1 || r.Count(saga.FitUnwind) != many || r.Count(saga.FitNone) != 0 || r.Others != wantOthers {
				t.Errorf("%q: got %d, %d, %d and %d others, want 1, %d, 0 and %d", names, r.Count(saga.FitContinue), r.Count(saga.FitUnwind), r.Count(saga.FitNone), r.Others, many, wantOthers)
			}
			if ids := r.Checked[0].IDs; !slices.IsSorted(ids) || len(ids) != many {
				t.Errorf("got %d IDs, want %d in order", len(ids), many)
			}
		}
	})
}

// closed is a store that answers nobody.
type closed struct{ durable.Store }

func (closed) List(context.Context, *durable.ListQuery) (durable.ListPage, error) {
	return durable.ListPage{}, durable.ErrStoreBroken
}

func TestCheckFails(t *testing.T) {
	if _, err := saga.Check(t.Context(), closed{mem.New()}, nil); err == nil || !strings.Contains(err.Error(), "saga: check: ") {
		t.Errorf("got %v, want the store's error", err)
	}
}

// cancelled cancels an execution where e serves, and waits for its end.
func cancelled(t *testing.T, store durable.Store, id string, sagas ...durable.Registrable) saga.Status {
	t.Helper()
	e, ctx, stop := running(t, store, durable.Options{PollMax: time.Second}, sagas[0])
	defer stop()
	if err := e.Register(sagas...); err != nil {
		t.Fatal(err)
	}
	if err := e.Cancel(ctx, id, "ada", "test"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	rec, err := store.Load(ctx, id, durable.LoadHead)
	if err != nil {
		t.Fatal(err)
	}
	return saga.StatusOf(&rec.Head)
}

// TestOldUndosBesideNew: with both versions registered, one in flight is undone by
// the undos of the version that it started with.
func TestOldUndosBesideNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &declared{outside: newOutside()}
		old, next := d.declare("1", "a b ~ c"), d.declare("2", "x a b ~ y")
		store := mem.New()
		inFlight(t, store, "old", old)
		inFlight(t, store, "new", next)
		for _, id := range []string{"old", "new"} {
			if got := cancelled(t, store, id, next, old); got.String() != "cancelled/complete" {
				t.Errorf("%s: got %v, want cancelled/complete", id, got)
			}
		}
		if got, want := d.undoOrder(), "b@1 a@1 b@2 a@2 x@2"; got != want {
			t.Errorf("got undone %q, want %q", got, want)
		}
	})
}

// TestShorterSagaUndoesNothing: a definition that ends before the journal does
// parks, and undoes nothing of what came before the steps that it does not know.
func TestShorterSagaUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &declared{outside: newOutside(), fails: map[string]error{"d": durable.RetryAfter(errors.New("not yet"), time.Hour)}}
		store, shorter := mem.New(), d.declare("1", "a")
		inFlight(t, store, "s1", d.declare("1", "a c d"))
		r, err := saga.Check(t.Context(), store, shapes(shorter))
		if err != nil || r.Count(saga.FitNone) != 1 {
			t.Errorf("got %+v, %v, want one that cannot run", r, err)
		}
		cancelled(t, store, "s1", shorter)
		rec, err := store.Load(t.Context(), "s1", durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Park == nil || rec.Park.Reason != durable.ParkNondeterminism || d.undoOrder() != "" {
			t.Errorf("got %v, %+v, undone %q; want parked as nondeterminism with nothing undone", rec.Status, rec.Park, d.undoOrder())
		}
	})
}

// TestUnwindByAnotherShape: what Check says can only be unwound is, by a definition
// of its version that has its steps up to where it has come.
func TestUnwindByAnotherShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &declared{outside: newOutside()}
		store, rescue := mem.New(), d.declare("1", "a b ~ end?")
		inFlight(t, store, "s1", d.declare("1", "a b ~ c pay!"))
		r, err := saga.Check(t.Context(), store, shapes(rescue))
		if err != nil || r.Count(saga.FitUnwind) != 1 {
			t.Fatalf("got %+v, %v, want one that can unwind", r, err)
		}
		if got := cancelled(t, store, "s1", rescue); got.String() != "cancelled/complete" || d.undoOrder() != "b@1 a@1" {
			t.Errorf("got %v, undone %q, want all undone", got, d.undoOrder())
		}
	})
}

// TestOtherRulesInTheSameVersion: what Check says of a build in which only the rules
// at the end of the way forward differ is what becomes of a saga there.
func TestOtherRulesInTheSameVersion(t *testing.T) {
	make := func(s *shop, change func(*saga.Builder[order, string]), verify bool) *saga.Saga[order, string] {
		b := saga.New[order, string]("shop", "1")
		if change != nil {
			change(b)
		}
		s.undoable(b, "authorize")
		s.undoable(b, "reserve")
		saga.Wait(b, "a day", 24*time.Hour)
		p := saga.Pivot(b, "capture", s.body("capture"))
		if verify {
			p.Verify(func(c saga.Context, _ order) (saga.Verdict[string], error) { return s.truth(c) })
		} else {
			p.ParkInDoubt()
		}
		return built(b)
	}
	later := func(b *saga.Builder[order, string]) { b.UnwindTimeout(100 * time.Hour) }
	apart := func(b *saga.Builder[order, string]) { b.UndoIndependently() }
	for name, c := range map[string]struct {
		prepare func(*shop)
		after   time.Duration
		change  func(*saga.Builder[order, string])
		verify  bool
		fit     saga.Fit
		status  string // at the end, after a retry of what is parked
	}{
		"a Verify, before the pivot":          {func(*shop) {}, time.Hour, nil, true, saga.FitContinue, "committed/none"},
		"a Verify, parked in doubt":           {func(s *shop) { s.before["capture"] = always(durable.Permanent(errOutage)) }, 30 * time.Hour, nil, true, saga.FitNone, "nondeterminism"},
		"a deadline, before anything fails":   {func(s *shop) { s.before["capture"] = rejecting }, time.Hour, later, false, saga.FitContinue, "rejected/complete"},
		"a deadline, while it unwinds":        {func(s *shop) { s.before["capture"] = rejecting; s.before["undo reserve"] = always(errOutage) }, 26 * time.Hour, later, false, saga.FitNone, "nondeterminism"},
		"independence, before anything fails": {func(s *shop) { s.before["capture"] = rejecting }, time.Hour, apart, false, saga.FitContinue, "rejected/complete"},
		"independence, stuck": {func(s *shop) {
			s.before["capture"] = rejecting
			s.before["undo reserve"] = always(durable.Permanent(errOutage))
		}, 26 * time.Hour, apart, false, saga.FitNone, "nondeterminism"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, store := newShop(), mem.New()
				c.prepare(s)
				old := make(s, nil, false)
				e, ctx, stop := running(t, store, durable.Options{}, old)
				if _, err := old.Start(ctx, e, "o1", order{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(c.after)
				stop()
				next := make(s, c.change, c.verify)
				report, err := saga.Check(t.Context(), store, shapes(next))
				if err != nil || report.Count(c.fit) != 1 {
					t.Fatalf("got %+v (%v), want %s", report, err, c.fit)
				}
				delete(s.before, "undo reserve")
				e, _, stop = running(t, store, durable.Options{}, next)
				defer stop()
				rec, err := store.Load(t.Context(), "o1", durable.LoadHead)
				if err != nil {
					t.Fatal(err)
				}
				if rec.Status == durable.StatusParked {
					if err := e.Act(t.Context(), "o1", rec.Revision, durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "test"}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(40 * time.Hour)
				if rec, err = store.Load(t.Context(), "o1", durable.LoadHead); err != nil {
					t.Fatal(err)
				}
				got := rec.Detail
				if rec.Status == durable.StatusParked {
					got = string(rec.Park.Reason)
				}
				if got != c.status {
					t.Errorf("with the new build it is %s, want %s", got, c.status)
				}
			})
		})
	}
}
