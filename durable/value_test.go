package durable_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

// values are recorded ones as text.
func values(ctx *durable.Context) (string, error) {
	at, err := durable.Now(ctx)
	if err != nil {
		return "", err
	}
	id, err := durable.UUID(ctx)
	if err != nil {
		return "", err
	}
	n, err := durable.Rand(ctx)
	return fmt.Sprintf("%s %s %v", at.Format(time.RFC3339Nano), id, n), err
}

// TestCrashValues: what was recorded is what every activation sees, once
// anything outside may have seen it.
func TestCrashValues(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		return func(ctx *durable.Context, _ int) (string, error) {
			before, err := values(ctx)
			if err != nil {
				return "", err
			}
			sent, err := durable.Step(ctx, "send", func(context.Context) (string, error) {
				c.add(before)
				return before, nil
			})
			if err != nil || durable.Wait(ctx, "a while", time.Hour) != nil {
				return "", err
			}
			if sent != before {
				w.Errorf("sent %s, and a replay has %s", sent, before)
			}
			return before, nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		if h.Status != durable.StatusSucceeded {
			w.Errorf("got %v, want it to succeed", h.Status)
		}
		if len(c.n) != 1 {
			w.Errorf("%d different values were sent: %v", len(c.n), c.n)
		}
	})
}

func TestValues(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		first, err := durable.UUID(ctx)
		if err != nil {
			return 0, err
		}
		second, err := durable.UUID(ctx)
		if err != nil || first == second || !uuid.MatchString(first) {
			t.Errorf("got %s and %s, %v, want two UUIDs", first, second, err)
		}
		for range 1000 {
			if n, err := durable.Rand(ctx); err != nil || n < 0 || n >= 1 {
				t.Fatalf("got %v, %v, want at least 0 and less than 1", n, err)
			}
		}
		at, err := durable.Now(ctx)
		if err != nil || time.Since(at) > time.Second {
			t.Errorf("got %v, %v, want the time", at, err)
		}
		return 1, nil
	}, func(w *world, _ *durable.Execution[int], out int, err error) {
		if out != 1 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
		if rec := w.head(); rec.Journal[0].Type != durable.OpValue || rec.Journal[0].Name != "UUID" {
			t.Errorf("the first entry is %+v, want a recorded UUID", rec.Journal[0])
		}
	})
}

// TestValuesAfterACancel: like every operation they answer ErrCancelled, and
// on the way out they do not.
func TestValuesAfterACancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if err := durable.Wait(ctx, "too long", time.Hour); !errors.Is(err, durable.ErrCancelled) {
				t.Errorf("wait: got %v, want ErrCancelled", err)
			}
			_, err := durable.Now(ctx)
			if !errors.Is(err, durable.ErrCancelled) {
				t.Errorf("Now: got %v, want ErrCancelled", err)
			}
			if _, err := durable.Now(ctx.Unwinding()); err != nil {
				t.Errorf("Now on the way out: got %v, want nil", err)
			}
			return 0, err
		}, durable.WithExecutionTimeout(time.Minute))
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrTimedOut) {
			t.Errorf("got %v, want ErrTimedOut", err)
		}
	})
}
