package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

// More of what opponents found.

// hooked calls before, and after it has landed, for every commit.
type hooked struct {
	*mem.Store
	before, after func(c *durable.Commit)
}

func (h *hooked) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if h.before != nil {
		h.before(c)
	}
	r, err := h.Store.Commit(ctx, c)
	if h.after != nil && err == nil {
		h.after(c)
	}
	return r, err
}

// has tells whether a commit carries such an entry.
func has(c *durable.Commit, like func(e *durable.Entry) bool) bool {
	for i := range c.Entries {
		if like(&c.Entries[i]) {
			return true
		}
	}
	return false
}

// raced is bubble over a store with hooks, and with an engine beside it that
// runs nothing.
func raced(t *testing.T, opts durable.Options, store *hooked, handler func(*durable.Context, int) (string, error), then func(w *world, out string, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store.Store = mem.New()
		def := durable.Define("d", "1", handler)
		w := newWorld(t, store, opts, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Wait(t.Context())
		then(w, out, err)
	})
}

func client(t *testing.T, store durable.Store) *durable.Engine {
	t.Helper()
	e, err := durable.New(store, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestPollKeepsItsInitialState: a first poll that times out says nothing of
// the state.
func TestPollKeepsItsInitialState(t *testing.T) {
	var states []int
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.WaitForCondition(ctx, "c", 5, func(ctx context.Context, state int) (int, bool, error) {
			if states = append(states, state); len(states) == 1 {
				<-ctx.Done()
				return 0, false, ctx.Err()
			}
			return state + 1, true, nil
		}, durable.WithTimeout(time.Second))
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 6 || !slices.Equal(states, []int{5, 5}) {
			t.Errorf("got %d, %v after states %v, want 6 after 5 and 5", out, err, states)
		}
	})
}

// TestPollKeepsANilState: a state that is nil is a state.
func TestPollKeepsANilState(t *testing.T) {
	var states [][]int
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.WaitForCondition(ctx, "c", []int{1}, func(_ context.Context, state []int) ([]int, bool, error) {
			states = append(states, state)
			return nil, len(states) == 2, nil
		})
		return 0, err
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil || len(states) != 2 || states[1] != nil {
			t.Errorf("got %v after states %v, want [1] and nil", err, states)
		}
	})
}

// TestTerminateWhileTimeEndsSomething: an execution that is terminated before
// its code begins does not begin.
func TestTerminateWhileTimeEndsSomething(t *testing.T) {
	store := &hooked{}
	told := false
	store.before = func(c *durable.Commit) {
		if !told && has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryTimeout }) {
			told = true
			if err := client(t, store.Store).Terminate(context.Background(), "x", "ada", "enough"); err != nil {
				t.Error(err)
			}
		}
	}
	raced(t, durable.Options{HotWait: -1}, store, func(ctx *durable.Context, _ int) (string, error) {
		cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithCallbackTimeout(time.Hour))
		if err != nil {
			return "", err
		}
		_, _ = cb.Result(ctx)
		_, err = durable.Step(ctx, "s", func(context.Context) (int, error) { t.Error("it ran"); return 0, nil })
		return "", err
	}, func(w *world, _ string, err error) {
		if !errors.Is(err, durable.ErrTerminated) || !told {
			t.Errorf("got %v, want terminated", err)
		}
	})
}

// TestStopBeforeANewRun: ContinueAsNew loses neither a cancel nor a request to
// terminate.
func TestStopBeforeANewRun(t *testing.T) {
	t.Run("terminate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &slowLoad{Store: mem.New()}
			inner := durable.Define("inner", "1", func(ctx *durable.Context, _ int) (string, error) {
				return "", durable.Wait(ctx, "w", 24*time.Hour)
			})
			def := durable.Define("d", "1", func(ctx *durable.Context, n int) (string, error) {
				if n > 7 {
					_, err := count(ctx, &store.c, "again")
					return "", err
				}
				durable.Go(ctx, "g", func(ctx *durable.Context) (string, error) { return durable.Invoke(ctx, "i", inner, 1) })
				if err := durable.Wait(ctx, "w", time.Minute); err != nil {
					return "", err
				}
				return "", durable.ContinueAsNew(ctx, n+1)
			})
			w := newWorld(t, store, durable.Options{HotWait: -1}, def, inner)
			defer w.stop()
			store.cancelled = func() {
				if err := once(w.e.Terminate(context.Background(), "x", "ada", "enough")); err != nil {
					t.Error(err)
				}
			}
			x, err := def.Start(t.Context(), w.e, "x", 7)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrTerminated) || len(store.c.n) > 0 {
				t.Errorf("got %v after steps %v, want terminated before any", err, store.c.n)
			}
		})
	})
	t.Run("cancel", func(t *testing.T) {
		bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, n int) (int, error) {
			if n > 7 {
				_, err := durable.Step(ctx, "s", func(context.Context) (int, error) { t.Error("it ran"); return 0, nil })
				return 0, err
			}
			_, err := durable.Step(ctx, "cancels", func(context.Context) (int, error) {
				return 0, engineFor.Load().Cancel(context.Background(), "x", "ada", "stop")
			})
			_ = err
			return 0, durable.ContinueAsNew(ctx.Shielded(), n+1)
		}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
			if !errors.Is(err, durable.ErrCancelled) {
				t.Errorf("got %v, want ErrCancelled", err)
			}
		})
	})
}

// slowLoad calls cancelled when an invoked execution has been cancelled.
type slowLoad struct {
	*mem.Store
	c         tally
	cancelled func()
}

func (s *slowLoad) Deliver(ctx context.Context, d *durable.Delivery) error {
	err := s.Store.Deliver(ctx, d)
	if d.Kind == durable.DeliverCancel && d.ID != "x" {
		s.cancelled()
	}
	return err
}

// TestGatesLeaveTheCode: a gate that is deleted from the code takes nothing of
// what follows with it: neither the next gate nor the key of a step by its name.
func TestGatesLeaveTheCode(t *testing.T) {
	for _, gates := range [][]string{{"charge"}, {"old", "charge"}} {
		var got []int
		keys := map[string]bool{}
		pass := 0
		bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
			pass++
			for _, gate := range gates {
				if pass > 1 && gate == gates[0] {
					continue // deleted by a deploy
				}
				v, err := durable.Version(ctx, gate, 0, 1)
				if err != nil {
					return 0, err
				}
				got = append(got, v)
			}
			return durable.Step(ctx, "charge", func(ctx context.Context) (int, error) {
				info, _ := durable.StepInfoFrom(ctx)
				keys[info.Key] = true
				if pass == 1 {
					return 0, errors.New("again")
				}
				return 1, nil
			}, durable.WithRetry(durable.Retry{NoJitter: true, Initial: time.Hour, Max: time.Hour}))
		}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
			if err != nil || slices.Contains(got, 0) || len(keys) != 1 {
				t.Errorf("%v: got %v, versions %v, keys %v", gates, err, got, keys)
			}
		})
	}
}

// TestGateBeforeAGate: one that is new in the code, in front of one that an
// execution has passed, is not taken for it.
func TestGateBeforeAGate(t *testing.T) {
	var got []int
	pass := 0
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		pass++
		if pass > 1 {
			v, err := durable.Version(ctx, "newer", 0, 1)
			got = append(got, v)
			if err != nil {
				return 0, err
			}
		}
		v, err := durable.Version(ctx, "charge", 0, 1)
		got = append(got, v)
		if err != nil {
			return 0, err
		}
		if _, err := step(ctx, "s", 1); err != nil {
			return 0, err
		}
		return 0, durable.Wait(ctx, "w", time.Hour)
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil || !slices.Equal(got, []int{1, 0, 1}) {
			t.Errorf("got %v, versions %v, want 1, then 0 and 1", err, got)
		}
	})
}

// TestPivotBesideBranches: the start of a point of no return, which is in no
// journal before it is durable, does not take the number of another operation.
func TestPivotBesideBranches(t *testing.T) {
	for _, when := range []string{"before", "in flight"} {
		t.Run(when, func(t *testing.T) {
			store := &hooked{}
			store.before = func(c *durable.Commit) {
				if when == "in flight" && c.IfSeen && has(c, func(e *durable.Entry) bool { return e.Name == "pivot" || e.Attempt > 0 }) {
					time.Sleep(time.Second)
				}
			}
			pivots := 0
			raced(t, durable.Options{HotWait: -1}, store, func(ctx *durable.Context, _ int) (string, error) {
				b, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
					{Run: func(ctx *durable.Context) (int, error) {
						return durable.Step(ctx, "pivot", func(context.Context) (int, error) { pivots++; return 1, nil }, durable.PointOfNoReturn())
					}},
					{Run: func(ctx *durable.Context) (int, error) {
						for i := range 5 {
							if _, err := step(ctx, fmt.Sprint("s", i), i); err != nil {
								return 0, err
							}
							time.Sleep(10 * time.Millisecond) // code that computes
						}
						return 2, nil
					}},
					{Run: func(ctx *durable.Context) (int, error) {
						for range 20 {
							if _, err := durable.Now(ctx); err != nil {
								return 0, err
							}
							time.Sleep(100 * time.Microsecond)
						}
						return 3, nil
					}},
				})
				if err != nil {
					return "", err
				}
				if err := durable.Wait(ctx, "w", time.Hour); err != nil {
					return "", err
				}
				return fmt.Sprint(b.Values()), nil
			}, func(w *world, out string, err error) {
				if err != nil || out != "[1 2 3]" || pivots != 1 {
					t.Errorf("got %q, %v; the pivot ran %d times", out, err, pivots)
				}
				started := 0
				for e := range durable.History(w.head()) {
					if e.Type == "StepStarted" && e.Name == "pivot" {
						started++
					}
				}
				if started != 1 {
					t.Errorf("the history tells %d starts of the pivot", started)
				}
			})
		})
	}
}

// TestSignalComesBeforeTheTimeout: what another write has brought while
// a timeout waited for its turn wins over it.
func TestSignalComesBeforeTheTimeout(t *testing.T) {
	for _, what := range []string{"signal", "callback"} {
		t.Run(what, func(t *testing.T) {
			store := &hooked{}
			id := make(chan string, 1)
			sent := false
			// The write of the first step's result is on its way when the time is over,
			// and brings what arrived meanwhile back.
			store.before = func(c *durable.Commit) {
				if sent || !has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryResult && string(e.Payload) == "41" }) {
					return
				}
				sent = true
				time.Sleep(time.Second)
				e := client(t, store.Store)
				err := e.Signal(context.Background(), "x", "go", 1, "1")
				if what == "callback" {
					err = e.CompleteCallback(context.Background(), <-id, 1)
				}
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
			raced(t, durable.Options{HotWait: -1, InboxCheck: time.Hour, Lease: 4 * time.Hour}, store, func(ctx *durable.Context, _ int) (string, error) {
				b, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
					{Run: func(ctx *durable.Context) (int, error) {
						if what == "signal" {
							return durable.Receive[int](ctx, "go", 10*time.Second)
						}
						cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithCallbackTimeout(10*time.Second))
						if err != nil {
							return 0, err
						}
						id <- cb.ID()
						return cb.Result(ctx)
					}},
					{Run: func(ctx *durable.Context) (int, error) {
						return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(9*time.Second + 500*time.Millisecond); return 41, nil })
					}},
					{Run: func(ctx *durable.Context) (int, error) {
						return durable.Step(ctx, "long", func(context.Context) (int, error) { time.Sleep(20 * time.Second); return 42, nil })
					}},
				})
				if err != nil {
					return "", err
				}
				if err := durable.Wait(ctx, "w", time.Hour); err != nil {
					return "", err
				}
				return fmt.Sprint(b.Values(), b.Err()), nil
			}, func(w *world, out string, err error) {
				if err != nil || out != "[1 41 42] <nil>" || !sent {
					t.Errorf("got %q, %v, sent %v", out, err, sent)
				}
			})
		})
	}
}

// TestEndOfABranchMeetsItsTimeout: the timeout of something in a branch that is
// given up while the timeout is on its way.
func TestEndOfABranchMeetsItsTimeout(t *testing.T) {
	store := &hooked{}
	met := false
	store.before = func(c *durable.Commit) {
		if has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryTimeout && e.Op != 0 }) {
			met = true
			time.Sleep(2 * time.Second)
		}
	}
	passes := 0
	raced(t, durable.Options{HotWait: -1}, store, func(ctx *durable.Context, _ int) (string, error) {
		passes++
		b, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
			{Run: func(ctx *durable.Context) (int, error) { return durable.Receive[int](ctx, "go", 10*time.Second) }},
			{Run: func(ctx *durable.Context) (int, error) {
				return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(11 * time.Second); return 41, nil })
			}},
		}, durable.WithMinSuccessful(1))
		if err != nil {
			return "", err
		}
		if err := durable.Wait(ctx, "w", time.Hour); err != nil {
			return "", err
		}
		return fmt.Sprint(b.Values()), nil
	}, func(w *world, out string, err error) {
		if err != nil || out != "[41]" || !met || passes != 2 {
			t.Errorf("got %q, %v, met %v, %d passes", out, err, met, passes)
		}
	})
}

// TestCancelMeetsATimeout: an operation that a cancel ends while its timeout
// waits for its turn, or is on its way, ends once.
func TestCancelMeetsATimeout(t *testing.T) {
	for _, when := range []string{"before", "in flight"} {
		t.Run(when, func(t *testing.T) {
			store := &hooked{}
			cancel := func() {
				if err := client(t, store.Store).Cancel(context.Background(), "x", "ada", "stop"); err != nil {
					t.Error(err)
				}
			}
			met := false
			store.before = func(c *durable.Commit) {
				switch {
				case met:
				case when == "before" && has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryResult && string(e.Payload) == "41" }):
					met = true
					time.Sleep(time.Second)
					cancel()
				case when == "in flight" && has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryTimeout }):
					met = true
					cancel()
				}
			}
			raced(t, durable.Options{HotWait: -1, InboxCheck: time.Hour, Lease: 4 * time.Hour}, store, func(ctx *durable.Context, _ int) (string, error) {
				_, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
					{Run: func(ctx *durable.Context) (int, error) { return durable.Receive[int](ctx, "go", 10*time.Second) }},
					{Run: func(ctx *durable.Context) (int, error) {
						cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithCallbackTimeout(10*time.Second))
						if err != nil {
							return 0, err
						}
						return cb.Result(ctx)
					}},
					{Run: func(ctx *durable.Context) (int, error) {
						return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(9*time.Second + 500*time.Millisecond); return 41, nil })
					}},
				})
				return "", errors.Join(err, durable.Wait(ctx.Shielded(), "w", time.Hour))
			}, func(w *world, out string, err error) {
				if err != nil && !errors.Is(err, durable.ErrCancelled) || !met {
					t.Errorf("got %q, %v, met %v", out, err, met)
				}
			})
		})
	}
}

// TestGoOnTheWayOutEndsWithItsContext: what Go has started on the way out of a
// child context ends with it, as what it has started on the way in does.
func TestGoOnTheWayOutEndsWithItsContext(t *testing.T) {
	for _, flat := range []bool{false, true} {
		passes := 0
		bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
			passes++
			branch := func(ctx *durable.Context) (int, error) {
				durable.Go(ctx.Unwinding(), "g", func(ctx *durable.Context) (int, error) {
					if err := durable.Wait(ctx, "w", time.Minute); err != nil {
						return 0, err
					}
					return step(ctx, "s", 1)
				})
				return step(ctx, "t", 2)
			}
			var err error
			if flat {
				_, err = durable.Map(ctx, "m", []int{1}, func(ctx *durable.Context, _, _ int) (int, error) { return branch(ctx) }, durable.Flat())
			} else {
				_, err = durable.Child(ctx, "c", branch)
			}
			return 0, errors.Join(err, durable.Wait(ctx, "w", time.Hour))
		}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
			if err != nil || passes != 2 {
				t.Errorf("got %v after %d passes", err, passes)
			}
		})
	}
}

// TestBrokenStoreLosesNoInvocation: an invocation whose execution could not be
// created is created later.
func TestBrokenStoreLosesNoInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &uncreating{Store: mem.New(), left: 1}
		inner := durable.Define("inner", "1", func(ctx *durable.Context, n int) (int, error) { return n + 1, nil })
		outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) { return durable.Invoke(ctx, "i", inner, n) })
		w := newWorld(t, store, durable.Options{HotWait: -1}, inner, outer)
		defer w.stop()
		x, err := outer.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if out, err := x.Wait(ctx); err != nil || out != 8 {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

type uncreating struct {
	*mem.Store
	left int
}

func (u *uncreating) Create(ctx context.Context, c *durable.Create) error {
	if c.ID != "x" && u.left > 0 {
		u.left--
		return durable.ErrStoreBroken
	}
	return u.Store.Create(ctx, c)
}

// TestCancelledInvocationRunsNothing: what is only created so that a cancel
// finds it does not begin before the cancel.
func TestCancelledInvocationRunsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hooked{Store: mem.New()}
		store.before = func(c *durable.Commit) {
			if has(c, func(e *durable.Entry) bool { return e.First && e.Type == durable.OpInvoke }) {
				if err := client(t, store.Store).Cancel(context.Background(), "x", "ada", "stop"); err != nil {
					t.Error(err)
				}
			}
		}
		inner := durable.Define("inner", "1", func(ctx *durable.Context, n int) (int, error) {
			return durable.Step(ctx, "s", func(context.Context) (int, error) { t.Error("it ran"); return 0, nil })
		})
		outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := step(ctx, "a", 1); err != nil {
				return 0, err
			}
			return durable.Invoke(ctx, "i", inner, n)
		})
		w := newWorld(t, store, durable.Options{}, inner, outer)
		defer w.stop()
		x, err := outer.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrCancelled) {
			t.Errorf("got %v, want cancelled", err)
		}
		time.Sleep(time.Minute)
		page, err := store.List(t.Context(), &durable.ListQuery{Definition: "inner"})
		if err != nil || len(page.Heads) != 1 || page.Heads[0].Status != durable.StatusCancelled {
			t.Errorf("invoked: %+v, %v", page.Heads, err)
		}
	})
}

// TestDecisionsReachThePlaceThatAsked: two branches that want an operator are
// put before one after the other, whichever comes first after a crash.
func TestDecisionsReachThePlaceThatAsked(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			store := &hooked{Store: mem.New()}
			pass := 0
			var mu sync.Mutex
			def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
				mu.Lock()
				pass++
				first := pass == 1
				mu.Unlock()
				ask := func(name string, late bool) durable.Branch[string] {
					return durable.Branch[string]{Name: name, Run: func(ctx *durable.Context) (string, error) {
						if late == first {
							time.Sleep(time.Millisecond) // the other one comes first, at the second pass this one
						}
						d, err := ctx.Park("ask", durable.Park{Reason: "doubt", Message: name, Verbs: []durable.Verb{durable.VerbResolve}})
						return string(d.Output), err
					}}
				}
				b, err := durable.Parallel(ctx, "p", []durable.Branch[string]{ask("a", false), ask("b", true), {Name: "long", Run: func(ctx *durable.Context) (string, error) {
					return durable.Step(ctx, "s", func(ctx context.Context) (string, error) {
						if first {
							time.Sleep(time.Second)
						}
						return "", nil
					})
				}}})
				if err != nil {
					return "", err
				}
				return strings.Join(b.Values(), ""), nil
			})
			w := newWorld(t, store, durable.Options{}, def)
			store.before = func(c *durable.Commit) {
				if c.Status == durable.StatusParked && c.Epoch == 1 {
					store.KillOwner(w.e.ID()) // before it has parked
					if _, err := store.Claim(context.Background(), &durable.Claim{ID: "x", Owner: "other", Now: time.Now(), Lease: time.Now()}); err != nil {
						t.Error(err)
					}
				}
			}
			defer w.stop()
			x, err := def.Start(t.Context(), w.e, "x", 7)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := x.Wait(t.Context())
				var parked *durable.ParkedError
				if !errors.As(err, &parked) {
					t.Fatalf("got %v, want parked", err)
				}
				asking := 0
				for _, e := range w.head().Journal {
					if e.First && e.Type == durable.OpPark {
						asking++
					}
					if e.Kind == durable.EntryVerb {
						asking--
					}
				}
				if asking != 1 {
					t.Fatalf("%d places ask at once", asking)
				}
				err = w.e.Act(t.Context(), "x", w.head().Revision, durable.Decision{
					Verb: durable.VerbResolve, Output: json.RawMessage(`"` + parked.Park.Message + `"`), Actor: "ada", Reason: "r"})
				if err != nil {
					t.Fatal(err)
				}
			}
			if out, err := x.Wait(t.Context()); err != nil || out != `"a""b"` {
				t.Errorf("got %s, %v", out, err)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// rerun runs a handler until it fails, mends what made it fail, runs it again
// from an operation, and hands over what came of it.
func rerun(t *testing.T, from string, handler func(ctx *durable.Context, broken bool) (string, error), then func(w *world, id, out string, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		broken := true
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) { return handler(ctx, broken) })
		w := newWorld(t, mem.New(), durable.Options{HotWait: -1}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); errors.Is(err, durable.ErrParked) {
			err := w.e.Act(t.Context(), "x", w.head().Revision, durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"resolved"`), Actor: "ada", Reason: "r"})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = x.Wait(t.Context())
		}
		broken = false
		id, err := w.e.Rerun(t.Context(), "x", from, "ada", "mended")
		if err != nil {
			then(w, "", "", err)
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		out, err := def.Attach(w.e, id).Wait(ctx)
		then(w, id, out, err)
	})
}

// failing is a step that fails without effect while it is broken.
func failing(ctx *durable.Context, name string, broken bool) (string, error) {
	return durable.Step(ctx, name, func(context.Context) (string, error) {
		if broken {
			return "", durable.NoEffect(errors.New("bad data"))
		}
		return name, nil
	})
}

// TestRerunKeepsSignals: those that the origin had received are received, those
// that it had not come before newer ones.
func TestRerunKeepsSignals(t *testing.T) {
	rerun(t, "last", func(ctx *durable.Context, broken bool) (string, error) {
		if _, err := durable.Step(ctx, "origin's", func(ctx context.Context) (int, error) {
			return 0, errors.Join(engineFor.Load().Signal(ctx, "x", "go", "a", "0"), engineFor.Load().Signal(ctx, "x", "go", "b", "1"))
		}); err != nil {
			return "", err
		}
		a, err := durable.Receive[string](ctx, "go", time.Hour)
		if err != nil {
			return "", err
		}
		if _, err := step(ctx, "s", 1); err != nil {
			return "", err
		}
		last, err := failing(ctx, "last", broken)
		if err != nil {
			return "", err
		}
		if _, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) {
			return 0, engineFor.Load().Signal(ctx, "x~1", "go", "c", "c")
		}); err != nil {
			return "", err
		}
		b, err := durable.Receive[string](ctx, "go", time.Hour)
		if err != nil {
			return "", err
		}
		c, err := durable.Receive[string](ctx, "go", time.Hour)
		return a + last + b + c, err
	}, func(_ *world, _, out string, err error) {
		if err != nil || out != "alastbc" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

// TestRerunKeepsDecisions: what an operator has stated of a step is not run.
func TestRerunKeepsDecisions(t *testing.T) {
	ran := 0
	rerun(t, "last", func(ctx *durable.Context, broken bool) (string, error) {
		a, err := durable.Step(ctx, "a", func(ctx context.Context) (string, error) {
			if ran++; ran > 1 {
				t.Error("it ran again")
			}
			return "1", nil // which the code does not expect, once its operator has stated it
		})
		if err != nil {
			return "", err
		}
		d, err := ctx.Park("ask", durable.Park{Reason: "doubt", Verbs: []durable.Verb{durable.VerbResolve}})
		if err != nil {
			return "", err
		}
		last, err := failing(ctx, "last", broken)
		return a + string(d.Output) + last, err
	}, func(w *world, id, out string, err error) {
		if err != nil || out != `1"resolved"last` {
			t.Errorf("got %q, %v", out, err)
		}
		rec, err := w.store.Load(w.t.Context(), id, durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		next := int64(1)
		for e := range durable.History(rec) {
			if e.ID != next || e.Type == "InvocationCompleted" && e.Details.Error != nil {
				t.Errorf("event %d: %+v, want no activation that died", next, e)
			}
			next++
		}
	})
}

// TestRerunKeepsWhatAnOperatorResolved: the engine's own parking, over a step
// that crashes again and again.
func TestRerunKeepsWhatAnOperatorResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		broken, runs := true, 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
			a, err := durable.Step(ctx, "a", func(ctx context.Context) (string, error) {
				runs++
				time.Sleep(time.Minute)
				return "a", ctx.Err()
			}, durable.WithTimeout(2*time.Minute))
			if err != nil {
				return "", err
			}
			last, err := failing(ctx, "last", broken)
			return a + last, err
		})
		w := newWorld(t, store, durable.Options{CrashesToPark: 1}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		store.KillOwner(w.e.ID())
		if _, err := store.Claim(t.Context(), &durable.Claim{ID: "x", Owner: "other", Now: time.Now(), Lease: time.Now()}); err != nil {
			t.Fatal(err)
		}
		_, err = x.Wait(t.Context())
		if !errors.Is(err, durable.ErrParked) {
			t.Fatalf("got %v, want parked", err)
		}
		if err := w.e.Act(t.Context(), "x", w.head().Revision, durable.Decision{Verb: durable.VerbResolve, Output: json.RawMessage(`"stated"`), Actor: "ada", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err == nil || runs != 1 {
			t.Fatalf("got %v after %d runs", err, runs)
		}
		broken = false
		id, err := w.e.Rerun(t.Context(), "x", "last", "ada", "mended")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := def.Attach(w.e, id).Wait(t.Context()); err != nil || out != "statedlast" || runs != 1 {
			t.Errorf("got %q, %v after %d runs", out, err, runs)
		}
	})
}

// TestRerunOfAnOpenCallback: whoever was to complete it knows the origin's ID,
// so it is refused to wait for that, and possible to ask anew.
func TestRerunOfAnOpenCallback(t *testing.T) {
	for _, how := range []string{"open", "timed out", "in a context"} {
		for _, from := range []string{"last", "cb"} {
			t.Run(how+" from "+from, func(t *testing.T) {
				handler := func(ctx *durable.Context, broken bool) (string, error) {
					cb, err := durable.CreateCallback[string](ctx, "cb", durable.WithCallbackTimeout(time.Hour))
					if err != nil {
						return "", err
					}
					if _, err := durable.Step(ctx, "ask", func(ctx context.Context) (int, error) {
						if broken {
							return 0, nil
						}
						return 0, engineFor.Load().CompleteCallback(ctx, cb.ID(), "yes")
					}); err != nil {
						return "", err
					}
					if how == "timed out" {
						_, err := failing(ctx, "last", false)
						if err != nil {
							return "", err
						}
						return cb.Result(ctx)
					}
					if _, err := failing(ctx, "last", broken); err != nil {
						return "", err
					}
					return cb.Result(ctx)
				}
				rerun(t, from, func(ctx *durable.Context, broken bool) (string, error) {
					if how == "in a context" {
						return durable.Child(ctx, "c", func(ctx *durable.Context) (string, error) { return handler(ctx, broken) })
					}
					return handler(ctx, broken)
				}, func(_ *world, _, out string, err error) {
					if from == "last" && !errors.Is(err, durable.ErrRerun) || from == "cb" && (err != nil || out != "yes") {
						t.Errorf("got %q, %v", out, err)
					}
				})
			})
		}
	}
}

// TestRerunRefusesBranchesInDoubt: a step that ran in a branch that was given
// up may have had its effect.
func TestRerunRefusesBranchesInDoubt(t *testing.T) {
	rerun(t, "last", func(ctx *durable.Context, broken bool) (string, error) {
		_, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
			{Run: func(ctx *durable.Context) (int, error) {
				return durable.Step(ctx, "slow", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			}},
			{Run: func(ctx *durable.Context) (int, error) {
				return durable.Step(ctx, "quick", func(ctx context.Context) (int, error) { time.Sleep(time.Second); return 0, nil })
			}},
		}, durable.WithMinSuccessful(1))
		if err != nil {
			return "", err
		}
		return failing(ctx, "last", broken)
	}, func(_ *world, _, out string, err error) {
		if !errors.Is(err, durable.ErrRerun) {
			t.Errorf("got %q, %v, want ErrRerun", out, err)
		}
	})
}

// TestRerunOpensBranches: branches that failed after the chosen operation began
// are run on from where they stood, and those that nobody waited for too.
func TestRerunOpensBranches(t *testing.T) {
	c := &tally{}
	rerun(t, "first", func(ctx *durable.Context, broken bool) (string, error) {
		f := durable.Go(ctx, "g", func(ctx *durable.Context) (string, error) {
			g, err := count(ctx, c, "g1")
			if err != nil {
				return "", err
			}
			if err := durable.Wait(ctx, "w", 2*time.Hour); err != nil {
				return "", err
			}
			return g, nil
		})
		b, err := durable.Parallel(ctx, "p", []durable.Branch[string]{
			{Run: func(ctx *durable.Context) (string, error) {
				if err := durable.Wait(ctx, "w", time.Minute); err != nil {
					return "", err
				}
				return failing(ctx, "first", broken)
			}},
			{Run: func(ctx *durable.Context) (string, error) {
				if _, err := count(ctx, c, "b1"); err != nil {
					return "", err
				}
				if err := durable.Wait(ctx, "w", time.Hour); err != nil {
					return "", err
				}
				return failing(ctx, "second", broken)
			}},
		})
		if err != nil {
			return "", err
		}
		if err := b.Err(); err != nil {
			return "", err
		}
		g, err := f.Wait(ctx)
		return g + strings.Join(b.Values(), ""), err
	}, func(_ *world, _, out string, err error) {
		if err != nil || out != "g1firstsecond" || len(c.n) != 2 {
			t.Errorf("got %q, %v; steps ran %v", out, err, c.n)
		}
	})
}

// TestObserverSeesEndsOnce: what ends before its code has come past it is told
// once, with its path, and not as an earlier activation's.
func TestObserverSeesEndsOnce(t *testing.T) {
	d := &diary{}
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Child(ctx, "kid", func(ctx *durable.Context) (int, error) {
				return durable.WaitForCallback[int](ctx, "cb", func(ctx context.Context, id string) error {
					time.AfterFunc(time.Hour, func() {
						if err := engineFor.Load().CompleteCallback(context.Background(), id, 1); err != nil {
							t.Error(err)
						}
					})
					return nil
				})
			})
		})
		w := newWorld(t, &storing{mem.New()}, durable.Options{Observer: d, HotWait: -1}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err == nil {
			_, err = x.Wait(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	})
	ends := 0
	for _, line := range d.lines {
		switch line {
		case "op ends kid/cb/callback":
			ends++
		case "op ends", "op ends kid/cb/callback again":
			t.Errorf("told %q, of\n%s", line, strings.Join(d.lines, "\n"))
		}
	}
	if ends != 1 {
		t.Errorf("got\n%s\nwant one end of the callback", strings.Join(d.lines, "\n"))
	}
}

// storing keeps of journals what their stored form has.
type storing struct{ *mem.Store }

func (s *storing) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	if err == nil {
		rec.Journal, err = durable.DecodeEntries(durable.EncodeEntries(rec.Journal))
	}
	return rec, err
}

// slowStart is an observer that takes its time over activations.
type slowStart struct{}

func (slowStart) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if o.Kind == durable.ObserveActivationStart {
		time.Sleep(100 * time.Millisecond)
	}
	return context.WithValue(ctx, diaryKey{}, "slow")
}

// TestObserverOfAnActivationThatWritesAlready: its context is set while a write
// tells what was delivered.
func TestObserverOfAnActivationThatWritesAlready(t *testing.T) {
	store := mem.New()
	def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
		cb, err := durable.CreateCallback[int](ctx, "cb")
		if err != nil {
			return 0, err
		}
		if _, err := durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
			go func() {
				time.Sleep(300 * time.Millisecond)
				_ = client(t, store).CompleteCallback(context.Background(), cb.ID(), 1)
			}()
			return 0, nil
		}); err != nil {
			return 0, err
		}
		return cb.Result(ctx)
	})
	e, err := durable.New(store, durable.Options{Observer: slowStart{}, HotWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(def); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	x, err := def.Start(ctx, e, "x", 1)
	if err == nil {
		_, err = x.Wait(ctx)
	}
	cancel()
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
}

// TestCrashPivotBesideBranches: a point of no return among branches happens
// once, whatever dies when, and a cancel before it is obeyed.
func TestCrashPivotBesideBranches(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
			return func(ctx *durable.Context, _ int) (string, error) {
				b, err := durable.Parallel(ctx, "p", []durable.Branch[string]{
					{Name: "pivot", Run: func(ctx *durable.Context) (string, error) {
						if cancelled {
							if _, err := durable.Step(ctx, "cancels", func(ctx context.Context) (int, error) {
								return 0, once(w.Client.Cancel(ctx, "x", "test", "stop"))
							}); err != nil {
								return "", err
							}
						}
						return count(ctx, c, "pivot", durable.PointOfNoReturn())
					}},
					{Name: "steps", Run: func(ctx *durable.Context) (string, error) {
						_, err := count(ctx, c, "a")
						if err == nil {
							_, err = durable.UUID(ctx)
						}
						if err == nil {
							_, err = count(ctx, c, "b")
						}
						return "b", err
					}},
				})
				if err != nil {
					return "", err
				}
				return strings.Join(b.Values(), ""), durable.Wait(ctx, "w", time.Minute)
			}
		}, func(w *durabletest.World, c *tally, h *durable.Head) {
			if cancelled {
				if h.Status != durable.StatusCancelled || c.get("x/1/p/pivot/pivot") != 0 {
					w.Errorf("got %v (%v), the pivot ran %d times", h.Status, h.Error, c.get("x/1/p/pivot/pivot"))
				}
				return
			}
			succeeded(w, h, `"pivotb"`)
		})
	}
}

// TestDrainDuringEveryWait: a host that stops leaves nothing running, whatever
// its executions wait for, and another goes on where it left.
func TestDrainDuringEveryWait(t *testing.T) {
	inner := durable.Define("inner", "1", func(ctx *durable.Context, _ int) (string, error) {
		return "inner", durable.Wait(ctx, "w", time.Hour)
	})
	callback := func(ctx *durable.Context) (string, error) {
		return durable.WaitForCallback[string](ctx, "cb", func(ctx context.Context, id string) error {
			time.AfterFunc(time.Hour, func() { _ = engineFor.Load().CompleteCallback(context.Background(), id, "called") })
			return nil
		}, durable.WithCallbackTimeout(2*time.Hour))
	}
	for name, wait := range map[string]func(ctx *durable.Context) (string, error){
		"receive": func(ctx *durable.Context) (string, error) {
			_, err := durable.Receive[int](ctx, "none", time.Hour)
			if errors.Is(err, durable.ErrSignalTimeout) {
				err = nil
			}
			return "none", err
		},
		"callback": callback,
		"invoke":   func(ctx *durable.Context) (string, error) { return durable.Invoke(ctx, "i", inner, 1) },
		"poll": func(ctx *durable.Context) (string, error) {
			n, err := durable.WaitForCondition(ctx, "c", 0, func(_ context.Context, n int) (int, bool, error) { return n + 1, n == 60, nil },
				durable.WithRetry(durable.Retry{MaxAttempts: -1, Initial: time.Minute, Max: time.Minute, Multiplier: 1, NoJitter: true}))
			return fmt.Sprint(n), err
		},
		"race": func(ctx *durable.Context) (string, error) {
			return durable.Race(ctx, durable.Go(ctx, "slow", func(ctx *durable.Context) (string, error) { return "slow", durable.Wait(ctx, "w", 100*time.Hour) }),
				durable.Go(ctx, "call", callback))
		},
		"batch": func(ctx *durable.Context) (string, error) {
			b, err := durable.Map(ctx, "m", []int{1, 2, 3}, func(ctx *durable.Context, n, _ int) (string, error) {
				_, err := step(ctx, "s", n)
				return fmt.Sprint(n), errors.Join(err, durable.Wait(ctx, "w", time.Duration(n)*time.Hour))
			}, durable.Flat(), durable.WithMaxConcurrency(2))
			if err != nil {
				return "", err
			}
			return strings.Join(b.Values(), ""), b.Err()
		},
	} {
		for _, hot := range []time.Duration{-1, 1000 * time.Hour} {
			t.Run(fmt.Sprint(name, " ", hot > 0), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := mem.New()
					def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
						s, err := wait(ctx)
						if err != nil {
							return "", err
						}
						return s, durable.Wait(ctx, "then", time.Minute)
					})
					opts := durable.Options{HotWait: hot}
					w := newWorld(t, store, opts, def, inner)
					if _, err := def.Start(t.Context(), w.e, "x", 1); err != nil {
						t.Fatal(err)
					}
					for range 5 {
						time.Sleep(17*time.Minute + 13*time.Second)
						w.stop()
						w = newWorld(t, store, opts, def, inner)
					}
					defer w.stop()
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
					defer cancel()
					if out, err := def.Attach(w.e, "x").Wait(ctx); err != nil || out == "" {
						t.Errorf("got %q, %v", out, err)
					}
				})
			})
		}
	}
}

// TestCancelledCallerThatCrashes: an invocation that its own caller has stopped
// was cancelled, also if the host dies before that is recorded.
func TestCancelledCallerThatCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hooked{Store: mem.New()}
		inner := durable.Define("inner", "1", func(ctx *durable.Context, n int) (int, error) { return 0, durable.Wait(ctx, "w", 24*time.Hour) })
		outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) { return durable.Invoke(ctx, "i", inner, n) })
		w := newWorld(t, store, durable.Options{HotWait: -1}, inner, outer)
		defer w.stop()
		crashed := false
		store.before = func(c *durable.Commit) {
			if c.ID == "x" && !crashed && has(c, func(e *durable.Entry) bool { return e.Kind == durable.EntryCancel && e.Op != 0 }) {
				crashed = true
				time.Sleep(time.Minute) // what was invoked stops, and says so
				store.KillOwner(w.e.ID())
				if _, err := store.Claim(context.Background(), &durable.Claim{ID: "x", Owner: "other", Now: time.Now(), Lease: time.Now()}); err != nil {
					t.Error(err)
				}
			}
		}
		x, err := outer.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := w.e.Cancel(t.Context(), "x", "ada", "stop"); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrCancelled) || !crashed {
			t.Errorf("got %v, want ErrCancelled", err)
		}
	})
}
