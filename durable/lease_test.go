package durable_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// TestLongStepKeepsItsClaim: a body that runs for three leases is not taken
// over by a second worker.
func TestLongStepKeepsItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "long", func(context.Context) (int, error) {
				time.Sleep(90 * time.Second)
				return int(runs.Add(1)), nil
			}, durable.WithTimeout(2*time.Minute))
		})
		store := mem.New()
		a := newWorld(t, store, durable.Options{}, def)
		defer a.stop()
		b := newWorld(t, store, durable.Options{}, def)
		defer b.stop()
		x, err := def.Start(t.Context(), a.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(t.Context()); err != nil || out != 1 {
			t.Errorf("got %d, %v", out, err)
		}
		rec, err := store.Load(t.Context(), "x", durable.LoadHead)
		if err != nil || rec.Epoch != 1 || runs.Load() != 1 {
			t.Errorf("epoch %d, %d runs (%v), want one of each", rec.Epoch, runs.Load(), err)
		}
	})
}

// TestFencedOwnerStartsNothing: an owner that was cut off for longer than its
// lease, and was taken over meanwhile, starts no further body.
func TestFencedOwnerStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var second atomic.Int64
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := durable.Step(ctx, "first", func(context.Context) (int, error) { return 1, nil }); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "second", func(context.Context) (int, error) { return int(second.Add(1)), nil })
		})
		store := mem.New()
		cut := &cutOff{Store: store}
		a := newWorld(t, cut, durable.Options{}, def)
		defer a.stop()
		cut.cut.Store(true) // from the second write on
		x, err := def.Start(t.Context(), a.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		b := newWorld(t, store, durable.Options{}, def)
		defer b.stop()
		if _, err := def.Attach(b.e, x.ID()).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		cut.cut.Store(false)
		time.Sleep(time.Minute)
		if n := second.Load(); n != 1 {
			t.Errorf("the second step ran %d times, want once", n)
		}
	})
}

// cutOff is a store that a process cannot reach for a while.
type cutOff struct {
	*mem.Store
	cut atomic.Bool
}

func (c *cutOff) Commit(ctx context.Context, a *durable.Commit) (durable.Receipt, error) {
	if c.cut.Load() {
		return durable.Receipt{}, errors.New("unreachable")
	}
	return c.Store.Commit(ctx, a)
}

// slow is a store whose n-th commit takes a while.
type slow struct {
	*mem.Store
	n     atomic.Int64
	which int64
	takes time.Duration
}

func (s *slow) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	r, err := s.Store.Commit(ctx, c)
	if s.n.Add(1) == s.which {
		time.Sleep(s.takes)
	}
	return r, err
}

// TestMarkerIsFreshWhenTheBodyStarts: others count on the attempt's deadline
// from its marker, so a write that took too long is followed by another one.
func TestMarkerIsFreshWhenTheBodyStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: mem.New(), which: 1, takes: 25 * time.Second}
		var marker time.Time // the durable one, as others see it while the body runs
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := step(ctx, "first", 1); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "second", func(ctx context.Context) (int, error) {
				rec, err := store.Load(ctx, "x", durable.LoadAll)
				if err != nil {
					return 0, err
				}
				marker = rec.Journal[len(rec.Journal)-1].At
				if deadline, _ := ctx.Deadline(); !deadline.Equal(marker.Add(durable.DefaultTimeout)) {
					t.Errorf("the body's deadline is %v, that of its marker %v", deadline, marker.Add(durable.DefaultTimeout))
				}
				if age := time.Since(marker); age > 15*time.Second {
					t.Errorf("the body began %v after its marker of 30 s", age)
				}
				return 1, nil
			})
		})
		w := newWorld(t, store, durable.Options{StoreTimeout: time.Minute}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil || marker.IsZero() {
			t.Fatal(err)
		}
	})
}

// TestResultIsNotVolatileForLong: code that computes after a step does not
// keep the step's result from the store.
func TestResultIsNotVolatileForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := step(ctx, "first", 1); err != nil {
				return 0, err
			}
			time.Sleep(time.Second)
			return step(ctx, "second", 2)
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(w.head().Journal); n != 2 {
			t.Errorf("%d entries are durable after 100 ms, want the start and the result", n)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestCancelFromAnotherProcessBeforeTheEnd: acknowledged while the last step
// runs, it is known to the handler before the end is recorded.
func TestCancelFromAnotherProcessBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		client, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			_, err := durable.Step(ctx, "last", func(context.Context) (int, error) {
				return 1, client.Cancel(context.Background(), "x", "ada", "stop")
			})
			if err == nil {
				err = ctx.Cancelled()
			}
			return 0, err
		})
		w := newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrCancelled) {
			t.Errorf("got %v, want ErrCancelled", err)
		}
	})
}

// justBefore calls do right before the first commit that records a timeout
// reaches the store.
type justBefore struct {
	*mem.Store
	do   func()
	done bool
}

func (j *justBefore) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	for _, e := range c.Entries {
		if e.Kind == durable.EntryTimeout && !j.done {
			j.done = true
			j.do()
		}
	}
	return j.Store.Commit(ctx, c)
}

// TestDeliveryBeforeATimeoutWins: what the store accepted before the commit of
// the timeout wins, whatever the clocks say.
func TestDeliveryBeforeATimeoutWins(t *testing.T) {
	t.Run("callback", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &justBefore{Store: mem.New()}
			client, err := durable.New(store.Store, durable.Options{})
			if err != nil {
				t.Fatal(err)
			}
			def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
				cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithCallbackTimeout(time.Hour))
				if err != nil {
					return 0, err
				}
				store.do = func() {
					if err := client.CompleteCallback(context.Background(), cb.ID(), 7); err != nil {
						t.Errorf("complete: %v", err)
					}
				}
				return cb.Result(ctx)
			})
			w := newWorld(t, store, durable.Options{}, def)
			defer w.stop()
			x, err := def.Start(t.Context(), w.e, "x", 1)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := x.Wait(t.Context()); err != nil || out != 7 || !store.done {
				t.Errorf("got %d, %v, want the 7 that was accepted first", out, err)
			}
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &justBefore{Store: mem.New()}
			client, err := durable.New(store.Store, durable.Options{})
			if err != nil {
				t.Fatal(err)
			}
			store.do = func() {
				if err := client.Cancel(context.Background(), "x", "ada", "first"); err != nil {
					t.Errorf("cancel: %v", err)
				}
			}
			def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
				return 0, durable.Wait(ctx, "w", 24*time.Hour)
			}, durable.WithExecutionTimeout(time.Hour))
			w := newWorld(t, store, durable.Options{}, def)
			defer w.stop()
			x, err := def.Start(t.Context(), w.e, "x", 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrCancelled) || errors.Is(err, durable.ErrTimedOut) || !store.done {
				t.Errorf("got %v, want the cancel that was accepted first", err)
			}
		})
	})
}
