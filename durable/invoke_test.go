package durable_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

// pair crashes a handler everywhere that invokes executions of another.
func pair(t *testing.T, caller func(w *durabletest.World, c *tally, callee *durable.Definition[int, string]) func(*durable.Context, int) (string, error),
	callee func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error), check func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head)) {
	t.Helper()
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		c := &tally{}
		inner := durable.Define("inner", "1", callee(w, c))
		outer := durable.Define("outer", "1", caller(w, c, inner))
		return durabletest.Subject{
			Definitions: []durable.Registrable{outer, inner}, Pairs: 4, Options: durable.Options{PollMax: time.Minute},
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := outer.Start(ctx, e, "x", 1)
				return err
			},
			Check: func() {
				var own *durable.Head
				var invoked []durable.Head
				page, err := w.Store.List(w.Context(), &durable.ListQuery{})
				if err != nil {
					w.Errorf("list: %v", err)
				}
				for _, h := range page.Heads {
					rec, err := w.Store.Load(w.Context(), h.ID, durable.LoadAll)
					if err != nil {
						w.Errorf("load: %v", err)
						return
					}
					linear(w, rec.Journal)
					if h.ID == "x" {
						own = &rec.Head
					} else {
						invoked = append(invoked, rec.Head)
					}
				}
				check(w, c, own, invoked)
			},
		}
	})
}

// TestCrashInvoke: what is invoked runs once, and its end reaches its caller.
func TestCrashInvoke(t *testing.T) {
	pair(t, func(w *durabletest.World, c *tally, inner *durable.Definition[int, string]) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			a, err := durable.Invoke(ctx, "good", inner, 1)
			if err != nil {
				return "", err
			}
			_, err = durable.Invoke(ctx, "bad", inner, 2, durable.WithTenant("acme"))
			var failed *durable.InvokeError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "no 2") {
				w.Errorf("got %v, want an InvokeError with its error", err)
			}
			_, err = count(ctx, c, "after")
			return a, err
		}
	}, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, n int) (string, error) {
			_, err := durable.Step(ctx, "s", func(context.Context) (int, error) { c.add(fmt.Sprint("ran ", n)); return n, nil })
			if err != nil {
				return "", err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return "", err
			}
			if n == 2 {
				return "", fmt.Errorf("no %d", n)
			}
			return "inner", nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head) {
		succeeded(w, h, `"inner"`)
		if len(invoked) != 2 || w.Plan == "no fault" && (c.get("ran 1") != 1 || c.get("ran 2") != 1) {
			w.Errorf("%d were invoked: %v", len(invoked), c.n)
		}
		for _, i := range invoked {
			if !i.Status.Ended() || i.Parent.ID != "x" {
				w.Errorf("%q is %v, of %q", i.ID, i.Status, i.Parent.ID)
			}
		}
	})
}

// TestCrashInvokeTimeout: caller and callee both give up when the time is over.
func TestCrashInvokeTimeout(t *testing.T) {
	pair(t, func(w *durabletest.World, c *tally, inner *durable.Definition[int, string]) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			_, err := durable.Invoke(ctx, "slow", inner, 1, durable.WithInvokeTimeout(time.Minute))
			if !errors.Is(err, durable.ErrInvokeTimeout) {
				w.Errorf("got %v, want ErrInvokeTimeout", err)
			}
			return "went on", nil
		}
	}, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, n int) (string, error) { return "", durable.Wait(ctx, "w", 24*time.Hour) }
	}, func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head) {
		succeeded(w, h, `"went on"`)
		// If the time was over before a host had come to create it, there is none.
		if len(invoked) == 0 && w.Plan == "no fault" || len(invoked) > 1 || len(invoked) == 1 && invoked[0].Status != durable.StatusTimedOut {
			w.Errorf("invoked: %+v, want one that timed out", invoked)
		}
	})
}

// TestCrashInvokeCancelled: a cancel of the caller reaches what it has invoked,
// and so does the end of a branch that nobody waits for any more.
func TestCrashInvokeCancelled(t *testing.T) {
	for _, how := range []string{"cancel", "branch", "forgotten"} {
		t.Run(how, func(t *testing.T) {
			pair(t, func(w *durabletest.World, c *tally, inner *durable.Definition[int, string]) func(*durable.Context, int) (string, error) {
				return func(ctx *durable.Context, _ int) (string, error) {
					invoke := func(ctx *durable.Context) (string, error) { return durable.Invoke(ctx, "long", inner, 1) }
					quick := func(ctx *durable.Context) (string, error) {
						if err := durable.Wait(ctx, "w", time.Minute); err != nil || how != "cancel" {
							return "", err
						}
						_, err := durable.Step(ctx, "cancels", func(ctx context.Context) (int, error) {
							return 0, once(w.Client.Cancel(ctx, "x", "test", "enough"))
						})
						return "", err
					}
					if how == "forgotten" {
						durable.Go(ctx, "g", invoke)
						return quick(ctx)
					}
					opts := []durable.ContextOption{}
					if how == "branch" {
						opts = append(opts, durable.WithMinSuccessful(1))
					}
					_, err := durable.Parallel(ctx, "p", []durable.Branch[string]{{Run: invoke}, {Run: quick}}, opts...)
					return "", err
				}
			}, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
				return func(ctx *durable.Context, n int) (string, error) { return "", durable.Wait(ctx, "w", 240*time.Hour) }
			}, func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head) {
				want := durable.StatusSucceeded
				if how == "cancel" {
					want = durable.StatusCancelled
				}
				if h.Status != want || len(invoked) != 1 || invoked[0].Status != durable.StatusCancelled {
					w.Errorf("caller %v (%v), invoked %+v, want it cancelled", h.Status, h.Error, invoked)
				}
			})
		})
	}
}

// TestCrashContinueAsNew: runs follow each other, keep their signals, and have
// keys of their own.
func TestCrashContinueAsNew(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, n int) (string, error) {
			if _, err := count(ctx, c, "s"); err != nil {
				return "", err
			}
			if n == 1 {
				_, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) {
					return 0, errors.Join(w.Client.Signal(ctx, "x", "go", "a", "a"), w.Client.Signal(ctx, "x", "go", "b", "b"))
				})
				if err != nil {
					return "", err
				}
			}
			if _, err := durable.CreateCallback[int](ctx, "left open"); err != nil {
				return "", err
			}
			s, err := durable.Receive[string](ctx, "go", 0)
			if err != nil {
				return "", err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return "", err
			}
			if n < 2 {
				return "", durable.ContinueAsNew(ctx, n+1)
			}
			return s, nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"b"`)
		if c.get("x/1/s") == 0 || c.get("x/2/s") == 0 {
			w.Errorf("got %v, want a step under a key of each run", c.n)
		}
	})
}

// TestCrashContinueAsNewLate: a run that ends when all that it did has been written
// is followed by the next one.
func TestCrashContinueAsNewLate(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, n int) (string, error) {
			if c.add(fmt.Sprint("run ", n)) > 20 {
				return "", fmt.Errorf("run %d has no end", n)
			}
			if _, err := count(ctx, c, "s"); err != nil || n == 2 {
				return "done", err
			}
			time.Sleep(100 * time.Millisecond) // longer than a result may stay unwritten
			return "", durable.ContinueAsNew(ctx, n+1)
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"done"`)
		if c.get("x/1/s") == 0 || c.get("x/2/s") == 0 {
			w.Errorf("got %v, want a step under a key of each run", c.n)
		}
	})
}

// TestTerminate: nothing of the execution runs any more, whatever it is doing.
func TestTerminate(t *testing.T) {
	for _, doing := range []string{"step", "wait", "hot", "park", "delay"} {
		t.Run(doing, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				cause := make(chan error, 1)
				def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
					var err error
					switch doing {
					case "step":
						_, err = durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
							<-ctx.Done()
							cause <- context.Cause(ctx)
							return 0, ctx.Err()
						}, durable.WithTimeout(time.Hour))
					case "park":
						_, err = ctx.Park("p", durable.Park{Reason: "doubt", Verbs: []durable.Verb{durable.VerbResume}})
					default:
						err = durable.Wait(ctx, "w", 30*time.Minute)
					}
					t.Errorf("the code goes on, with %v", err)
					return 1, nil
				})
				opts, start := durable.Options{HotWait: -1}, []durable.StartOption{}
				switch doing {
				case "hot":
					opts.HotWait = time.Hour
				case "delay":
					start = append(start, durable.WithDelay(30*time.Minute))
				}
				w := newWorld(t, mem.New(), opts, def)
				defer w.stop()
				x, err := def.Start(ctx, w.e, "x", 7, start...)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if err := w.e.Terminate(ctx, "x", "ada", "no use"); err != nil {
					t.Fatal(err)
				}
				_, err = x.Wait(ctx)
				if !errors.Is(err, durable.ErrTerminated) || !strings.Contains(err.Error(), "no use") {
					t.Errorf("got %v, want ErrTerminated with its reason", err)
				}
				if doing == "step" {
					<-cause
				}
				types := typesOf(t, w.head())
				if last := types[len(types)-1]; last != "ExecutionStopped" {
					t.Errorf("got %v, want ExecutionStopped last", types)
				}
				if err := w.e.Terminate(ctx, "x", "ada", "again"); !errors.Is(err, durable.ErrEnded) {
					t.Errorf("again: got %v, want ErrEnded", err)
				}
			})
		})
	}
}

// TestCrashTerminated: whatever dies when, nothing runs on once the request has
// been obeyed, and what was invoked is stopped.
func TestCrashTerminated(t *testing.T) {
	pair(t, func(w *durabletest.World, c *tally, inner *durable.Definition[int, string]) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			durable.Go(ctx, "g", func(ctx *durable.Context) (string, error) { return durable.Invoke(ctx, "long", inner, 1) })
			if err := durable.Wait(ctx, "w", time.Minute); err != nil {
				return "", err
			}
			_, err := durable.Step(ctx, "terminates", func(ctx context.Context) (int, error) {
				return 0, once(w.Client.Terminate(ctx, "x", "test", "enough"))
			})
			if err != nil {
				return "", err
			}
			return count(ctx, c, "after")
		}
	}, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, n int) (string, error) { return "", durable.Wait(ctx, "w", 240*time.Hour) }
	}, func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head) {
		if h.Status != durable.StatusTerminated || c.get("x/1/after") != 0 {
			w.Errorf("got %v (%v), the step after ran %d times", h.Status, h.Error, c.get("x/1/after"))
		}
		for _, i := range invoked {
			if i.Status != durable.StatusCancelled {
				w.Errorf("%q is %v, want it cancelled", i.ID, i.Status)
			}
		}
	})
}
