package durable_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// The tests in this file give operations and executions what they cannot use.
// Whoever does is told so by an error to branch on, and the execution goes on
// to its proper end. Elsewhere: names, IDs and payloads in TestBadArguments,
// options of Start in TestStartRefuses, heartbeats of a callback that has timed
// out in TestHeartbeatsThatComeTooLate.

// as tells that an error is of a type.
func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func is(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }

var one = []int{1}

func mapped(opts ...durable.ContextOption) func(*durable.Context) error {
	return func(ctx *durable.Context) error {
		_, err := durable.Map(ctx, "m", one, func(*durable.Context, int, int) (int, error) { return 0, nil }, opts...)
		return err
	}
}

func called(opts ...durable.CallbackOption) func(*durable.Context) error {
	return func(ctx *durable.Context) error {
		_, err := durable.CreateCallback[int](ctx, "cb", opts...)
		return err
	}
}

func stepped(opts ...durable.StepOption) func(*durable.Context) error {
	return func(ctx *durable.Context) error {
		_, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return 0, nil }, opts...)
		return err
	}
}

var idle = durable.Define("idle", "1", func(ctx *durable.Context, _ int) (int, error) {
	return 7, durable.Wait(ctx, "w", time.Hour)
})

func TestBadOperations(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*durable.Context) error
		want func(error) bool
	}{
		"negative wait":               {func(ctx *durable.Context) error { return durable.Wait(ctx, "w", -1) }, is(durable.ErrInvalid)},
		"negative callback timeout":   {called(durable.WithCallbackTimeout(-1)), is(durable.ErrInvalid)},
		"negative callback heartbeat": {called(durable.WithHeartbeatTimeout(-1)), is(durable.ErrInvalid)},
		"negative timeout of a WaitForCallback": {func(ctx *durable.Context) error {
			_, err := durable.WaitForCallback[int](ctx, "cb", func(context.Context, string) error { return nil }, durable.WithCallbackTimeout(-1))
			return err
		}, func(err error) bool { return errors.Is(err, durable.ErrInvalid) && as[*durable.CallbackError](err) }},
		"negative patience for a signal": {func(ctx *durable.Context) error {
			_, err := durable.Receive[int](ctx, "s", -1)
			return err
		}, is(durable.ErrInvalid)},
		"negative timeout of an invocation": {func(ctx *durable.Context) error {
			_, err := durable.Invoke(ctx, "i", idle, 1, durable.WithInvokeTimeout(-1))
			return err
		}, is(durable.ErrInvalid)},
		"no timeout of a step":         {stepped(durable.WithTimeout(0)), is(durable.ErrInvalid)},
		"negative timeout of a step":   {stepped(durable.WithTimeout(-1)), is(durable.ErrInvalid)},
		"negative heartbeat of a step": {stepped(durable.WithHeartbeat(-1)), is(durable.ErrInvalid)},
		"negative timeout of a poll": {func(ctx *durable.Context) error {
			_, err := durable.WaitForCondition(ctx, "c", 0, func(context.Context, int) (int, bool, error) { return 0, true, nil }, durable.WithTimeout(-1))
			return err
		}, is(durable.ErrInvalid)},

		"concurrency of none":        {mapped(durable.WithMaxConcurrency(0)), is(durable.ErrInvalid)},
		"negative concurrency":       {mapped(durable.WithMaxConcurrency(-1)), is(durable.ErrInvalid)},
		"no successes wanted":        {mapped(durable.WithMinSuccessful(0)), is(durable.ErrInvalid)},
		"negative tolerance":         {mapped(durable.WithToleratedFailures(-1)), is(durable.ErrInvalid)},
		"tolerance below 0 percent":  {mapped(durable.WithToleratedPercentage(-0.1)), is(durable.ErrInvalid)},
		"tolerance over 100 percent": {mapped(durable.WithToleratedPercentage(100.1)), is(durable.ErrInvalid)},
		"tolerance of no number":     {mapped(durable.WithToleratedPercentage(math.NaN())), is(durable.ErrInvalid)},
		"long name of an item":       {mapped(durable.WithItemNames(func(int) string { return strings.Repeat("x", durable.MaxNameLength+1) })), is(durable.ErrInvalid)},
		"concurrency of none in a Parallel": {func(ctx *durable.Context) error {
			_, err := durable.Parallel(ctx, "p", []durable.Branch[int]{{Run: func(*durable.Context) (int, error) { return 0, nil }}}, durable.WithMaxConcurrency(0))
			return err
		}, is(durable.ErrInvalid)},
		"a flat child": {func(ctx *durable.Context) error {
			_, err := durable.Child(ctx, "c", func(*durable.Context) (int, error) { return 0, nil }, durable.Flat())
			return err
		}, is(durable.ErrInvalid)},
		"successes wanted of one branch": {func(ctx *durable.Context) error {
			_, err := durable.Go(ctx, "g", func(*durable.Context) (int, error) { return 0, nil }, durable.WithMinSuccessful(1)).Wait(ctx)
			return err
		}, is(durable.ErrInvalid)},
		"a race of none": {func(ctx *durable.Context) error {
			_, err := durable.Race[int](ctx)
			return err
		}, is(durable.ErrInvalid)},
		"a new run from a child": {func(ctx *durable.Context) error {
			_, err := durable.Child(ctx, "c", func(ctx *durable.Context) (int, error) { return 0, durable.ContinueAsNew(ctx, 1) })
			return err
		}, is(durable.ErrInvalid)},
		"versions the wrong way round": {func(ctx *durable.Context) error {
			_, err := durable.Version(ctx, "v", 2, 1)
			return err
		}, is(durable.ErrInvalid)},

		"an undecodable result of a callback": {func(ctx *durable.Context) error {
			cb, err := durable.CreateCallback[int](ctx, "cb")
			if err == nil {
				err = completes(ctx, cb.ID(), "no number")
			}
			if err == nil {
				_, err = cb.Result(ctx)
			}
			return err
		}, as[*durable.CallbackError]},
		"an undecodable result of a WaitForCallback": {func(ctx *durable.Context) error {
			_, err := durable.WaitForCallback[int](ctx, "cb", func(ctx context.Context, id string) error {
				return once(engineFor.Load().CompleteCallback(ctx, id, "no number"))
			})
			return err
		}, as[*durable.CallbackError]},
		"an undecodable signal": {func(ctx *durable.Context) error {
			_, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) {
				return 0, engineFor.Load().Signal(ctx, "x", "s", "no number", "1")
			})
			if err == nil {
				_, err = durable.Receive[int](ctx, "s", 0)
			}
			return err
		}, as[*durable.SignalError]},

		"one callback too many": {func(ctx *durable.Context) error {
			first, err := openAll(ctx)
			if err != nil {
				return err
			}
			_, full := durable.CreateCallback[int](ctx, "one more")
			if err := completes(ctx, first.ID(), 1); err != nil {
				return err
			}
			if _, err := first.Result(ctx); err != nil {
				return err
			}
			if _, err := durable.CreateCallback[int](ctx, "there is room again"); err != nil {
				return err
			}
			return full
		}, is(durable.ErrTooManyCallbacks)},
		"an invocation beside too many callbacks": {func(ctx *durable.Context) error {
			if _, err := openAll(ctx); err != nil {
				return err
			}
			_, err := durable.Invoke(ctx, "i", idle, 1)
			return err
		}, is(durable.ErrTooManyCallbacks)},
		"one invocation too many": {func(ctx *durable.Context) error {
			all, err := durable.Map(ctx, "m", make([]int, durable.MaxOpenCallbacks+1), func(ctx *durable.Context, _, i int) (int, error) {
				return durable.Invoke(ctx, "i", idle, i)
			}, durable.Flat())
			if err != nil {
				return err
			}
			if n := len(all.Errors()); n != 1 {
				return fmt.Errorf("%d of %d failed, want one", n, len(all.Items))
			}
			return all.Err()
		}, is(durable.ErrTooManyCallbacks)},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, c.do, c.want) })
	}
}

// refuses runs what is bad in a handler that goes on, and is replayed once.
func refuses(t *testing.T, do func(*durable.Context) error, want func(error) bool) {
	synctest.Test(t, func(t *testing.T) {
		passes, first := 0, ""
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			err := do(ctx)
			if passes++; err == nil || !want(err) {
				t.Errorf("pass %d: got %v", passes, err)
			} else if first == "" {
				first = err.Error()
			} else if err.Error() != first {
				t.Errorf("a replay got %q, the first pass %q", err, first)
			}
			if err := durable.Wait(ctx, "then", 2*time.Hour); err != nil {
				return 0, err
			}
			return step(ctx, "last", 42)
		})
		w := newWorld(t, mem.New(), durable.Options{HotWait: -1, PollMax: time.Minute}, def, idle)
		defer w.stop()
		x, err := def.Start(t.Context(), w.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(t.Context()); out != 42 || err != nil {
			t.Errorf("the execution ended with %d, %v, want 42", out, err)
		}
		if passes < 2 {
			t.Errorf("the code was passed %d times, want a replay", passes)
		}
	})
}

// openAll opens as many callbacks as there may be, and returns the first.
func openAll(ctx *durable.Context) (first *durable.Callback[int], err error) {
	for i := range durable.MaxOpenCallbacks {
		cb, err := durable.CreateCallback[int](ctx, "cb")
		if err != nil {
			return nil, fmt.Errorf("callback %d: %w", i+1, err)
		}
		if first == nil {
			first = cb
		}
	}
	return first, nil
}

// completes completes a callback in a step of the execution itself.
func completes(ctx *durable.Context, id string, result any) error {
	_, err := durable.Step(ctx, "complete", func(ctx context.Context) (int, error) {
		return 0, once(engineFor.Load().CompleteCallback(ctx, id, result))
	})
	return err
}

func TestBadDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := make(chan string, 2)
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithHeartbeatTimeout(time.Hour))
			if err != nil {
				return 0, err
			}
			late, err := durable.CreateCallback[int](ctx, "late", durable.WithCallbackTimeout(time.Hour))
			if err != nil {
				return 0, err
			}
			_, err = durable.Step(ctx, "tell", func(context.Context) (int, error) { ids <- cb.ID(); ids <- late.ID(); return 0, nil })
			if err != nil {
				return 0, err
			}
			out, err := cb.Result(ctx)
			if err != nil {
				return 0, err
			}
			if _, err := late.Result(ctx); !errors.Is(err, durable.ErrCallbackTimeout) {
				t.Errorf("the callback that nobody completed: got %v", err)
			}
			return out, durable.Wait(ctx, "w", time.Hour)
		})
		w := newWorld(t, mem.New(), durable.Options{HotWait: -1, PollMax: time.Minute, MaxPayload: 1000}, def)
		defer w.stop()
		ctx, e := t.Context(), w.e
		x, err := def.Start(ctx, e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		id, late := <-ids, <-ids
		complete := func(id string, v any) func() error { return func() error { return e.CompleteCallback(ctx, id, v) } }
		guess := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		signal := func(name string, v any) func() error { return func() error { return e.Signal(ctx, "x", name, v, "") } }
		delivered := func(err error) bool { return errors.Is(err, durable.ErrDelivered) && as[*durable.DeliveredError](err) }
		large := strings.Repeat("x", 2000)
		type row struct {
			name string
			do   func() error
			want func(error) bool
		}
		try := func(when string, rows ...row) {
			t.Helper()
			for _, r := range rows {
				if err := r.do(); !r.want(err) {
					t.Errorf("%s, %s: got %v", when, r.name, err)
				}
			}
		}
		ok := func(err error) bool { return err == nil }
		twice := []row{
			{"second result", complete(id, 43), delivered},
			{"failure after the result", func() error { return e.FailCallback(ctx, id, errors.New("no")) }, delivered},
			{"heartbeat after the result", func() error { return e.HeartbeatCallback(ctx, id) }, delivered},
		}
		try("while it waits",
			row{"no callback ID", complete("", 1), is(durable.ErrNotOpen)},
			row{"rubbish as callback ID", complete("rubbish", 1), is(durable.ErrNotOpen)},
			row{"guessed callback ID", complete(guess("x\x00cb1-AAAAAAAAAAAAAAAAAAAAAAAAAA"), 1), is(durable.ErrNotOpen)},
			row{"callback of no execution", complete(guess("nobody\x00cb1-A"), 1), is(durable.ErrNotFound)},
			row{"large result", complete(id, large), is(durable.ErrTooLarge)},
			row{"result that is no JSON", complete(id, func() {}), func(err error) bool { return err != nil }},
			row{"large signal", signal("s", large), is(durable.ErrTooLarge)},
			row{"signal without a name", signal("", 1), is(durable.ErrInvalid)},
			row{"signal with a long name", signal(strings.Repeat("s", durable.MaxNameLength+1), 1), is(durable.ErrInvalid)},
			row{"cancel by nobody", func() error { return e.Cancel(ctx, "x", "", "r") }, is(durable.ErrInvalid)},
			row{"terminate without a reason", func() error { return e.Terminate(ctx, "x", "ada", "") }, is(durable.ErrInvalid)},
			row{"verb on what is not parked", func() error {
				return e.Act(ctx, "x", w.head().Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "r"})
			}, func(err error) bool { return as[*durable.VerbError](err) || errors.Is(err, durable.ErrRevision) }},
			row{"re-run of what has not ended", func() error { _, err := e.Rerun(ctx, "x", "tell", "ada", "r"); return err }, is(durable.ErrRerun)},
			row{"the result", complete(id, 42), ok},
		)
		try("at once", twice...)
		time.Sleep(90 * time.Minute)
		try("once it has been seen", twice...)
		try("past its timeout", row{"result", complete(late, 1), is(durable.ErrNotOpen)})
		if out, err := x.Wait(ctx); out != 42 || err != nil {
			t.Errorf("the execution ended with %d, %v, want 42", out, err)
		}
		ended := is(durable.ErrEnded)
		try("after the end",
			row{"result", complete(id, 44), ended},
			row{"result of the other", complete(late, 44), ended},
			row{"failure", func() error { return e.FailCallback(ctx, late, errors.New("no")) }, ended},
			row{"heartbeat", func() error { return e.HeartbeatCallback(ctx, id) }, ended},
			row{"signal", signal("s", 1), ended},
			row{"cancel", func() error { return e.Cancel(ctx, "x", "ada", "r") }, ended},
			row{"terminate", func() error { return e.Terminate(ctx, "x", "ada", "r") }, ended},
		)
		if h := w.head(); h.Status != durable.StatusSucceeded || string(h.Result) != "42" {
			t.Errorf("in the end it is %v with %s, want 42", h.Status, h.Result)
		}
	})
}
