package durable_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
)

// once makes a delivery that a crash may repeat.
func once(err error) error {
	if errors.Is(err, durable.ErrDelivered) || errors.Is(err, durable.ErrEnded) || errors.Is(err, durable.ErrNotOpen) {
		return nil
	}
	return err
}

// TestCrashWaitForCallback: the submitter is retried, one completion wins.
func TestCrashWaitForCallback(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			a, err := durable.WaitForCallback[string](ctx, "approve", func(ctx context.Context, id string) error {
				if c.add("submit") == 1 {
					return errors.New("mail is down")
				}
				return once(w.Client.CompleteCallback(ctx, id, "yes"))
			}, durable.WithCallbackTimeout(time.Hour))
			if err != nil {
				return "", err
			}
			_, err = durable.WaitForCallback[string](ctx, "nobody", func(context.Context, string) error { return nil }, durable.WithCallbackTimeout(time.Minute))
			var failed *durable.CallbackError
			if !errors.As(err, &failed) || !errors.Is(err, durable.ErrCallbackTimeout) {
				w.Errorf("a callback nobody completes: got %v, want ErrCallbackTimeout in a CallbackError", err)
			}
			_, err = durable.WaitForCallback[string](ctx, "broken", func(context.Context, string) error {
				return durable.Permanent(errors.New("no such address"))
			})
			var step *durable.StepError
			if !errors.As(err, &step) || !strings.Contains(err.Error(), "no such address") {
				w.Errorf("a submitter that fails for good: got %v, want a StepError with its error", err)
			}
			return a, nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"yes"`)
	})
}

// TestCrashWaitForCondition: every poll sees the state of the one before.
func TestCrashWaitForCondition(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			n, err := durable.WaitForCondition(ctx, "ready", 10, func(ctx context.Context, n int) (int, bool, error) {
				info, _ := durable.StepInfoFrom(ctx)
				c.add(fmt.Sprintf("poll %d saw %d", info.Attempt, n))
				return n + 1, n == 12, nil
			})
			if err != nil {
				return "", err
			}
			_, err = durable.WaitForCondition(ctx, "never", 0, func(context.Context, int) (int, bool, error) {
				return 0, false, nil
			}, durable.WithRetry(durable.Retry{MaxAttempts: 2}))
			if !errors.Is(err, durable.ErrConditionNotMet) {
				w.Errorf("got %v, want ErrConditionNotMet", err)
			}
			_, err = durable.WaitForCondition(ctx, "broken", 0, func(context.Context, int) (int, bool, error) {
				c.add("broken")
				return 0, false, errors.New("gone")
			})
			var failed *durable.StepError
			if !errors.As(err, &failed) || failed.Attempts != 1 {
				w.Errorf("a poll that fails: got %v, want a StepError after one", err)
			}
			return fmt.Sprint(n), nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"13"`)
		for i := range 3 {
			if c.get(fmt.Sprintf("poll %d saw %d", i+1, 10+i)) == 0 || w.Plan == "no fault" && len(c.n) != 4 {
				w.Errorf("got %v", c.n)
			}
		}
	})
}

// TestCrashSignals: signals are received once each and in order, early ones
// too, and a repeated one not again.
func TestCrashSignals(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			_, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) {
				var errs []error
				for i := range 3 {
					errs = append(errs, w.Client.Signal(ctx, "x", "n/o#1", fmt.Sprint(i), fmt.Sprint(i)))
				}
				return 0, errors.Join(errs...)
			})
			if err != nil {
				return "", err
			}
			got := ""
			for range 2 {
				s, err := durable.Receive[string](ctx, "n/o#1", 0)
				if err != nil {
					return "", err
				}
				got += s
			}
			if _, err := durable.Receive[string](ctx, "other", time.Hour); !errors.Is(err, durable.ErrSignalTimeout) {
				w.Errorf("got %v, want ErrSignalTimeout", err)
			}
			var bad *durable.SignalError
			if _, err := durable.Receive[int](ctx, "n/o#1", time.Hour); !errors.As(err, &bad) {
				w.Errorf("a text received as a number: got %v, want a SignalError", err)
			}
			return got, nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"01"`)
	})
}

// TestCrashSignalWakes: a signal wakes an execution that waits for it.
func TestCrashSignalWakes(t *testing.T) {
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
			a, err := durable.Receive[string](ctx, "go", 0)
			if err != nil {
				return "", err
			}
			b, err := durable.Receive[string](ctx, "go", 100*time.Hour)
			return a + b, err
		})
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, v := range []string{"a", "b"} {
				time.Sleep(time.Hour)
				if err := w.Client.Signal(w.Context(), "x", "go", v, v); err != nil {
					w.Errorf("signal: %v", err)
				}
			}
		}()
		return durabletest.Subject{
			Definitions: []durable.Registrable{def}, Options: durable.Options{PollMax: time.Minute},
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := def.Start(ctx, e, "x", 1)
				return err
			},
			Settled: func() bool {
				rec, err := w.Store.Load(w.Context(), "x", durable.LoadHead)
				return err == nil && rec.Status.Ended()
			},
			Check: func() {
				<-sent
				rec, err := w.Store.Load(w.Context(), "x", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				linear(w, rec.Journal)
				succeeded(w, &rec.Head, `"ab"`)
			},
		}
	})
}

// TestCrashProgress: another attempt finds how far the one before had come.
func TestCrashProgress(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			return durable.Step(ctx, "long", func(ctx context.Context) (string, error) {
				from, _ := durable.Progress[int](ctx)
				c.add(fmt.Sprintf("from %d", from))
				for i := from; i < 4; i++ {
					if err := durable.Heartbeat(ctx, i+1); err != nil {
						return "", err
					}
					if i == 1 && c.add("second") == 1 {
						return "", errors.New("again")
					}
					if !durabletest.Sleep(ctx, 10*time.Second) {
						return "", ctx.Err()
					}
				}
				return "done", nil
			}, durable.WithTimeout(time.Hour), durable.WithHeartbeat(time.Minute))
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"done"`)
		if w.Plan == "no fault" && (c.get("from 0") != 1 || c.get("from 2") != 1) {
			w.Errorf("got %v, want an attempt from 0 and one from 2", c.n)
		}
	})
}

// TestHeartbeatMissed: a body that says nothing for too long is given up.
func TestHeartbeatMissed(t *testing.T) {
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "mute", func(ctx context.Context) (int, error) {
			began := time.Now()
			<-ctx.Done()
			if d := time.Since(began); d != 10*time.Second {
				t.Errorf("given up after %v, want 10s", d)
			}
			return 0, context.Cause(ctx)
		}, durable.WithHeartbeat(10*time.Second), durable.WithTimeout(time.Hour), durable.WithRetry(durable.Retry{MaxAttempts: 1}))
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		if !strings.Contains(fmt.Sprint(err), "no heartbeat") {
			t.Errorf("got %v, want it to say that there was no heartbeat", err)
		}
	})
	if err := durable.Heartbeat(t.Context(), 1); !errors.Is(err, durable.ErrInvalid) {
		t.Errorf("outside of a step: got %v, want ErrInvalid", err)
	}
}
