package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// milestones are the types of events that Milestones has.
var milestones = []string{"CancelRequested", "ExecutionParked", "OperatorActed", "SignalReceived", "TerminateRequested", "ExecutionContinued",
	"SagaRejected", "SagaCommitted", "SagaAbandoned", "UnwindStarted", "UnwindCompleted"}

// wantMilestones: they are the history's events of their types.
func wantMilestones(t *testing.T, rec *durable.Record) {
	t.Helper()
	want := slices.DeleteFunc(slices.Collect(durable.History(rec)), func(e durable.Event) bool { return !slices.Contains(milestones, e.Type) })
	if got := slices.Collect(durable.Milestones(rec)); !slices.EqualFunc(got, want, func(a, b durable.Event) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("%s: got milestones\n%+v\nwant\n%+v", rec.ID, got, want)
	}
}

// storyOf is a history in short: type, subtype, operation, parent, name, and
// what of the details matters here, as the JSON form has them.
func storyOf(t *testing.T, rec *durable.Record) (lines []string) {
	t.Helper()
	wantMilestones(t, rec)
	for e := range durable.History(rec) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		line := e.Type
		for _, key := range []string{"SubType", "Id", "ParentId", "Name"} {
			if v, ok := m[key]; ok {
				line += fmt.Sprintf(" %s=%v", key, v)
			}
		}
		details := m[e.Type+"Details"].(map[string]any)
		for _, path := range []string{"Result.Payload", "Input.Payload", "Error.Payload.ErrorType", "RetryDetails.CurrentAttempt", "RetryDetails.NextAttemptDelaySeconds",
			"FunctionName", "ExecutedVersion", "TenantId", "Run", "Undoes", "InDoubt"} {
			if v := dig(details, strings.Split(path, ".")); v != nil {
				line += fmt.Sprintf(" %s=%v", path[strings.LastIndexByte(path, '.')+1:], v)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func dig(m map[string]any, path []string) any {
	v, ok := m[path[0]]
	if !ok || len(path) == 1 {
		return v
	}
	inner, _ := v.(map[string]any)
	return dig(inner, path[1:])
}

// TestHistoryGrammar: what the other published suites will judge, by the
// grammar that they share with those that are here.
func TestHistoryGrammar(t *testing.T) {
	inner := durable.Define("inner", "3", func(ctx *durable.Context, n int) (int, error) {
		switch n {
		case 2:
			return 0, errors.New("no")
		case 3:
			return 0, durable.Wait(ctx, "w", time.Hour)
		}
		return n * 2, nil
	})
	noJitter := durable.WithRetry(durable.Retry{MaxAttempts: 3, NoJitter: true})
	for name, c := range map[string]struct {
		run  func(ctx *durable.Context, e *durable.Engine) (any, error)
		want []string
	}{
		"condition": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			return durable.WaitForCondition(ctx, "c", 1, func(_ context.Context, n int) (int, bool, error) { return n + 1, n == 2, nil }, noJitter)
		}, []string{
			"StepStarted SubType=WaitForCondition Id=1 Name=c",
			"StepSucceeded SubType=WaitForCondition Id=1 Name=c Payload=2 CurrentAttempt=1 NextAttemptDelaySeconds=5",
			"InvocationCompleted",
			"StepStarted SubType=WaitForCondition Id=1 Name=c",
			"StepSucceeded SubType=WaitForCondition Id=1 Name=c Payload=3 CurrentAttempt=2",
			"InvocationCompleted", "ExecutionSucceeded Payload=3",
		}},
		"condition exhausted": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			return durable.WaitForCondition(ctx, "c", 1, func(_ context.Context, n int) (int, bool, error) { return n, false, nil },
				durable.WithRetry(durable.Retry{MaxAttempts: 1}))
		}, []string{
			"StepStarted SubType=WaitForCondition Id=1 Name=c",
			"StepFailed SubType=WaitForCondition Id=1 Name=c ErrorType=clew/condition-not-met CurrentAttempt=1",
			"InvocationCompleted", "ExecutionFailed ErrorType=clew/condition-not-met",
		}},
		"callback": {func(ctx *durable.Context, e *durable.Engine) (any, error) {
			return durable.WaitForCallback[string](ctx, "approve", func(ctx context.Context, id string) error {
				time.AfterFunc(time.Minute, func() { _ = e.CompleteCallback(context.WithoutCancel(ctx), id, "yes") })
				return nil
			})
		}, []string{
			"ContextStarted SubType=WaitForCallback Id=1 Name=approve",
			"CallbackStarted SubType=Callback Id=2 ParentId=1 Name=callback",
			"StepStarted SubType=Step Id=3 ParentId=1 Name=submitter",
			"StepSucceeded SubType=Step Id=3 ParentId=1 Name=submitter CurrentAttempt=1",
			"InvocationCompleted",
			`CallbackSucceeded SubType=Callback Id=2 ParentId=1 Name=callback Payload="yes"`,
			`ContextSucceeded SubType=WaitForCallback Id=1 Name=approve Payload="yes"`,
			"InvocationCompleted", `ExecutionSucceeded Payload="yes"`,
		}},
		"invoke": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			return durable.Invoke(ctx, "i", inner, 4, durable.WithTenant("acme"))
		}, []string{
			"ChainedInvokeStarted SubType=ChainedInvoke Id=1 Name=i Payload=4 FunctionName=inner ExecutedVersion=3 TenantId=acme",
			"InvocationCompleted",
			"ChainedInvokeSucceeded SubType=ChainedInvoke Id=1 Name=i Payload=8",
			"InvocationCompleted", "ExecutionSucceeded Payload=8",
		}},
		"invoke failed": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			return durable.Invoke(ctx, "i", inner, 2)
		}, []string{
			"ChainedInvokeStarted SubType=ChainedInvoke Id=1 Name=i Payload=2 FunctionName=inner ExecutedVersion=3",
			"InvocationCompleted",
			"ChainedInvokeFailed SubType=ChainedInvoke Id=1 Name=i ErrorType=*errors.errorString",
			"InvocationCompleted", "ExecutionFailed ErrorType=*errors.errorString",
		}},
		"invoke timed out": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			return durable.Invoke(ctx, "i", inner, 3, durable.WithInvokeTimeout(time.Minute))
		}, []string{
			"ChainedInvokeStarted SubType=ChainedInvoke Id=1 Name=i Payload=3 FunctionName=inner ExecutedVersion=3",
			"InvocationCompleted",
			"ChainedInvokeTimedOut SubType=ChainedInvoke Id=1 Name=i ErrorType=Invoke.Timeout",
			"InvocationCompleted", "ExecutionFailed ErrorType=Invoke.Timeout",
		}},
		"invoke stopped": {func(ctx *durable.Context, e *durable.Engine) (any, error) {
			time.AfterFunc(time.Minute, func() { _ = e.Cancel(context.WithoutCancel(ctx), "inner-1", "ada", "enough") })
			return durable.Invoke(ctx, "i", inner, 3, durable.WithInvokeID("inner-1"))
		}, []string{
			"ChainedInvokeStarted SubType=ChainedInvoke Id=1 Name=i Payload=3 FunctionName=inner ExecutedVersion=3",
			"InvocationCompleted",
			"ChainedInvokeStopped SubType=ChainedInvoke Id=1 Name=i ErrorType=Invoke.Stopped",
			"InvocationCompleted", "ExecutionFailed ErrorType=Invoke.Stopped",
		}},
		"map": {func(ctx *durable.Context, _ *durable.Engine) (any, error) {
			b, err := durable.Map(ctx, "m", []string{"a", "b"}, func(ctx *durable.Context, s string, i int) (string, error) {
				if i == 1 {
					return "", errors.New("no")
				}
				return durable.Step(ctx, "s", func(context.Context) (string, error) { return s, nil })
			}, durable.WithMaxConcurrency(1), durable.WithItemNames(func(i int) string { return fmt.Sprint("item ", i) }))
			if err != nil {
				return nil, err
			}
			return b.Values(), nil
		}, []string{
			"ContextStarted SubType=Map Id=1 Name=m",
			"ContextStarted SubType=MapIteration Id=2 ParentId=1 Name=item 0",
			"StepStarted SubType=Step Id=3 ParentId=2 Name=s",
			`StepSucceeded SubType=Step Id=3 ParentId=2 Name=s Payload="a" CurrentAttempt=1`,
			`ContextSucceeded SubType=MapIteration Id=2 ParentId=1 Name=item 0 Payload="a"`,
			"ContextStarted SubType=MapIteration Id=4 ParentId=1 Name=item 1",
			"ContextFailed SubType=MapIteration Id=4 ParentId=1 Name=item 1 ErrorType=*errors.errorString",
			`ContextSucceeded SubType=Map Id=1 Name=m Payload={"totalCount":2,"successCount":1,"failureCount":1,"completionReason":"ALL_COMPLETED"}`,
			"InvocationCompleted", `ExecutionSucceeded Payload=["a"]`,
		}},
		"signal and new run": {func(ctx *durable.Context, e *durable.Engine) (any, error) {
			if c, _ := durable.Receive[int](ctx, "go", time.Second); c == 0 {
				_, err := durable.Step(ctx, "send", func(ctx context.Context) (int, error) { return 0, e.Signal(ctx, "x", "go", 7, "") })
				if err != nil {
					return nil, err
				}
				if c, err = durable.Receive[int](ctx, "go", 0); err != nil || c != 7 {
					return nil, err
				}
				if err := e.Signal(context.Background(), "x", "go", 8, "8"); err != nil {
					return nil, err
				}
				return nil, durable.ContinueAsNew(ctx, 2)
			}
			return "done", nil
		}, []string{
			"ExecutionContinued Payload=2 Run=2", "SignalReceived Name=go Payload=8",
			"InvocationCompleted", `ExecutionSucceeded Payload="done"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w *world
				def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (any, error) { return c.run(ctx, w.e) })
				w = newWorld(t, mem.New(), durable.Options{HotWait: -1}, def, inner)
				defer w.stop()
				x, err := def.Start(t.Context(), w.e, "x", 7)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = x.Wait(t.Context())
				got := storyOf(t, w.head())
				if want := append([]string{"ExecutionStarted Payload=7"}, c.want...); !slices.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}
