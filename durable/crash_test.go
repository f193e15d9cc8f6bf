package durable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

// tally counts what bodies did, per execution run of the harness.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[name]++
	return c.n[name]
}

func (c *tally) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

// everywhere crashes a handler everywhere and compares its result.
func everywhere(t *testing.T, handler func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error), check func(w *durabletest.World, c *tally, h *durable.Head)) {
	t.Helper()
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		c := &tally{}
		def := durable.Define("d", "1", handler(w, c))
		return durabletest.Subject{
			Definitions: []durable.Registrable{def}, Pairs: 8, Options: durable.Options{PollMax: time.Minute},
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := def.Start(ctx, e, "x", 1)
				return err
			},
			Check: func() {
				rec, err := w.Store.Load(w.Context(), "x", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				linear(w, rec.Journal)
				check(w, c, &rec.Head)
			},
		}
	})
}

// linear checks that the journal is one history: every operation begins once
// and ends at most once, and nothing follows its end.
func linear(w *durabletest.World, journal []durable.Entry) {
	ended := map[int64]bool{}
	next := int64(1)
	for i, e := range journal {
		if e.First {
			if e.Op != next {
				w.Errorf("entry %d begins operation %d, want %d", i, e.Op, next)
			}
			next++
		}
		if e.Op != 0 && (e.Op >= next || ended[e.Op]) {
			w.Errorf("entry %d is about operation %d, which has not begun or has ended", i, e.Op)
		}
		if e.Kind != durable.EntryStart && e.Kind != durable.EntryProgress && !e.Retry {
			ended[e.Op] = e.Op != 0
		}
	}
}

func succeeded(w *durabletest.World, h *durable.Head, result string) {
	if h.Status != durable.StatusSucceeded || string(h.Result) != result {
		w.Errorf("got %v %s (%v), want succeeded %s", h.Status, h.Result, h.Error, result)
	}
}

func TestCrashEveryOperation(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			a, err := durable.Step(ctx, "a", func(context.Context) (string, error) { c.add("a"); return "a", nil })
			if err != nil {
				return "", err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return "", err
			}
			cb, err := durable.CreateCallback[string](ctx, "cb")
			if err != nil {
				return "", err
			}
			b, err := durable.Child(ctx, "kid", func(ctx *durable.Context) (string, error) {
				return durable.Step(ctx, "b", func(ctx context.Context) (string, error) {
					if c.add("b") == 1 {
						return "", errors.New("again")
					}
					err := w.Client.CompleteCallback(ctx, cb.ID(), "c")
					if err != nil && !errors.Is(err, durable.ErrDelivered) {
						return "", err
					}
					return "b", nil
				})
			})
			if err != nil {
				return "", err
			}
			r, err := cb.Result(ctx)
			return a + b + r, err
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"abc"`)
	})
}

// TestCrashAtMostOnce: a body that ran is never run again under its attempt.
func TestCrashAtMostOnce(t *testing.T) {
	everywhere(t, func(_ *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			for i := range 3 {
				_, err := durable.Step(ctx, fmt.Sprint("s", i), func(ctx context.Context) (string, error) {
					info, _ := durable.StepInfoFrom(ctx)
					c.add(fmt.Sprintf("%s/%d", info.Key, info.Attempt))
					return "", nil
				}, durable.AtMostOnce())
				if err != nil {
					return "", err
				}
			}
			return "done", nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"done"`)
		for attempt, n := range c.n {
			if n > 1 {
				w.Errorf("attempt %s ran %d times", attempt, n)
			}
		}
	})
}

// TestCrashCallbackAgainstTimeout: the store accepts a completion in the very
// moment of the timeout. Whichever it is, everybody agrees.
func TestCrashCallbackAgainstTimeout(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			cb, err := durable.CreateCallback[string](ctx, "cb", durable.WithCallbackTimeout(time.Minute))
			if err != nil {
				return "", err
			}
			_, err = durable.Step(ctx, "ask", func(ctx context.Context) (int, error) {
				if c.add("ask") == 1 {
					time.AfterFunc(time.Minute-10*time.Millisecond, func() {
						if err := w.Client.CompleteCallback(context.Background(), cb.ID(), "yes"); err == nil {
							c.add("accepted")
						}
					})
				}
				return 0, nil
			})
			if err != nil {
				return "", err
			}
			v, err := cb.Result(ctx)
			if errors.Is(err, durable.ErrCallbackTimeout) {
				return "timeout", nil
			}
			return v, err
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		want := `"timeout"`
		if c.get("accepted") > 0 {
			want = `"yes"`
		}
		succeeded(w, h, want)
	})
}

// TestCrashCancelIsNeverLost: acknowledged while the execution sleeps, runs,
// or is between the two.
func TestCrashCancelIsNeverLost(t *testing.T) {
	for _, after := range []time.Duration{0, 50 * time.Millisecond, time.Second, 59 * time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
				return func(ctx *durable.Context, _ int) (string, error) {
					_, err := durable.Step(ctx, "a", func(context.Context) (int, error) {
						if c.add("a") == 1 {
							time.AfterFunc(after, func() {
								if err := w.Client.Cancel(context.Background(), "x", "ada", "stop"); err == nil {
									c.add("acknowledged")
								}
							})
						}
						return 0, nil
					})
					if err == nil {
						err = durable.Wait(ctx, "w", time.Hour)
					}
					if err == nil {
						return "went on", nil
					}
					_, undoErr := durable.Step(ctx.Unwinding(), "undo", func(context.Context) (int, error) { return c.add("undo"), nil })
					return "", errors.Join(err, undoErr)
				}
			}, func(w *durabletest.World, c *tally, h *durable.Head) {
				if c.get("acknowledged") > 0 && (h.Status != durable.StatusCancelled || c.get("undo") == 0) {
					w.Errorf("acknowledged, but ended %v with %d undos", h.Status, c.get("undo"))
				}
			})
		})
	}
}

// crasher serves one execution in one process after another, each of which
// dies in the middle of the body of step "bad".
func crashes(t *testing.T, store *mem.Store, defs []durable.Registrable, inBad <-chan struct{}) {
	t.Helper()
	e, err := durable.New(gone{store, make(chan struct{})}, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(defs...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	<-inBad
	store.KillOwner(e.ID())
	close(e.Store().(gone).dead)
	cancel()
	<-done
}

// gone is a store to a process: once dead is closed nothing lands any more.
type gone struct {
	*mem.Store
	dead chan struct{}
}

func (g gone) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	select {
	case <-g.dead:
		return durable.Receipt{}, durable.ErrFenced
	default:
		return g.Store.Commit(ctx, c)
	}
}

// TestCrashLoopParksOverTheStep: a step that six crashes in a row interrupt
// parks, keeps its doubt, and goes on by an operator's verb.
func TestCrashLoopParksOverTheStep(t *testing.T) {
	for _, c := range []struct {
		name string
		d    durable.Decision
		want int
	}{
		{"retry", durable.Decision{Verb: durable.VerbRetry}, 1},
		{"resolve", durable.Decision{Verb: durable.VerbResolve, Output: []byte("42")}, 42},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := mem.New()
				inBad := make(chan struct{})
				bad := true
				runs := 0
				def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
					return durable.Step(ctx, "bad", func(ctx context.Context) (int, error) {
						if runs++; bad {
							inBad <- struct{}{}
							<-ctx.Done()
						}
						return 1, ctx.Err()
					})
				})
				starter, _ := durable.New(store, durable.Options{})
				_ = starter.Register(def)
				x, err := def.Start(t.Context(), starter, "x", 1)
				if err != nil {
					t.Fatal(err)
				}
				for range 6 {
					crashes(t, store, []durable.Registrable{def}, inBad)
				}
				w := newWorld(t, store, durable.Options{}, def)
				defer w.stop()
				_, err = x.Wait(t.Context())
				var parked *durable.ParkedError
				if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkCrashLoop || runs != 6 {
					t.Fatalf("got %v after %d runs, want parked for crash-loop after 6", err, runs)
				}
				if p := parked.Park; p.Operation != "bad" || p.Key != "x/1/bad" || p.Since.IsZero() || !slices.Contains(p.Verbs, c.d.Verb) {
					t.Errorf("parked with %+v", p)
				}
				bad = false
				out, err := w.act(x, c.d)
				if err != nil || out != c.want {
					t.Errorf("after %s: got %d, %v, want %d", c.d.Verb, out, err, c.want)
				}
			})
		})
	}
}

// TestPoisonRunsAloneAndSparesItsNeighbours: one execution ends its process
// again and again; its neighbour finishes and burns nothing.
func TestPoisonRunsAloneAndSparesItsNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		inBad := make(chan struct{})
		together, neighbour := false, 0
		busy := 0
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if n == 0 {
				return durable.Step(ctx, "bad", func(ctx context.Context) (int, error) {
					time.Sleep(time.Second)
					rec, _ := store.Load(ctx, "bad", durable.LoadHead)
					together = together || rec.Crashes >= 3 && busy > 0
					inBad <- struct{}{}
					<-ctx.Done()
					return 0, ctx.Err()
				})
			}
			return durable.Step(ctx, "good", func(context.Context) (int, error) {
				busy++
				neighbour++
				time.Sleep(4 * time.Second) // longer than any process lives together with the bad one
				busy--
				return 1, nil
			})
		})
		starter, _ := durable.New(store, durable.Options{})
		_ = starter.Register(def)
		bad, err := def.Start(t.Context(), starter, "bad", 0)
		if err != nil {
			t.Fatal(err)
		}
		good, err := def.Start(t.Context(), starter, "good", 1)
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			crashes(t, store, []durable.Registrable{def}, inBad)
		}
		w := newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		if _, err := bad.Wait(t.Context()); !errors.Is(err, durable.ErrParked) {
			t.Errorf("bad: got %v, want parked", err)
		}
		if out, err := good.Wait(t.Context()); err != nil || out != 1 {
			t.Errorf("good: got %d, %v", out, err)
		}
		if together {
			t.Error("after three crashes the bad one still ran beside another")
		}
		if neighbour > 4 {
			t.Errorf("the neighbour's step ran %d times", neighbour)
		}
	})
}

// TestDrainHandsOver: a worker that is told to stop lets its step finish and
// hands the rest over; nothing runs twice.
func TestDrainHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		runs := map[string]int{}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for _, name := range []string{"a", "b"} {
				if _, err := durable.Step(ctx, name, func(context.Context) (int, error) {
					runs[name]++
					time.Sleep(5 * time.Second)
					return 1, nil
				}); err != nil {
					return 0, err
				}
			}
			return 9, nil
		})
		w := newWorld(t, store, durable.Options{}, def)
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.stop() // returns only after step a has
		rec, _ := store.Load(t.Context(), "x", durable.LoadHead)
		if rec.Status != durable.StatusSuspended || rec.Due.After(time.Now()) {
			t.Errorf("after the drain: %v, due %v; want suspended and due", rec.Status, rec.Due)
		}
		w = newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		if out, err := def.Attach(w.e, x.ID()).Wait(t.Context()); err != nil || out != 9 {
			t.Errorf("got %d, %v", out, err)
		}
		if runs["a"] != 1 || runs["b"] != 1 {
			t.Errorf("runs %v, want one each", runs)
		}
	})
}

// TestStoreOutage: five minutes without a store; no step that had a result
// runs again, and the body of none starts before its marker is durable.
func TestStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flaky{Store: mem.New()}
		runs := 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for i := range 4 {
				if _, err := durable.Step(ctx, fmt.Sprint(i), func(context.Context) (int, error) {
					runs++
					if i == 1 {
						store.until = time.Now().Add(5 * time.Minute)
					}
					return i, nil
				}); err != nil {
					return 0, err
				}
			}
			return 1, nil
		})
		w := newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(t.Context()); err != nil || out != 1 || runs != 4 {
			t.Errorf("got %d, %v after %d runs, want 4 runs", out, err, runs)
		}
	})
}

type flaky struct {
	*mem.Store
	until time.Time
}

func (f *flaky) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if time.Now().Before(f.until) {
		return durable.Receipt{}, errors.New("outage")
	}
	return f.Store.Commit(ctx, c)
}
