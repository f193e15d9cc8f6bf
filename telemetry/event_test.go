package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/telemetry"
)

// jam is a saga whose first step is in doubt after a timeout and a failure, and
// whose undo fails for good until it is mended.
func jam(t *testing.T, mended *bool) *saga.Saga[string, string] {
	t.Helper()
	b := saga.New[string, string]("jam", "1")
	saga.Step(b, "reserve", func(c saga.Context, _ string) (string, error) {
		switch c.Attempt() {
		case 1:
			<-c.Done()
			return "", c.Err()
		case 2:
			return "", errors.New("busy")
		}
		return "r1", nil
	}).Timeout(time.Second).Retry(durable.Retry{Initial: 10 * time.Second, NoJitter: true}).Undo(func(saga.UndoContext, string, saga.Maybe[string]) error {
		if *mended {
			return nil
		}
		return durable.Permanent(errors.New("the shelf is jammed"))
	})
	saga.Pivot(b, "charge", func(saga.Context, string) (string, error) { return "", saga.Reject(errors.New("declined")) }).ParkInDoubt()
	sg, err := b.Build(func(saga.Context, string) (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

// TestStuckAndResolved: retries, doubt, parking and what operators did are
// events of the spans that they are about.
func TestStuckAndResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mended := false
		sg := jam(t, &mended)
		h := newHosts(t, telemetry.Options{}, sg)
		if err := runs(h, sg.Definition, "j1", ""); !errors.Is(err, durable.ErrParked) {
			t.Fatalf("got %v, want ErrParked", err)
		}
		if live := told(find(t, h.spans.GetSpans(), "activation jam")); len(live) > 0 {
			t.Errorf("the first activation has %q, want nothing", live)
		}
		var parked []string
		for _, s := range h.of("j1") {
			if s.Name == "activation jam" {
				parked = append(parked, told(s)...)
			}
		}
		if len(parked) != 1 || !strings.HasPrefix(parked[0], "ExecutionParked name=reserve reason=undo-failed message=undo: ") {
			t.Errorf("before it ended, activations have %q, want the parking", parked)
		}
		time.Sleep(time.Hour)
		mended = true
		h.act("j1", durable.VerbRetry)
		spans, rec := h.of("j1"), h.record("j1")
		wantTree(t, spans)
		wantOperations(t, spans, rec)
		for name, want := range map[string][]string{
			"reserve": {
				"doubt attempt=1 reason=timed-out",
				"retry attempt=1 next_attempt_delay=10 error.type=context.deadlineExceededError",
				"retry attempt=2 next_attempt_delay=20 error.type=*errors.errorString",
			},
			"parked at reserve": {"ExecutionParked name=reserve reason=undo-failed message=undo: step \"reserve\" failed after 1 attempt(s): the shelf is jammed"},
			"jam": {
				"SagaRejected name=charge", "UnwindStarted",
				"OperatorActed name=reserve reason=mended verb=retry actor=ada target=reserve", "UnwindCompleted",
			},
		} {
			if got := told(find(t, spans, name)); !slices.Equal(got, want) {
				t.Errorf("%q has events\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		if s := find(t, spans, "parked at reserve"); s.EndTime.Sub(s.StartTime) < time.Hour {
			t.Errorf("it was parked for %v, want an hour", s.EndTime.Sub(s.StartTime))
		}
		if got := text(find(t, spans, "reserve"), "clew.in_doubt"); got != "true" {
			t.Errorf("the step's doubt is %q, want true", got)
		}
	})
}

// TestLostAttempt: an attempt that nobody ended is missing, its parent is not,
// and the operation says that it was in doubt.
func TestLostAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runsNow := 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "s", func(context.Context) (int, error) { runsNow++; return runsNow, nil })
		})
		h := newHosts(t, telemetry.Options{}, def)
		at := time.Now()
		id := durable.Identity{ID: "x", Definition: "d", Version: "1", Input: []byte("1"), Created: at}
		start := durable.Entry{Kind: durable.EntryStart, Op: 1, First: true, Pos: 1, Type: durable.OpStep, Name: "s", Attempt: 1, Epoch: 1, Timeout: time.Second, At: at}
		err := h.store.Create(t.Context(), &durable.Create{Identity: id, Now: at, Owner: "somebody who dies", First: &durable.Commit{
			ID: "x", Epoch: 1, Seq: 1, Now: at, Status: durable.StatusRunning, Lease: at.Add(30 * time.Second), Entries: []durable.Entry{start}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := def.Attach(h.e, "x").Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		spans := h.of("x")
		wantTree(t, spans)
		wantOperations(t, spans, h.record("x"))
		if n := named(spans)["attempt s"]; n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		want := []string{"doubt attempt=1 reason=lost", "retry attempt=1 next_attempt_delay=0 error.type=clew/attempt-lost"}
		if got := told(find(t, spans, "s")); !slices.Equal(got, want) {
			t.Errorf("got events %q, want %q", got, want)
		}
	})
}

// TestStopped: requests to stop are events, and how the execution ended is its
// status.
func TestStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		stop   func(h *hosts) error
		event  string
		status string
	}{
		"cancelled":  {func(h *hosts) error { return h.e.Cancel(h.t.Context(), "x", "ada", "no more") }, "CancelRequested reason=no more actor=ada", "cancelled"},
		"terminated": {func(h *hosts) error { return h.e.Terminate(h.t.Context(), "x", "ada", "no more") }, "TerminateRequested reason=no more actor=ada", "terminated"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return 0, durable.Wait(ctx, "w", time.Hour) })
				h := newHosts(t, telemetry.Options{}, def)
				x, err := def.Start(t.Context(), h.e, "x", 1)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if err := tt.stop(h); err != nil {
					t.Fatal(err)
				}
				_, _ = x.Wait(t.Context())
				time.Sleep(time.Second)
				spans := h.of("x")
				wantTree(t, spans)
				own := find(t, spans, "d")
				if got := told(own); !slices.Equal(got, []string{tt.event}) || text(own, "clew.status") != tt.status || text(own, "error.type") == "" {
					t.Errorf("got events %q, status %q, error type %q; want %q, %q", got, text(own, "clew.status"), text(own, "error.type"), tt.event, tt.status)
				}
			})
		})
	}
}
