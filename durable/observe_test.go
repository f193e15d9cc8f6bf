package durable_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// diary is an observer that writes everything down, and marks contexts.
type diary struct {
	mu    sync.Mutex
	lines []string
	panic bool
}

type diaryKey struct{}

func (d *diary) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if d.panic {
		panic("the observer is broken")
	}
	names := []string{"", "activation", "activation ends", "op", "op ends", "attempt", "attempt ends", "run ends", "claim lost", "started"}
	line := strings.TrimSpace(fmt.Sprintf("%s %s %s", names[o.Kind], o.Path, o.Subtype))
	if o.Unborn {
		line += " unborn"
	}
	if o.Replayed {
		line += " again"
	}
	if o.Attempt > 1 {
		line += fmt.Sprint(" ", o.Attempt)
	}
	if o.Err != nil {
		line += ": " + o.Err.Error()
	}
	if o.Kind == durable.ObserveActivationEnd {
		line += " " + o.Status.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	within, _ := ctx.Value(diaryKey{}).(string)
	return context.WithValue(ctx, diaryKey{}, within+">"+names[o.Kind])
}

func observedHandler(t *testing.T) func(*durable.Context, int) (int, error) {
	failed := false
	return func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.Child(ctx, "kid", func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
				if got := ctx.Value(diaryKey{}); got != nil && got != ">activation>attempt" {
					t.Errorf("the body's context is that of %v", got)
				}
				if !failed {
					failed = true
					return 0, errors.New("once")
				}
				return 1, nil
			}, durable.WithRetry(durable.Retry{Initial: time.Hour, NoJitter: true, Max: time.Hour}))
		})
		return 2, err
	}
}

func TestObserver(t *testing.T) {
	d := &diary{}
	bubble(t, durable.Options{Observer: d, HotWait: -1}, observedHandler(t), func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		w.stop()
	})
	want := []string{
		"activation", "started", "op kid", "op kid/s", "attempt kid/s", "attempt ends kid/s: once", "activation ends suspended",
		"activation", "attempt kid/s 2", "attempt ends kid/s 2", "op ends kid/s 2", "op ends kid", "activation ends succeeded",
	}
	if !slices.Equal(d.lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(want, "\n"))
	}
}

// ends is an observer that keeps by which attempt, and how long after the start of
// the test, bodies returned, and when the last activation's unwinding had begun.
type ends struct {
	mu       sync.Mutex
	began    time.Time
	attempts []string
	unwind   time.Duration
}

func (x *ends) Observe(ctx context.Context, o *durable.Observation) context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case o.Kind == durable.ObserveActivationStart && x.began.IsZero():
		x.began = o.At
	case o.Kind == durable.ObserveAttemptEnd:
		x.attempts = append(x.attempts, fmt.Sprint(o.Attempt, " after ", o.At.Sub(x.began).Truncate(time.Second)))
	case o.Kind == durable.ObserveActivationEnd && !o.UnwindStarted.IsZero():
		x.unwind = o.UnwindStarted.Sub(x.began)
	}
	return ctx
}

// TestObserverOfALateBody: a body that ignores its timeout, and returns after the
// next attempt has, is told of as the attempt that it was, at the time at which it
// returned; so is one that outlives its engine.
func TestObserverOfALateBody(t *testing.T) {
	x := &ends{}
	var n atomic.Int64
	bubble(t, durable.Options{Observer: x, HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "s", func(context.Context) (int, error) {
			if n.Add(1) == 1 {
				time.Sleep(time.Minute)
			}
			return 1, nil
		}, durable.WithTimeout(time.Second), durable.WithRetry(durable.Retry{Initial: time.Second, NoJitter: true}))
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
	})
	if want := []string{"2 after 3s", "1 after 1m0s"}; !slices.Equal(x.attempts, want) {
		t.Errorf("got %q, want %q", x.attempts, want)
	}
	synctest.Test(t, func(t *testing.T) {
		x := &ends{}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(time.Hour); return 1, nil }, durable.WithTimeout(2*time.Hour))
		})
		w := newWorld(t, mem.New(), durable.Options{Observer: x}, def)
		if _, err := def.Start(t.Context(), w.e, "x", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.stop()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if want := []string{"1 after 1h0m0s"}; !slices.Equal(x.attempts, want) {
			t.Errorf("of a body that outlives its engine got %q, want %q", x.attempts, want)
		}
	})
}

// TestObserverUnwindStarted: the unwinding begins with the start of the first undo.
func TestObserverUnwindStarted(t *testing.T) {
	x := &ends{}
	bubble(t, durable.Options{Observer: x, HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		if err := durable.Wait(ctx, "w", time.Hour); err != nil {
			return 0, err
		}
		for _, name := range []string{"b", "a"} {
			_, err := durable.Step(ctx, name, func(context.Context) (int, error) { time.Sleep(10 * time.Second); return 1, nil }, durable.WithSubtype(durable.SubtypeUndo, 0))
			if err != nil {
				return 0, err
			}
		}
		return 1, nil
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		w.stop()
	})
	if off := x.unwind - time.Hour; off < 0 || off > 5*time.Second {
		t.Errorf("it began after %v, want an hour, and until somebody looks", x.unwind)
	}
}

// TestObserverStarted: an execution is told to have started by whoever creates
// it, once; a start of one that exists is not, and what it begins is unborn.
func TestObserverStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, idle := &diary{}, &diary{}
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) { return step(ctx, "s", n) })
		w := newWorld(t, mem.New(), durable.Options{Observer: d}, def)
		defer w.stop()
		e, err := durable.New(w.store, durable.Options{Observer: idle})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Register(def); err != nil {
			t.Fatal(err)
		}
		for _, by := range []*durable.Engine{w.e, w.e, e} {
			for _, id := range []string{"x", "y"} {
				if id == "y" && by == w.e {
					continue // the idle one creates it, for others to run
				}
				x, err := def.Start(t.Context(), by, id, 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
		}
		synctest.Wait()
		if !slices.Equal(idle.lines, []string{"started"}) {
			t.Errorf("who creates and runs nothing was told %q, want that it has started one", idle.lines)
		}
		run := []string{"op s", "attempt s", "attempt ends s", "op ends s", "activation ends succeeded"}
		want := slices.Concat([]string{"activation", "started"}, run, []string{"activation", "activation ends unborn: durable: fenced: the claim is no longer held unknown", "activation"}, run)
		if !slices.Equal(d.lines, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestObserverReplayed: what an earlier activation did is marked.
func TestObserverReplayed(t *testing.T) {
	d := &diary{}
	bubble(t, durable.Options{Observer: d, HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return 1, nil })
		return 0, errors.Join(err, durable.Wait(ctx, "w", time.Hour))
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		w.stop()
	})
	if !slices.Contains(d.lines, "op ends s again") {
		t.Errorf("got %q, want the step's end again", d.lines)
	}
}

// TestObserverPanics: a broken observer harms nothing.
func TestObserverPanics(t *testing.T) {
	bubble(t, durable.Options{Observer: &diary{panic: true}, HotWait: -1}, observedHandler(t), func(w *world, _ *durable.Execution[int], out int, err error) {
		if out != 2 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

// keeper is an observer that keeps something with what starts, and what it is
// told at the ends.
type keeper struct {
	mu     sync.Mutex
	starts []string
	ends   []durable.Observation
	keeps  map[string]string
	panics bool
}

func (k *keeper) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if o.Kind == durable.ObserveActivationEnd || o.Kind == durable.ObserveRunEnd || o.Kind == durable.ObserveClaimLost {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ends = append(k.ends, *o)
	}
	return nil
}

func (k *keeper) ObserveStart(ctx context.Context, id *durable.Identity, by *durable.Observation) map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	line := id.Definition
	if by != nil {
		line += fmt.Sprintf(" by %s %s of %s", by.Type, by.Path, by.Execution.ID)
	}
	k.starts = append(k.starts, line)
	if k.panics {
		panic("the observer is broken")
	}
	return k.keeps
}

// TestObserveStart: what the observer has for a start is kept, for what is
// started and for what is invoked; an option goes before it, and nothing that it
// does stops a start.
func TestObserveStart(t *testing.T) {
	inner := durable.Define("inner", "1", func(ctx *durable.Context, n int) (int, error) { return n, nil })
	outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) {
		return durable.Invoke(ctx, "call", inner, n, durable.WithInvokeID("in"))
	})
	large := map[string]string{"baggage": strings.Repeat("x", 5000)}
	for name, tt := range map[string]struct {
		k    *keeper
		opts []durable.StartOption
		want [2]string // of the outer and the inner one
	}{
		"kept":      {&keeper{keeps: map[string]string{"a": "b"}}, nil, [2]string{"map[a:b]", "map[a:b]"}},
		"an option": {&keeper{keeps: map[string]string{"a": "b"}}, []durable.StartOption{durable.WithTrace(map[string]string{"c": "d"})}, [2]string{"map[c:d]", "map[a:b]"}},
		"too large": {&keeper{keeps: large}, nil, [2]string{"map[]", "map[]"}},
		"panics":    {&keeper{panics: true}, nil, [2]string{"map[]", "map[]"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, mem.New(), durable.Options{Observer: tt.k}, outer, inner)
				defer w.stop()
				x, err := outer.Start(t.Context(), w.e, "out", 3, tt.opts...)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := x.Wait(t.Context()); n != 3 || err != nil {
					t.Errorf("got %d, %v; want 3, nil", n, err)
				}
				for i, id := range []string{"out", "in"} {
					rec, err := w.store.Load(t.Context(), id, durable.LoadHead)
					if err != nil {
						t.Fatal(err)
					}
					if got := fmt.Sprint(rec.Trace); got != tt.want[i] {
						t.Errorf("%s keeps %s, want %s", id, got, tt.want[i])
					}
				}
				if got, want := tt.k.starts[len(tt.k.starts)-1], "inner by Invoke call of out"; got != want {
					t.Errorf("the last start is %q, want %q", got, want)
				}
			})
		})
	}
}

// TestObserverRecord: what the observer gets at the end of an activation, or of
// a run, is what the store holds, and costs no read of the journal.
func TestObserverRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		store := &readCounter{Store: mem.New()}
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := step(ctx, "a", n); err != nil {
				return 0, err
			}
			if n == 1 {
				return 0, durable.ContinueAsNew(ctx, 2)
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			return step(ctx, "b", n)
		})
		w := newWorld(t, store, durable.Options{Observer: k, HotWait: -1}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(k.ends) != 3 || k.ends[0].Kind != durable.ObserveRunEnd || k.ends[0].Run != 1 {
			t.Fatalf("%d ends, want those of run 1 and of two activations", len(k.ends))
		}
		first, err := durable.Operations(k.ends[0].Record())
		if err != nil || !reflect.DeepEqual(k.ends[0].Operations(), first) || len(first) != 1 || first[0].Name != "a" || first[0].Ended.IsZero() {
			t.Errorf("run 1 had %+v, %v; want its step, ended", first, err)
		}
		store.all, store.heads = 0, 0
		got := k.ends[2].Record()
		if store.all != 0 || store.heads != 0 {
			t.Errorf("%d reads of the journal, %d of the head; want none of what bills nothing", store.all, store.heads)
		}
		store.bills = true
		if u := k.ends[2].Record().Usage; u.WriteUnits != 7 || store.all != 0 || store.heads != 1 {
			t.Errorf("usage %+v by %d reads of the journal, %d of the head; want 7 units by one of the head", u, store.all, store.heads)
		}
		want, err := store.Load(t.Context(), "x", durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		if have, is := slices.Collect(durable.History(got)), slices.Collect(durable.History(want)); !reflect.DeepEqual(have, is) {
			t.Errorf("got a history of\n%+v\nwant\n%+v", have, is)
		}
		ops, err := durable.Operations(want)
		if is := k.ends[2].Operations(); err != nil || !reflect.DeepEqual(is, ops) {
			t.Errorf("got operations\n%+v\nwant\n%+v", is, ops)
		}
		if got.Status != want.Status || got.Activations != want.Activations || !got.Ended.Equal(want.Ended) || string(got.Result) != string(want.Result) || !k.ends[2].At.Equal(want.Ended) {
			t.Errorf("got head %+v, want %+v", got.Head, want.Head)
		}
	})
}

// readCounter counts reads, and may bill.
type readCounter struct {
	durable.Store
	all, heads int
	bills      bool
}

func (r *readCounter) Bills() bool { return r.bills }

func (r *readCounter) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if what == durable.LoadAll {
		r.all++
	} else {
		r.heads++
	}
	rec, err := r.Store.Load(ctx, id, what)
	if err == nil && r.bills {
		rec.Usage.WriteUnits = 7
	}
	return rec, err
}

// TestObserverPark: the end of an activation that parks says why; a claim that
// somebody else won is told of.
func TestObserverPark(t *testing.T) {
	k := &keeper{}
	bubble(t, durable.Options{Observer: k}, func(ctx *durable.Context, _ int) (int, error) {
		panic("a bug")
	}, func(w *world, x *durable.Execution[int], _ int, err error) {
		time.Sleep(time.Second)
		synctest.Wait() // the observer is told after those who wait
		if len(k.ends) != 1 || k.ends[0].Park == nil || k.ends[0].Park.Reason != durable.ParkPanic || k.ends[0].Status != durable.StatusParked {
			t.Errorf("got %+v, want one end, parked for a panic", k.ends)
		}
	})
}

// TestObserveClaimLost: two engines find the same due execution, one claims it.
func TestObserveClaimLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) { return n, durable.Wait(ctx, "w", time.Hour) })
		store := mem.New()
		slow := &stalled{Store: store}
		idle, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := idle.Register(def); err != nil {
			t.Fatal(err)
		}
		if _, err := def.Start(t.Context(), idle, "x", 1); err != nil { // for any worker
			t.Fatal(err)
		}
		w := newWorld(t, slow, durable.Options{Observer: k}, def)
		defer w.stop()
		other := newWorld(t, store, durable.Options{}, def)
		defer other.stop()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(k.ends) == 0 || k.ends[0].Kind != durable.ObserveClaimLost || k.ends[0].Execution.ID != "x" || k.ends[0].Execution.Definition != "d" {
			t.Errorf("got %+v, want a claim that was lost", k.ends)
		}
	})
}

// stalled brings claims to the store a second late.
type stalled struct{ durable.Store }

func (s *stalled) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	time.Sleep(time.Second)
	return s.Store.Claim(ctx, c)
}

// TestObserverOfAnUnreadableJournal: the observer is told of the activation that
// parks it, or nobody who counts what is parked would hear of it.
func TestObserverOfAnUnreadableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return 0, durable.Wait(ctx, "w", time.Hour) })
		w := newWorld(t, &garbling{Store: mem.New()}, durable.Options{HotWait: -1, Observer: d}, def)
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		w.stop()
		want := []string{"activation", "started", "op w", "activation ends suspended", "activation", "activation ends parked"}
		if !slices.Equal(d.lines, want) {
			t.Errorf("got %q, want %q", d.lines, want)
		}
	})
}

// sluggish takes a second for each commit.
type sluggish struct{ *mem.Store }

func (s sluggish) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	time.Sleep(time.Second)
	return s.Store.Commit(ctx, c)
}

// TestObserverOfARunInFlight: what a run has on its way to the store as it ends is
// part of it.
func TestObserverOfARunInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := step(ctx, "s", n); err != nil || n == 2 {
				return n, err
			}
			time.Sleep(100 * time.Millisecond) // longer than a completion may stay unwritten
			return 0, durable.ContinueAsNew(ctx, n+1)
		})
		w := newWorld(t, sluggish{mem.New()}, durable.Options{HotWait: -1, Observer: k}, def)
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.stop()
		if len(k.ends) == 0 || k.ends[0].Kind != durable.ObserveRunEnd || k.ends[0].Run != 1 {
			t.Fatalf("got %+v, want the end of run 1 first", k.ends)
		}
		isResult := func(e durable.Entry) bool { return e.Kind == durable.EntryResult }
		if journal := k.ends[0].Record().Journal; !slices.ContainsFunc(journal, isResult) {
			t.Errorf("run 1 had %+v, want its step's result among it", journal)
		}
	})
}
