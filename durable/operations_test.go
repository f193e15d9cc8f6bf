package durable_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// bubble runs a handler as one execution in virtual time and hands over what
// came of it, with the engine still running.
func bubble(t *testing.T, opts durable.Options, handler func(*durable.Context, int) (int, error), then func(w *world, x *durable.Execution[int], out int, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", handler)
		w := newWorld(t, mem.New(), opts, def)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 7)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Wait(t.Context())
		then(w, x, out, err)
	})
}

func (w *world) head() *durable.Record {
	w.t.Helper()
	rec, err := w.store.Load(w.t.Context(), "x", durable.LoadAll)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// act lets an operator act on the parked execution and waits for its outcome.
func (w *world) act(x *durable.Execution[int], d durable.Decision) (int, error) {
	w.t.Helper()
	d.Actor, d.Reason = "ada", "test"
	if err := w.e.Act(w.t.Context(), "x", w.head().Revision, d); err != nil {
		w.t.Fatal(err)
	}
	return x.Wait(w.t.Context())
}

func step(ctx *durable.Context, name string, v int) (int, error) {
	return durable.Step(ctx, name, func(context.Context) (int, error) { return v, nil })
}

type declined struct{ Code int }

func (d *declined) Error() string { return fmt.Sprintf("declined with %d", d.Code) }

func init() { durable.RegisterError[*declined]("test.declined") }

// TestErrorsPassThroughTheirStoredForm: what a handler sees on the first run
// is what it sees on a replay.
func TestErrorsPassThroughTheirStoredForm(t *testing.T) {
	var seen []string
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.Step(ctx, "pay", func(context.Context) (int, error) {
			return 0, durable.Permanent(fmt.Errorf("gateway: %w", &declined{402}))
		})
		var d *declined
		var s *durable.StepError
		seen = append(seen, fmt.Sprintf("%v %v %v", errors.As(err, &d) && d.Code == 402, errors.As(err, &s) && s.Attempts == 1, err))
		return 0, durable.Wait(ctx, "then", time.Hour) // replays the step
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Fatal(err)
		}
		want := `true true step "pay" failed after 1 attempt(s): gateway: declined with 402`
		if len(seen) != 2 || seen[0] != want || seen[1] != want {
			t.Errorf("got %q, want twice %q", seen, want)
		}
	})
}

func TestRetryAfterSetsTheDelay(t *testing.T) {
	var at []time.Time
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "a", func(context.Context) (int, error) {
			if at = append(at, time.Now()); len(at) < 3 {
				return 0, durable.RetryAfter(errors.New("busy"), time.Hour)
			}
			return 1, nil
		})
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 1 || len(at) != 3 {
			t.Fatalf("got %d, %v after %d attempts", out, err, len(at))
		}
		for i := 1; i < 3; i++ {
			if d := at[i].Sub(at[i-1]); d < time.Hour-time.Millisecond || d > time.Hour+2*time.Second {
				t.Errorf("attempt %d came after %v, want 1h", i+1, d)
			}
		}
	})
}

func TestRetryableFilterAndMaxElapsed(t *testing.T) {
	attempts := map[string]int{}
	try := func(ctx *durable.Context, name string, r durable.Retry) {
		_, _ = durable.Step(ctx, name, func(context.Context) (int, error) {
			attempts[name]++
			return 0, errors.New("no")
		}, durable.WithRetry(r))
	}
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		try(ctx, "filtered", durable.Retry{Retryable: func(error) bool { return false }})
		try(ctx, "elapsed", durable.Retry{MaxAttempts: -1, MaxElapsed: time.Hour, Initial: time.Minute, Max: time.Minute})
		return 0, nil
	}, func(*world, *durable.Execution[int], int, error) {
		if attempts["filtered"] != 1 {
			t.Errorf("filtered: %d attempts, want 1", attempts["filtered"])
		}
		// An hour of delays drawn from 0 to 60 s is around 120 attempts.
		if n := attempts["elapsed"]; n < 60 || n > 400 {
			t.Errorf("elapsed: %d attempts", n)
		}
	})
}

func TestTimeoutEndsTheAttemptsContext(t *testing.T) {
	n := 0
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "slow", func(ctx context.Context) (int, error) {
			if n++; n > 1 {
				return n, nil
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), durable.ErrAttemptTimeout) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return 0, ctx.Err()
		}, durable.WithTimeout(3*time.Second))
	}, func(w *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 2 {
			t.Errorf("got %d, %v", out, err)
		}
		if k := w.head().Journal[1].Kind; k != durable.EntryTimeout {
			t.Errorf("the first attempt ended as %d, want a timeout", k)
		}
	})
}

// TestBodyThatIgnoresItsContext: the next attempt starts once the deadline and
// the greatest skew have passed.
func TestBodyThatIgnoresItsContext(t *testing.T) {
	var mu sync.Mutex // two attempts run at once: that is what this is about
	var at []time.Time
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "deaf", func(context.Context) (int, error) {
			mu.Lock()
			at = append(at, time.Now())
			n := len(at)
			mu.Unlock()
			if n == 1 {
				time.Sleep(time.Minute)
			}
			return n, nil
		}, durable.WithTimeout(3*time.Second), durable.WithRetry(durable.Retry{Initial: time.Millisecond}))
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 2 {
			t.Fatalf("got %d, %v", out, err)
		}
		if d := at[1].Sub(at[0]); d < 4*time.Second || d > 5*time.Second {
			t.Errorf("the second attempt came after %v, want 3 s and 1 s of skew", d)
		}
		time.Sleep(time.Minute)
	})
}

func TestChildScopesNamesAndReplays(t *testing.T) {
	var keys []string
	inner := 0
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		note := func(c context.Context) (int, error) {
			info, _ := durable.StepInfoFrom(c)
			keys = append(keys, info.Key)
			return 1, nil
		}
		sum := 0
		for range 2 {
			v, err := durable.Child(ctx, "kid", func(ctx *durable.Context) (int, error) {
				inner++
				a, _ := durable.Step(ctx, "a", note)
				b, _ := durable.Step(ctx, "a", note)
				return a + b, nil
			})
			if err != nil {
				return 0, err
			}
			sum += v
		}
		if err := durable.Wait(ctx, "w", time.Hour); err != nil {
			return 0, err
		}
		_, err := durable.Child(ctx, "bad", func(*durable.Context) (int, error) { return 0, &declined{1} })
		var c *durable.ChildError
		var d *declined
		if !errors.As(err, &c) || !errors.As(err, &d) {
			t.Errorf("got %v, want a ChildError with the registered error", err)
		}
		return sum, nil
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out != 4 || inner != 2 {
			t.Errorf("got %d, %v with %d runs of the children, want 4 with 2", out, err, inner)
		}
		want := "x/1/kid/a x/1/kid/a#2 x/1/kid#2/a x/1/kid#2/a#2"
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("keys %s, want %s", got, want)
		}
	})
}

func TestNestedOperationIsRefused(t *testing.T) {
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "outer", func(context.Context) (int, error) { return step(ctx, "inner", 1) })
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		if !errors.Is(err, durable.ErrNested) {
			t.Errorf("got %v, want ErrNested", err)
		}
	})
}

// TestOperationsInDefersAreInert: a suspended goroutine runs its deferred
// functions, and what they call is neither run nor recorded.
func TestOperationsInDefersAreInert(t *testing.T) {
	var in []error
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (out int, err error) {
		defer func() {
			_, stepErr := step(ctx, "in defer", 1)
			waitErr := durable.Wait(ctx, "in defer", time.Hour)
			_, cbErr := durable.CreateCallback[int](ctx, "in defer")
			in = append(in, stepErr, waitErr, cbErr)
		}()
		if err := durable.Wait(ctx, "w", time.Hour); err != nil {
			return 0, err
		}
		panic("park here, before the deferred operations count")
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if !errors.Is(in[0], durable.ErrSuspended) || !errors.Is(in[1], durable.ErrSuspended) || !errors.Is(in[2], durable.ErrSuspended) {
			t.Errorf("got %v, want ErrSuspended", in[:3])
		}
	})
}

func TestNondeterminismParksAndResumesAfterDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		define := func(name string, more bool) *durable.Definition[int, int] {
			return durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
				if _, err := step(ctx, name, 1); err != nil {
					return 0, err
				}
				if err := durable.Wait(ctx, "w", time.Hour); err != nil {
					return 0, err
				}
				if more {
					return step(ctx, "last", 3)
				}
				return 2, nil
			})
		}
		first := define("charge", true)
		w := newWorld(t, store, durable.Options{HotWait: -1}, first)
		if _, err := first.Start(t.Context(), w.e, "x", 7); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.stop()

		renamed := define("bill", true)
		w = newWorld(t, store, durable.Options{}, renamed)
		_, err := renamed.Attach(w.e, "x").Wait(t.Context())
		var parked *durable.ParkedError
		if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkNondeterminism ||
			!strings.Contains(parked.Park.Message, `Step "charge"`) || !strings.Contains(parked.Park.Message, `Step "bill"`) {
			t.Fatalf("got %v, want parked with both sides named", err)
		}
		w.stop()

		w = newWorld(t, store, durable.Options{}, first)
		defer w.stop()
		out, err := w.act(first.Attach(w.e, "x"), durable.Decision{Verb: durable.VerbResume})
		if err != nil || out != 3 {
			t.Errorf("after the right deploy got %d, %v, want 3", out, err)
		}
	})
}

func TestShorterCodeThanItsJournalParks(t *testing.T) {
	n := 0
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		if n++; n == 1 {
			_, _ = step(ctx, "a", 1)
			return 0, durable.Wait(ctx, "w", time.Hour)
		}
		return step(ctx, "a", 1)
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		var parked *durable.ParkedError
		if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkNondeterminism {
			t.Errorf("got %v, want parked for nondeterminism", err)
		}
	})
}

func TestPanicsParkAndResume(t *testing.T) {
	for name, broken := range map[string]func(ctx *durable.Context) (int, error){
		"in a body": func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "a", func(context.Context) (int, error) { panic("boom") })
		},
		"in the handler": func(*durable.Context) (int, error) { panic("boom") },
		"goexit in a body": func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "a", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		},
		"goexit in handler": func(*durable.Context) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			mended := false
			bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
				if mended {
					return step(ctx, "a", 5)
				}
				return broken(ctx)
			}, func(w *world, x *durable.Execution[int], _ int, err error) {
				var parked *durable.ParkedError
				if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkPanic {
					t.Fatalf("got %v, want parked for panic", err)
				}
				if err := w.e.Act(w.t.Context(), "x", 0, durable.Decision{Verb: durable.VerbRetry, Actor: "a", Reason: "b"}); !errors.Is(err, durable.ErrVerb) {
					t.Errorf("retry: got %v, want ErrVerb", err)
				}
				if err := w.e.Act(w.t.Context(), "x", 99, durable.Decision{Verb: durable.VerbResume, Actor: "a", Reason: "b"}); !errors.Is(err, durable.ErrRevision) {
					t.Errorf("resume on another revision: got %v, want ErrRevision", err)
				}
				if err := w.e.Act(w.t.Context(), "x", w.head().Revision, durable.Decision{Verb: durable.VerbResume, Actor: "a"}); !errors.Is(err, durable.ErrInvalid) {
					t.Errorf("resume without reason: got %v, want ErrInvalid", err)
				}
				mended = true
				if out, err := w.act(x, durable.Decision{Verb: durable.VerbResume}); err != nil || out != 5 {
					t.Errorf("after resume: got %d, %v", out, err)
				}
			})
		})
	}
}

func TestInputThatDoesNotDecodeParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		old := durable.Define("d", "1", func(*durable.Context, string) (int, error) { return 0, nil })
		e, _ := durable.New(store, durable.Options{})
		_ = e.Register(old)
		if _, err := old.Start(t.Context(), e, "x", "seven"); err != nil { // e does not run: only created
			t.Fatal(err)
		}
		changed := durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 0, nil })
		w := newWorld(t, store, durable.Options{}, changed)
		defer w.stop()
		_, err := changed.Attach(w.e, "x").Wait(t.Context())
		var parked *durable.ParkedError
		if !errors.As(err, &parked) || !strings.Contains(parked.Park.Message, "input of d@1") {
			t.Errorf("got %v, want parked with the input named", err)
		}
	})
}

func TestBadArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ string) (int, error) {
			if _, err := step(ctx, strings.Repeat("n", 201), 1); !errors.Is(err, durable.ErrInvalid) {
				t.Errorf("long name: %v", err)
			}
			_, err := durable.Step(ctx, "big", func(context.Context) (string, error) { return strings.Repeat("x", 2000), nil })
			if !errors.Is(err, durable.ErrTooLarge) {
				t.Errorf("large result: %v", err)
			}
			return 0, nil
		})
		w := newWorld(t, mem.New(), durable.Options{MaxPayload: 1000}, def)
		defer w.stop()
		for name, c := range map[string]struct {
			id, in string
			want   error
		}{
			"no ID":       {"", "", durable.ErrInvalid},
			"long ID":     {strings.Repeat("i", 201), "", durable.ErrInvalid},
			"large input": {"x", strings.Repeat("x", 2000), durable.ErrTooLarge},
		} {
			if _, err := def.Start(t.Context(), w.e, c.id, c.in); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", name, err, c.want)
			}
		}
		stranger := durable.Define("stranger", "1", func(*durable.Context, string) (int, error) { return 0, nil })
		if _, err := stranger.Start(t.Context(), w.e, "y", ""); !errors.Is(err, durable.ErrUnknownDefinition) {
			t.Errorf("unregistered: got %v", err)
		}
		twin := durable.Define("d", "1", func(*durable.Context, string) (int, error) { return 0, nil })
		if err := w.e.Register(twin); !errors.Is(err, durable.ErrInvalid) {
			t.Errorf("a second d@1: got %v", err)
		}
		x, err := def.Start(t.Context(), w.e, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := w.e.Cancel(t.Context(), "x", "ada", "late"); !errors.Is(err, durable.ErrEnded) {
			t.Errorf("cancel after the end: got %v, want ErrEnded", err)
		}
		if err := w.e.Cancel(t.Context(), "nobody", "ada", "?"); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("cancel of nothing: got %v, want ErrNotFound", err)
		}
	})
}

func TestTooManyOperations(t *testing.T) {
	bubble(t, durable.Options{MaxOperations: 3}, func(ctx *durable.Context, _ int) (int, error) {
		for i := range 3 {
			if _, err := step(ctx, fmt.Sprint(i), 1); err != nil {
				t.Errorf("step %d: %v", i, err)
			}
		}
		if _, err := step(ctx, "one more", 1); !errors.Is(err, durable.ErrTooManyOperations) {
			t.Errorf("got %v, want ErrTooManyOperations", err)
		}
		return step(ctx.Unwinding(), "undo", 4) // always room for the way out
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if out != 4 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

func TestCallbackTimeoutAndFailure(t *testing.T) {
	ids := make(chan string, 3)
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		late, err := durable.CreateCallback[int](ctx, "late", durable.WithCallbackTimeout(time.Hour))
		if err != nil {
			return 0, err
		}
		if _, err := late.Result(ctx); !errors.Is(err, durable.ErrCallbackTimeout) {
			t.Errorf("got %v, want ErrCallbackTimeout", err)
		}
		bad, err := durable.CreateCallback[int](ctx, "bad")
		if err != nil {
			return 0, err
		}
		if _, err := durable.Step(ctx, "ask", func(c context.Context) (int, error) {
			ids <- late.ID()
			return 0, failFrom(c, ids, bad.ID())
		}); err != nil {
			return 0, err
		}
		_, err = bad.Result(ctx)
		var failed *durable.CallbackError
		var d *declined
		if !errors.As(err, &failed) || !errors.As(err, &d) {
			t.Errorf("got %v, want a CallbackError with the registered error", err)
		}
		return 1, nil
	}, func(w *world, _ *durable.Execution[int], out int, err error) {
		if out != 1 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

// engineFor lets a body reach the engine of its test.
var engineFor atomic.Pointer[durable.Engine]

func failFrom(ctx context.Context, ids chan string, id string) error {
	e := engineFor.Load()
	if err := e.CompleteCallback(ctx, <-ids, 1); !errors.Is(err, durable.ErrNotOpen) {
		return durable.Permanent(fmt.Errorf("completing a callback that timed out: got %v, want ErrNotOpen", err))
	}
	return e.FailCallback(ctx, id, &declined{3})
}

// TestBaseContextLendsValuesOnly: a host's context that ends with a signal
// must not make its steps fail.
func TestBaseContextLendsValuesOnly(t *testing.T) {
	type key struct{}
	base, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "lent"))
	bubble(t, durable.Options{BaseContext: base}, func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "a", func(ctx context.Context) (int, error) {
			cancel()
			if ctx.Value(key{}) != "lent" {
				t.Error("the value is not there")
			}
			return 1, ctx.Err()
		})
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if out != 1 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
	})
}

type broken struct{ *declined }

// TestErrorsThatPanicPark: an error's own methods may panic, and must not take
// the process along.
func TestErrorsThatPanicPark(t *testing.T) {
	var typedNil *declined
	for name, handler := range map[string]func(*durable.Context, int) (int, error){
		"of a body": func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "a", func(context.Context) (int, error) { return 0, typedNil })
		},
		"of the handler": func(*durable.Context, int) (int, error) { return 0, broken{} },
		"of a child": func(ctx *durable.Context, _ int) (int, error) {
			return durable.Child(ctx, "c", func(*durable.Context) (int, error) { return 0, broken{} })
		},
		"in a filter": func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "a", func(context.Context) (int, error) { return 0, errors.New("x") },
				durable.WithRetry(durable.Retry{Retryable: func(error) bool { panic("filter") }}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, durable.Options{}, handler, func(_ *world, _ *durable.Execution[int], _ int, err error) {
				var parked *durable.ParkedError
				if !errors.As(err, &parked) || parked.Park.Reason != durable.ParkPanic {
					t.Errorf("got %v, want parked for panic", err)
				}
			})
		})
	}
}
