package durable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

// TestStartOptions: an execution begins when it is to, is listed by its tags,
// and is gone when it has been kept for long enough.
func TestStartOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, began := t.Context(), time.Now()
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			at, err := durable.Now(ctx)
			if d := at.Sub(began); n == 1 && (d < time.Hour || d > time.Hour+time.Minute) {
				t.Errorf("it began after %v, want an hour", d)
			}
			return n, err
		}, durable.WithExecutionTimeout(time.Minute))
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(ctx, w.e, "x", 1, durable.WithDelay(time.Hour), durable.WithRetention(24*time.Hour), durable.WithTags(map[string]string{"tenant": "acme", "kind": "a"}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := def.Start(ctx, w.e, "y", 2, durable.WithTags(map[string]string{"tenant": "acme"})); err != nil {
			t.Fatal(err)
		}
		if h := w.head(); h.Status != durable.StatusPending {
			t.Errorf("got %v, want it pending", h.Status)
		}
		if _, err := x.Wait(ctx); err != nil {
			t.Error(err)
		}
		for _, c := range []struct {
			q    durable.ListQuery
			want []string
		}{
			{durable.ListQuery{Tags: map[string]string{"tenant": "acme"}}, []string{"x", "y"}},
			{durable.ListQuery{Tags: map[string]string{"tenant": "acme", "kind": "a"}}, []string{"x"}},
			{durable.ListQuery{Tags: map[string]string{"tenant": "other"}}, nil},
			{durable.ListQuery{From: began.Add(time.Minute)}, nil},
			{durable.ListQuery{To: began.Add(time.Minute)}, []string{"x", "y"}},
		} {
			page, err := w.store.List(ctx, &c.q)
			var ids []string
			for _, h := range page.Heads {
				ids = append(ids, h.ID)
			}
			if err != nil || !slices.Equal(ids, c.want) {
				t.Errorf("%+v: got %v, %v, want %v", c.q, ids, err, c.want)
			}
		}
		time.Sleep(23 * time.Hour)
		if h := w.head(); h.Retention != 24*time.Hour {
			t.Errorf("retention: got %v", h.Retention)
		}
		time.Sleep(2 * time.Hour)
		if _, err := w.store.Load(ctx, "x", durable.LoadHead); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("after its retention: got %v, want ErrNotFound", err)
		}
		if _, err := w.store.Load(ctx, "y", durable.LoadHead); err != nil {
			t.Errorf("the one without: %v", err)
		}
	})
}

func TestStartRefuses(t *testing.T) {
	def := durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 0, nil })
	e, err := durable.New(mem.New(), durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(def); err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range durable.MaxTags + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for name, opt := range map[string]durable.StartOption{
		"delay": durable.WithDelay(-1), "retention": durable.WithRetention(-1), "tags": durable.WithTags(many),
		"tag": durable.WithTags(map[string]string{"": "x"}), "value": durable.WithTags(map[string]string{"x": strings.Repeat("x", 201)}),
	} {
		if _, err := def.Start(t.Context(), e, "x", 1, opt); !errors.Is(err, durable.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if err := e.Signal(t.Context(), "nobody", "s", 1, ""); !errors.Is(err, durable.ErrNotFound) {
		t.Errorf("a signal to nobody: got %v, want ErrNotFound", err)
	}
}

// TestVersionGate: a gate put into code that executions have gone past leaves
// them where they were, new ones get the new code, and a gate that was deleted
// again is skipped.
func TestVersionGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		gate, deleted := false, false
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
			took := "old"
			if gate && !deleted {
				v, err := durable.Version(ctx, "fraud", 0, 1)
				if err != nil {
					return "", err
				}
				took = fmt.Sprint("v", v)
			}
			if _, err := durable.Step(ctx, "pay", func(context.Context) (int, error) { return 1, nil }); err != nil {
				return "", err
			}
			return took, durable.Wait(ctx, "w", time.Hour)
		})
		w := newWorld(t, mem.New(), durable.Options{HotWait: -1}, def)
		defer w.stop()
		start := func(id string) *durable.Execution[string] {
			x, err := def.Start(ctx, w.e, id, 1)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			return x
		}
		want := func(x *durable.Execution[string], want string) {
			t.Helper()
			if got, err := x.Wait(ctx); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		before := start("before")
		gate = true
		after := start("after")
		want(before, "v0")
		want(after, "v1")
		gone := start("gone")
		deleted = true
		want(gone, "old")
	})
}

// TestRerun: what came before the chosen step is not run again, and who asked
// is in the history.
func TestRerun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, broken, c := t.Context(), true, &tally{}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
			a, err := count(ctx, c, "a")
			if err != nil {
				return "", err
			}
			return durable.Child(ctx, "kid", func(ctx *durable.Context) (string, error) {
				b, err := count(ctx, c, "b")
				if err != nil {
					return "", err
				}
				d, err := durable.Step(ctx, "d", func(context.Context) (string, error) {
					if broken {
						return "", durable.NoEffect(errors.New("bad data"))
					}
					return "d", nil
				})
				return a + b + d, err
			})
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		x, err := def.Start(ctx, w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); err == nil {
			t.Fatal("it succeeded")
		}
		again := func(id, from string) string {
			t.Helper()
			next, err := w.e.Rerun(ctx, id, from, "ada", "data was mended")
			if err != nil {
				t.Fatal(err)
			}
			return next
		}
		first := again("x", "d")
		if _, err := def.Attach(w.e, first).Wait(ctx); err == nil || first != "x~1" {
			t.Fatalf("%q: it succeeded", first)
		}
		broken = false
		second := again(first, "d")
		out, err := def.Attach(w.e, second).Wait(ctx)
		if out != "abd" || err != nil || second != "x~2" || c.get("x/1/a") != 1 || c.get("x/1/kid/b") != 1 || len(c.n) != 2 {
			t.Errorf("%q: got %q, %v; steps ran %v", second, out, err, c.n)
		}
		rec, err := w.store.Load(ctx, second, durable.LoadAll)
		if err != nil || rec.Origin != first {
			t.Fatalf("origin: got %q, %v", rec.Origin, err)
		}
		if types := typesOf(t, rec); !slices.Contains(types, "OperatorActed") {
			t.Errorf("got %v, want what the operator did among them", types)
		}
		third := again("x", "b")
		if out, err := def.Attach(w.e, third).Wait(ctx); out != "abd" || err != nil || c.get(third+"/1/kid/b") != 0 && c.get("x~3/1/kid/b") != 1 {
			t.Errorf("%q: got %q, %v; steps ran %v", third, out, err, c.n)
		}
		for what, f := range map[string]func() error{
			"succeeded": func() error { _, err := w.e.Rerun(ctx, second, "d", "ada", "why not"); return err },
		} {
			if err := f(); !errors.Is(err, durable.ErrRerun) {
				t.Errorf("%s: got %v, want ErrRerun", what, err)
			}
		}
		if _, err := w.e.Rerun(ctx, "x", "no such", "ada", "r"); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if _, err := w.e.Rerun(ctx, "x", "d", "", "r"); !errors.Is(err, durable.ErrInvalid) {
			t.Errorf("without an actor: got %v, want ErrInvalid", err)
		}
	})
}

// TestRerunRefusesDoubt: nothing is repeated of which nobody knows whether it
// happened.
func TestRerunRefusesDoubt(t *testing.T) {
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "pay", func(context.Context) (int, error) { return 0, durable.Permanent(errors.New("reset")) })
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if _, err := w.e.Rerun(w.t.Context(), "x", "pay", "ada", "r"); !errors.Is(err, durable.ErrRerun) || !strings.Contains(err.Error(), "in doubt") {
			t.Errorf("got %v, want ErrRerun that speaks of the doubt", err)
		}
	})
}

// TestCrashNested: operations of every kind in each other, with a cancel that
// comes from outside at any moment.
func TestCrashNested(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		pair(t, func(w *durabletest.World, c *tally, inner *durable.Definition[int, string]) func(*durable.Context, int) (string, error) {
			return func(ctx *durable.Context, _ int) (string, error) {
				items := []string{"call", "poll", "invoke", "signal", "stop"}
				b, err := durable.Map(ctx, "m", items, func(ctx *durable.Context, item string, _ int) (string, error) {
					f := durable.Go(ctx, "g", func(ctx *durable.Context) (string, error) {
						return nested(ctx, w, item, inner, cancelled)
					})
					return f.Wait(ctx)
				})
				if err != nil {
					return "", err
				}
				return strings.Join(b.Values(), ","), b.Err()
			}
		}, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
			return func(ctx *durable.Context, n int) (string, error) {
				return "invoked", durable.Wait(ctx, "w", time.Minute)
			}
		}, func(w *durabletest.World, c *tally, h *durable.Head, invoked []durable.Head) {
			switch {
			case cancelled && h.Status == durable.StatusCancelled:
			case h.Status != durable.StatusSucceeded || string(h.Result) != `"called,polled,invoked,signalled,"`:
				w.Errorf("got %v %s (%v)", h.Status, h.Result, h.Error)
			}
			for _, i := range invoked {
				if !i.Status.Ended() {
					w.Errorf("%q is %v", i.ID, i.Status)
				}
			}
		})
	}
}

func nested(ctx *durable.Context, w *durabletest.World, item string, inner *durable.Definition[int, string], cancelled bool) (string, error) {
	switch item {
	case "call":
		return durable.WaitForCallback[string](ctx, "cb", func(ctx context.Context, id string) error {
			return once(w.Client.CompleteCallback(ctx, id, "called"))
		})
	case "poll":
		_, err := durable.WaitForCondition(ctx, "c", 0, func(_ context.Context, n int) (int, bool, error) { return n + 1, n == 1, nil })
		return "polled", err
	case "invoke":
		return durable.Invoke(ctx, "i", inner, 1)
	case "signal":
		_, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) {
			return 0, once(w.Client.Signal(ctx, "x", "s", "signalled", "1"))
		})
		if err != nil {
			return "", err
		}
		return durable.Receive[string](ctx, "s", 0)
	}
	if !cancelled {
		return "", durable.Wait(ctx, "w", time.Second)
	}
	_, err := durable.Step(ctx, "cancels", func(ctx context.Context) (int, error) {
		return 0, once(w.Client.Cancel(ctx, "x", "test", "enough"))
	})
	return "", err
}
