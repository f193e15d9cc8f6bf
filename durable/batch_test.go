package durable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
)

// count is a step that counts its runs under its key.
func count(ctx *durable.Context, c *tally, name string, opts ...durable.StepOption) (string, error) {
	return durable.Step(ctx, name, func(ctx context.Context) (string, error) {
		info, _ := durable.StepInfoFrom(ctx)
		c.add(info.Key)
		return name, nil
	}, opts...)
}

// TestCrashParallel: branches of every kind, nested, on every host that dies.
func TestCrashParallel(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			b, err := durable.Parallel(ctx, "all", []durable.Branch[string]{
				{Name: "step", Run: func(ctx *durable.Context) (string, error) { return count(ctx, c, "a") }},
				{Name: "wait", Run: func(ctx *durable.Context) (string, error) {
					if err := durable.Wait(ctx, "w", time.Hour); err != nil {
						return "", err
					}
					return count(ctx, c, "b")
				}},
				{Name: "call", Run: func(ctx *durable.Context) (string, error) {
					cb, err := durable.CreateCallback[string](ctx, "cb")
					if err != nil {
						return "", err
					}
					if _, err := durable.Step(ctx, "ask", func(ctx context.Context) (int, error) {
						err := w.Client.CompleteCallback(ctx, cb.ID(), "c")
						if errors.Is(err, durable.ErrDelivered) {
							err = nil
						}
						return 0, err
					}); err != nil {
						return "", err
					}
					return cb.Result(ctx)
				}},
				{Name: "nest", Run: func(ctx *durable.Context) (string, error) {
					inner, err := durable.Map(ctx, "in", []string{"d", "e"}, func(ctx *durable.Context, s string, _ int) (string, error) {
						return count(ctx, c, s)
					}, durable.Flat())
					if err != nil {
						return "", err
					}
					return strings.Join(inner.Values(), ""), nil
				}},
				{Name: "fail", Run: func(ctx *durable.Context) (string, error) {
					_, err := count(ctx, c, "f")
					return "", errors.Join(err, errors.New("no"))
				}},
			})
			if err != nil {
				return "", err
			}
			return fmt.Sprint(strings.Join(b.Values(), ""), b.Err(), b.Reason), nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"abcdechild \"fail\": noALL_COMPLETED"`)
	})
}

// TestCrashEarlyEnd: as soon as enough have succeeded the rest is given up,
// and what was decided stays so.
func TestCrashEarlyEnd(t *testing.T) {
	for _, flat := range []bool{false, true} {
		everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
			return func(ctx *durable.Context, _ int) (string, error) {
				opts := []durable.ContextOption{durable.WithMinSuccessful(2), durable.WithMaxConcurrency(3)}
				if flat {
					opts = append(opts, durable.Flat())
				}
				b, err := durable.Map(ctx, "race", []int{300, 1, 20, 40, 60}, func(ctx *durable.Context, s, i int) (int, error) {
					return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
						c.add(fmt.Sprint(i))
						select {
						case <-time.After(time.Duration(s) * time.Second):
							return i, nil
						case <-ctx.Done():
							c.add("stopped")
							return 0, context.Cause(ctx)
						}
					}, durable.WithTimeout(time.Hour))
				}, opts...)
				if err != nil {
					return "", err
				}
				seen := fmt.Sprint(b.Values(), b.Reason)
				_, err = durable.Step(ctx, "tell", func(context.Context) (int, error) {
					c.add("told " + seen)
					return 0, nil
				})
				return seen, err
			}
		}, func(w *durabletest.World, c *tally, h *durable.Head) {
			if h.Status != durable.StatusSucceeded || !strings.HasSuffix(string(h.Result), `MIN_SUCCESSFUL_REACHED"`) {
				w.Errorf("got %v %s (%v)", h.Status, h.Result, h.Error)
			}
			told := 0
			for name := range c.n {
				if what, ok := strings.CutPrefix(name, "told "); ok {
					told++
					if `"`+what+`"` != string(h.Result) {
						w.Errorf("told %s, and the result is %s", what, h.Result)
					}
				}
			}
			if told != 1 {
				w.Errorf("%d different outcomes were told: %v", told, c.n)
			}
		})
	}
}

// TestCrashFutures: who was first is decided once.
func TestCrashFutures(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			after := func(name string, d time.Duration, err error) *durable.Future[string] {
				return durable.Go(ctx, name, func(ctx *durable.Context) (string, error) {
					if err := durable.Wait(ctx, "w", d); err != nil {
						return "", err
					}
					v, stepErr := count(ctx, c, name)
					return v, errors.Join(err, stepErr)
				})
			}
			a, b, no := after("a", time.Minute, nil), after("b", time.Minute, nil), after("no", time.Second, errors.New("no"))
			after("forgotten", 1000*time.Hour, nil)
			first, err := durable.Race(ctx, no, a, b) // on a host that was down, all waits may end at once
			if _, stepErr := durable.Step(ctx, "tell race", func(context.Context) (int, error) { c.add("race " + first); return 0, nil }); stepErr != nil {
				return "", stepErr
			}
			if w.Plan == "no fault" && err == nil {
				w.Errorf("the race was won by %q, want the one that fails", first)
			}
			winner, err := durable.Any(ctx, a, b, no)
			if err != nil {
				return "", err
			}
			if _, err := durable.Step(ctx, "tell", func(context.Context) (int, error) { c.add("told " + winner); return 0, nil }); err != nil {
				return "", err
			}
			all, err := durable.All(ctx, a, b)
			if err != nil {
				return "", err
			}
			if _, err := durable.All(ctx, a, no); err == nil || !strings.Contains(err.Error(), "no") {
				w.Errorf("All with one that failed: got %v", err)
			}
			settled, err := durable.AllSettled(ctx, a, no)
			if err != nil || settled[0].Value != "a" || settled[1].Err == nil {
				w.Errorf("AllSettled: got %v, %v", settled, err)
			}
			if _, err := durable.Any(ctx, no); !errors.Is(err, durable.ErrNoneSucceeded) {
				w.Errorf("Any of none: got %v", err)
			}
			return winner + strings.Join(all, ""), nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		races := 0
		for name := range c.n {
			if strings.HasPrefix(name, "race ") {
				races++
			}
		}
		if h.Status != durable.StatusSucceeded || c.get("told a") > 0 && c.get("told b") > 0 || races != 1 {
			w.Errorf("got %v %s (%v), %v", h.Status, h.Result, h.Error, c.n)
		}
	})
}

// TestCrashParallelCancelled: a cancel reaches every branch, and all of them
// end before the handler goes on.
func TestCrashParallelCancelled(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			_, err := durable.Parallel(ctx, "all", []durable.Branch[string]{
				{Run: func(ctx *durable.Context) (string, error) { return "", durable.Wait(ctx, "w", time.Hour) }},
				{Run: func(ctx *durable.Context) (string, error) {
					_, err := durable.Step(ctx, "cancels", func(ctx context.Context) (int, error) {
						return 0, w.Client.Cancel(ctx, "x", "test", "enough")
					})
					return "", err
				}},
				{Run: func(ctx *durable.Context) (string, error) {
					return durable.Step(ctx, "slow", func(ctx context.Context) (string, error) {
						c.add("slow")
						defer c.add("slow ended")
						<-ctx.Done()
						return "", ctx.Err()
					})
				}},
			})
			if !errors.Is(err, durable.ErrCancelled) {
				w.Errorf("got %v, want ErrCancelled", err)
			}
			if c.get("slow") != c.get("slow ended") && w.Plan == "no fault" {
				w.Errorf("the parallel ended before its branches had")
			}
			return "", err
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		if h.Status != durable.StatusCancelled {
			w.Errorf("got %v (%v), want cancelled", h.Status, h.Error)
		}
	})
}

// TestParkWaitsForBranches: what runs beside an operation that parks comes to
// its end first, and is in the journal.
func TestParkWaitsForBranches(t *testing.T) {
	ran := 0
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		b, err := durable.Parallel(ctx, "all", []durable.Branch[int]{
			{Run: func(ctx *durable.Context) (int, error) {
				_, err := ctx.Park("stand", durable.Park{Reason: "doubt", Message: "look", Verbs: []durable.Verb{durable.VerbResume}})
				return 1, err
			}},
			{Run: func(ctx *durable.Context) (int, error) {
				_, err := ctx.Park("too", durable.Park{Reason: "doubt", Message: "look", Verbs: []durable.Verb{durable.VerbResume}})
				return 2, err
			}},
			{Run: func(ctx *durable.Context) (int, error) {
				return durable.Step(ctx, "slow", func(context.Context) (int, error) {
					ran++
					time.Sleep(10 * time.Second)
					return 3, nil
				}, durable.AtMostOnce())
			}},
		})
		if err != nil {
			return 0, err
		}
		return len(b.Values()), nil
	}, func(w *world, x *durable.Execution[int], _ int, err error) {
		for range 2 {
			var parked *durable.ParkedError
			if !errors.As(err, &parked) {
				t.Fatalf("got %v, want it parked", err)
			}
			rec, loadErr := w.store.Load(context.Background(), x.ID(), durable.LoadHead)
			if loadErr != nil {
				t.Fatal(loadErr)
			}
			if actErr := w.e.Act(context.Background(), x.ID(), rec.Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "looked"}); actErr != nil {
				t.Fatal(actErr)
			}
			_, err = x.Wait(context.Background())
		}
		if err != nil || ran != 1 {
			t.Errorf("got %v after two decisions, and the step ran %d times", err, ran)
		}
	})
}

// TestBranchesWaitTogether: a thousand waits in one execution are one
// suspension, and one activation for each time that one ends.
func TestBranchesWaitTogether(t *testing.T) {
	bubble(t, durable.Options{HotWait: -1, PollMax: time.Minute}, func(ctx *durable.Context, _ int) (int, error) {
		b, err := durable.Map(ctx, "waits", make([]struct{}, 1000), func(ctx *durable.Context, _ struct{}, i int) (int, error) {
			return i, durable.Wait(ctx, "w", time.Duration(1+i%3)*time.Hour)
		})
		if err != nil {
			return 0, err
		}
		return len(b.Values()), b.Err()
	}, func(w *world, x *durable.Execution[int], out int, err error) {
		if out != 1000 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
		rec, err := w.store.Load(context.Background(), x.ID(), durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		suspensions := slices.IndexFunc(rec.Journal, func(e durable.Entry) bool { return e.Kind == durable.EntrySuspended })
		if suspensions < 0 || rec.Activations != 4 {
			t.Errorf("%d activations, want 4", rec.Activations)
		}
	})
}
