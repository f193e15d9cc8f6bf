package durable_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// world is an engine that serves definitions over a store of its own, in the
// virtual time of the surrounding bubble.
type world struct {
	t     *testing.T
	store durable.Store
	e     *durable.Engine
	stop  func()
}

func newWorld(t *testing.T, store durable.Store, opts durable.Options, defs ...durable.Registrable) *world {
	t.Helper()
	e, err := durable.New(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(defs...); err != nil {
		t.Fatal(err)
	}
	engineFor.Store(e)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return &world{t: t, store: store, e: e, stop: func() { cancel(); <-done }}
}

func five(calls *[5]atomic.Int64) *durable.Definition[string, string] {
	return durable.Define("five", "1", func(ctx *durable.Context, in string) (string, error) {
		out := in
		for i := range 5 {
			s, err := durable.Step(ctx, fmt.Sprintf("s%d", i), func(context.Context) (string, error) {
				calls[i].Add(1)
				return fmt.Sprint(i), nil
			})
			if err != nil {
				return "", err
			}
			out += s
		}
		return out, nil
	})
}

// counting counts the writes that reach a store.
type counting struct {
	durable.Store
	writes atomic.Int64
}

func (c *counting) Create(ctx context.Context, a *durable.Create) error {
	c.writes.Add(1)
	return c.Store.Create(ctx, a)
}

func (c *counting) Commit(ctx context.Context, a *durable.Commit) (durable.Receipt, error) {
	c.writes.Add(1)
	return c.Store.Commit(ctx, a)
}

func (c *counting) Claim(ctx context.Context, a *durable.Claim) (*durable.Record, error) {
	c.writes.Add(1)
	return c.Store.Claim(ctx, a)
}

func TestFiveStepsAreSixWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [5]atomic.Int64
		def := five(&calls)
		store := &counting{Store: mem.New()}
		w := newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "a", "in")
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Wait(t.Context())
		if err != nil || out != "in01234" {
			t.Fatalf("got %q, %v", out, err)
		}
		if n := store.writes.Load(); n != 6 {
			t.Errorf("five steps took %d writes, want 6", n)
		}
		again, err := def.Start(t.Context(), w.e, "a", "in")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := again.Wait(t.Context()); err != nil || out != "in01234" {
			t.Errorf("second start: got %q, %v", out, err)
		}
		if _, err := def.Start(t.Context(), w.e, "a", "other"); !errors.Is(err, durable.ErrExists) {
			t.Errorf("start with other input: got %v, want ErrExists", err)
		}
	})
}

func TestWaitSuspendsAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran atomic.Int64
		def := durable.Define("w", "1", func(ctx *durable.Context, in int) (int, error) {
			_, err := durable.Step(ctx, "a", func(context.Context) (int, error) { return int(ran.Add(1)), nil })
			if err != nil {
				return 0, err
			}
			if err := durable.Wait(ctx, "day", 24*time.Hour); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "b", func(context.Context) (int, error) { return int(ran.Add(1)), nil })
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		start := time.Now()
		x, err := def.Start(t.Context(), w.e, "a", 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Wait(t.Context())
		if err != nil || out != 2 {
			t.Fatalf("got %v, %v", out, err)
		}
		if d := time.Since(start); d < 24*time.Hour || d > 24*time.Hour+time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestStepRetriesThenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran atomic.Int64
		def := durable.Define("r", "1", func(ctx *durable.Context, in int) (int, error) {
			return durable.Step(ctx, "a", func(context.Context) (int, error) {
				ran.Add(1)
				return 0, errors.New("no")
			})
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, _ := def.Start(t.Context(), w.e, "a", 1)
		_, err := x.Wait(t.Context())
		if err == nil || ran.Load() != 6 {
			t.Errorf("got %v after %d attempts, want an error after 6", err, ran.Load())
		}
	})
}

func TestCallbackIsCompletedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := make(chan string, 9)
		def := durable.Define("c", "1", func(ctx *durable.Context, in int) (string, error) {
			cb, err := durable.CreateCallback[string](ctx, "approve")
			if err != nil {
				return "", err
			}
			_, err = durable.Step(ctx, "ask", func(context.Context) (int, error) { ids <- cb.ID(); return 0, nil })
			if err != nil {
				return "", err
			}
			return cb.Result(ctx)
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, _ := def.Start(t.Context(), w.e, "a", 1)
		id := <-ids
		time.Sleep(time.Hour)
		if err := w.e.CompleteCallback(t.Context(), id, "yes"); err != nil {
			t.Fatal(err)
		}
		if err := w.e.CompleteCallback(t.Context(), id, "no"); !errors.Is(err, durable.ErrDelivered) && !errors.Is(err, durable.ErrEnded) {
			t.Errorf("second completion: got %v, want ErrDelivered", err)
		}
		out, err := x.Wait(t.Context())
		if err != nil || out != "yes" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

func TestCancelEndsTheRunningStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("x", "1", func(ctx *durable.Context, in int) (int, error) {
			_, err := durable.Step(ctx, "long", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			})
			if !errors.Is(err, durable.ErrCancelled) {
				t.Errorf("step: got %v, want ErrCancelled", err)
			}
			_, undoErr := durable.Step(ctx.Unwinding(), "undo", func(context.Context) (int, error) { return 0, nil })
			if undoErr != nil {
				t.Errorf("undo: %v", undoErr)
			}
			return 0, err
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, _ := def.Start(t.Context(), w.e, "a", 1)
		time.Sleep(time.Second)
		if err := w.e.Cancel(t.Context(), "a", "ada", "changed my mind"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := x.Wait(t.Context())
		if !errors.Is(err, durable.ErrCancelled) {
			t.Errorf("got %v, want ErrCancelled", err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("took %v", d)
		}
		rec, _ := w.store.Load(t.Context(), "a", durable.LoadHead)
		if rec.Status != durable.StatusCancelled {
			t.Errorf("status %v", rec.Status)
		}
	})
}
