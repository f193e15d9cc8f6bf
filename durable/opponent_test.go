package durable_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// What opponents found, each kept so that it stays found.

// TestKeysNeverCollide: a name that looks like a path, the nth use of another,
// or the way out, has a key of its own all the same.
func TestKeysNeverCollide(t *testing.T) {
	keys := map[string]string{}
	calls := 0
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		run := func(ctx *durable.Context, name, what string) {
			_, err := durable.Step(ctx, name, func(c context.Context) (int, error) {
				calls++
				info, _ := durable.StepInfoFrom(c)
				if other, taken := keys[info.Key]; taken {
					t.Errorf("%s and %s share the key %s", other, what, info.Key)
				}
				keys[info.Key] = what
				return 1, nil
			})
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		run(ctx, "charge", "the step")
		run(ctx.Unwinding(), "charge", "its undo")
		run(ctx.Unwinding(), "charge", "its second undo")
		run(ctx, "a#2", "a#2")
		run(ctx, "a", "a")
		run(ctx, "a", "the second a")
		run(ctx, "kid/b", "kid/b")
		_, err := durable.Child(ctx, "kid", func(ctx *durable.Context) (int, error) {
			run(ctx, "b", "b in kid")
			run(ctx, "undo", "undo in kid")
			return 0, nil
		})
		run(ctx.Unwinding(), "kid", "the undo of kid")
		return calls, err
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 10 || keys["x/1/charge/undo"] != "its undo" {
			t.Errorf("got %d, %v, keys %v", out, err, keys)
		}
	})
}

// TestUnwindingThatTheCodeForgotParks: a replay that no longer takes the way
// out that its journal has begun is nondeterminism.
func TestUnwindingThatTheCodeForgotParks(t *testing.T) {
	n := 0
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		if n++; n > 1 {
			return step(ctx, "charge", 1)
		}
		if _, err := step(ctx, "charge", 1); err != nil {
			return 0, err
		}
		if _, err := step(ctx.Unwinding(), "refund", 1); err != nil {
			return 0, err
		}
		return 0, durable.Wait(ctx.Unwinding(), "w", time.Hour)
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		var parked *durable.ParkedError
		if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkNondeterminism {
			t.Errorf("got %v, want parked for nondeterminism", err)
		}
	})
}

// TestDrainsAreNoCrashes: a long step that six orderly shutdowns interrupt is
// not parked for it.
func TestDrainsAreNoCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "long", func(ctx context.Context) (int, error) {
				select {
				case <-ctx.Done():
					return 0, ctx.Err()
				case <-time.After(time.Hour):
					return 1, nil
				}
			}, durable.WithTimeout(2*time.Hour))
		})
		w := newWorld(t, store, durable.Options{}, def)
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		for range 7 {
			time.Sleep(30 * time.Minute)
			w.stop()
			w = newWorld(t, store, durable.Options{}, def)
		}
		defer w.stop()
		if out, err := def.Attach(w.e, x.ID()).Wait(t.Context()); err != nil || out != 1 {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

// TestJoinedErrorsProveNothingTogether: one participant's refusal says nothing
// about the other's silence.
func TestJoinedErrorsProveNothingTogether(t *testing.T) {
	refused, silent := durable.NoEffect(errors.New("refused")), errors.New("connection reset")
	for _, c := range []struct {
		err   error
		doubt bool
	}{{errors.Join(refused, silent), true}, {errors.Join(silent, refused), true}, {errors.Join(refused, refused), false}} {
		var rep durable.StepReport
		bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "two", func(context.Context) (int, error) { return 0, c.err }, durable.WithReport(&rep))
		}, func(*world, *durable.Execution[int], int, error) {
			if rep.InDoubt != c.doubt || rep.Attempts != 1 {
				t.Errorf("%v: in doubt %v after %d attempts, want %v after one", c.err, rep.InDoubt, rep.Attempts, c.doubt)
			}
		})
	}
}

// TestCancelThatCrossesTheDeadline: which of the two came first is the same on
// the first run and on every replay.
func TestCancelThatCrossesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &landed{Store: mem.New()}
		var causes []bool
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			_, err := durable.Step(ctx, "a", func(c context.Context) (int, error) { <-c.Done(); return 0, c.Err() }, durable.WithTimeout(time.Hour))
			causes = append(causes, errors.Is(err, durable.ErrTimedOut))
			return 0, errors.Join(err, durable.Wait(ctx.Unwinding(), "w", time.Hour))
		}, durable.WithExecutionTimeout(10*time.Second))
		w := newWorld(t, store, durable.Options{HotWait: -1}, def)
		defer w.stop()
		store.then = func() {
			if err := w.e.Cancel(context.Background(), "x", "ada", "stop"); err != nil {
				t.Error(err)
			}
		}
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		if len(causes) != 2 || causes[0] != causes[1] {
			t.Errorf("timed out: %v, want the same twice", causes)
		}
	})
}

// landed calls then after the commit of the deadline has landed, before its
// answer is out.
type landed struct {
	*mem.Store
	then func()
}

func (l *landed) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	r, err := l.Store.Commit(ctx, c)
	for _, e := range c.Entries {
		if e.Op == 0 && e.Kind == durable.EntryTimeout && err == nil {
			l.then()
		}
	}
	return r, err
}

// TestLostClaimEndsTheCode: a handler that goes on whatever its operations say
// ends with its claim, and the engine with it.
func TestLostClaimEndsTheCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fencing{Store: mem.New()}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for {
				_ = durable.Wait(ctx, "", time.Millisecond)
			}
		})
		w := newWorld(t, store, durable.Options{}, def)
		if _, err := def.Start(t.Context(), w.e, "x", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.stop() // hangs, which the bubble notices, if the handler does not end
	})
}

type fencing struct {
	*mem.Store
	n int
}

func (f *fencing) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if f.n++; f.n > 3 {
		return durable.Receipt{}, durable.ErrFenced
	}
	return f.Store.Commit(ctx, c)
}

// TestUnreadableJournalParks: it is for a person, and not for every worker
// again and again.
func TestUnreadableJournalParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &garbling{Store: mem.New()}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return 0, durable.Wait(ctx, "w", time.Hour) })
		w := newWorld(t, store, durable.Options{HotWait: -1}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrParked) {
			t.Errorf("got %v, want parked", err)
		}
	})
}

// garbling returns journals that begin in the middle.
type garbling struct{ *mem.Store }

func (g *garbling) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := g.Store.Claim(ctx, c)
	if err == nil && len(rec.Journal) > 0 {
		rec.Journal[0].Op = 7
	}
	return rec, err
}

// onStart calls then right before the first commit that starts operation op
// reaches the store.
type onStart struct {
	*mem.Store
	op   int64
	then func()
	done bool
}

func (o *onStart) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	for _, e := range c.Entries {
		if e.First && e.Op == o.op && !o.done {
			o.done = true
			o.then()
		}
	}
	return o.Store.Commit(ctx, c)
}

// TestStartThatMeetsACancelDoesNotRun: the commit of the start marker brings a
// cancel back, so the body is not run, and that proves that it had no effect.
func TestStartThatMeetsACancelDoesNotRun(t *testing.T) {
	for _, opts := range [][]durable.StepOption{nil, {durable.PointOfNoReturn()}} {
		synctest.Test(t, func(t *testing.T) {
			store := &onStart{Store: mem.New(), op: 2}
			client, err := durable.New(store.Store, durable.Options{})
			if err != nil {
				t.Fatal(err)
			}
			store.then = func() {
				if err := client.Cancel(context.Background(), "x", "ada", "stop"); err != nil {
					t.Error(err)
				}
			}
			var rep durable.StepReport
			def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
				if _, err := step(ctx, "first", 1); err != nil {
					return 0, err
				}
				return durable.Step(ctx, "second", func(context.Context) (int, error) {
					t.Error("it ran")
					return 1, nil
				}, append(opts, durable.WithReport(&rep))...)
			})
			w := newWorld(t, store, durable.Options{}, def)
			defer w.stop()
			x, err := def.Start(t.Context(), w.e, "x", 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Wait(t.Context()); !errors.Is(err, durable.ErrCancelled) || rep.InDoubt || !store.done {
				t.Errorf("got %v, in doubt %v; want cancelled without doubt", err, rep.InDoubt)
			}
		})
	}
}

// TestRefusedCommitKeepsItsCallbacksOpen: what a refused write was to open is
// opened by the next one.
func TestRefusedCommitKeepsItsCallbacksOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &onStart{Store: mem.New(), op: 2}
		client, err := durable.New(store.Store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		first := make(chan string, 1)
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			a, err := durable.CreateCallback[int](ctx, "a")
			if err != nil {
				return 0, err
			}
			if _, err := durable.Step(ctx, "ask", func(context.Context) (int, error) { first <- a.ID(); return 0, nil }); err != nil {
				return 0, err
			}
			time.Sleep(time.Millisecond)
			b, err := durable.CreateCallback[int](ctx, "b") // leaves with the suspension, which is refused
			if err != nil {
				return 0, err
			}
			n, err := a.Result(ctx)
			if err != nil {
				return 0, err
			}
			if _, err := durable.Step(ctx, "complete b", func(ctx context.Context) (int, error) {
				return 0, durable.Permanent(client.CompleteCallback(ctx, b.ID(), 2))
			}); err != nil {
				return 0, err
			}
			m, err := b.Result(ctx)
			return n + m, err
		})
		store.op = 3
		store.then = func() {
			if err := client.CompleteCallback(context.Background(), <-first, 1); err != nil {
				t.Errorf("a: %v", err)
			}
		}
		w := newWorld(t, store, durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(t.Context()); err != nil || out != 3 {
			t.Errorf("got %d, %v, want 3", out, err)
		}
	})
}
