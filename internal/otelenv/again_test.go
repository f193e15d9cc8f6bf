package otelenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// nap is a definition that waits for as long as its input says, in three steps.
var nap = durable.Define("nap", "1", func(ctx *durable.Context, d time.Duration) (int, error) {
	for range 2 {
		if _, err := durable.Step(ctx, "turn", func(context.Context) (int, error) { return 1, nil }); err != nil {
			return 0, err
		}
	}
	return 2, durable.Wait(ctx, "sleep", d)
})

// naps starts executions, by ID and how long they take, in a process that exports
// nothing, and lets it run for a while.
func naps(t *testing.T, store durable.Store, while time.Duration, ids map[string]time.Duration) {
	t.Helper()
	e, err := durable.New(store, durable.Options{})
	if err == nil {
		err = e.Register(nap)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), while)
	defer stop()
	for id, d := range ids {
		if _, err := nap.Start(ctx, e, id, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// exporting is an Env that exports to memory.
func exporting(t *testing.T) (*Env, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	tele, err := telemetry.New(telemetry.Options{TracerProvider: p})
	if err != nil {
		t.Fatal(err)
	}
	return &Env{telemetry: tele, parts: []part{p}, traced: true}, spans
}

// TestTellRecent: a process tells again what had ended in the five minutes before it
// started, says how many that were, and nothing when there were none.
func TestTellRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		naps(t, store, time.Hour, map[string]time.Duration{"long ago": 50 * time.Minute, "lately": 56 * time.Minute, "just now": 59 * time.Minute, "soon": time.Hour + time.Second})
		e, spans := exporting(t)
		var said []string
		say := func(line string) { said = append(said, line) }
		wait := e.TellRecent(t.Context(), &pausing{store, 2 * time.Second}, say)
		naps(t, store, time.Minute, map[string]time.Duration{"its own": 0}) // ends before the list is read
		wait()
		told := map[string]int{}
		for _, s := range spans.GetSpans() {
			for _, kv := range s.Attributes {
				if kv.Key == "clew.execution.id" {
					told[kv.Value.AsString()]++
				}
			}
		}
		if got, want := fmt.Sprint(told), "map[just now:4 lately:4]"; got != want {
			t.Errorf("spans were told of %s, want %s", got, want)
		}
		if len(said) != 1 || !strings.Contains(said[0], "2 executions again") {
			t.Errorf("it said %q, want one line with how many", said)
		}
		said = nil
		e.TellRecent(t.Context(), mem.New(), say)()
		time.Sleep(time.Hour)
		e.TellRecent(t.Context(), store, say)()
		if len(said) != 0 {
			t.Errorf("with nothing to tell it said %q", said)
		}
	})
}

// pausing lists after a while.
type pausing struct {
	durable.Store
	takes time.Duration
}

func (p *pausing) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	select {
	case <-time.After(p.takes):
		return p.Store.List(ctx, q)
	case <-ctx.Done():
		return durable.ListPage{}, ctx.Err()
	}
}

// TestTellRecentHoldsNobodyUp: a table that takes hours to read is given up after a
// minute, and at the end of the work within FlushTimeout, or at once when the
// process is to end.
func TestTellRecentHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := exporting(t)
		var said atomic.Int32
		say := func(line string) {
			if !strings.Contains(line, "clew trace --ended-since") {
				t.Errorf("it said %q, want it to name the remedy", line)
			}
			said.Add(1)
		}
		endless := &pausing{mem.New(), 1000 * time.Hour}
		began := time.Now()
		e.TellRecent(t.Context(), endless, say)()
		if took := time.Since(began); took != FlushTimeout || said.Load() != 1 {
			t.Errorf("the end waited for %v and %d lines were said, want %v and 1", took, said.Load(), FlushTimeout)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait := e.TellRecent(ctx, endless, say)
		cancel()
		began = time.Now()
		wait()
		if took := time.Since(began); took != 0 || said.Load() != 1 {
			t.Errorf("of a process that is to end it waited for %v and %d lines were said in all, want 0s and 1", took, said.Load())
		}
		wait = e.TellRecent(t.Context(), endless, say)
		time.Sleep(patience)
		synctest.Wait()
		if said.Load() != 2 {
			t.Errorf("after %v it still reads", patience)
		}
		wait()
	})
}

// TestTellRecentOfTraces: a process that exports none reads nothing.
func TestTellRecentOfTraces(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:1")
	metrics, err := Start(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() { _ = metrics.Shutdown(over) }()
	for _, e := range []*Env{nil, {}, metrics} {
		e.TellRecent(t.Context(), nil, nil)() // which would panic
	}
}

// collector answers requests of OTLP by HTTP.
func collector(t *testing.T, status func() int) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status()) }))
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", s.URL)
}

// TestDeliveredRemembers: that a flush on the way was refused is not forgotten when
// the collector takes what comes after it.
func TestDeliveredRemembers(t *testing.T) {
	clean(t)
	t.Cleanup(func() { otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) })
	var calls atomic.Int32
	collector(t, func() int {
		if calls.Add(1) == 1 {
			return http.StatusForbidden
		}
		return http.StatusOK
	})
	store, ids := mem.New(), map[string]time.Duration{}
	for i := range 40 {
		ids[fmt.Sprint(i)] = 0
	}
	naps(t, store, time.Second, ids)
	e, err := StartTelling(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Shutdown(context.Background()) }()
	told, err := e.Telemetry().TellEnded(t.Context(), store, durable.ListQuery{})
	spans, failed := e.Delivered(t.Context())
	if err == nil || failed == nil || !strings.Contains(failed.Error(), "403") {
		t.Errorf("TellEnded: got %+v, %v; Delivered: %d spans, %v; want that both know of the refusal", told, err, spans, failed)
	}
}

// rested is the record of an execution of four spans.
func rested(t *testing.T) *durable.Record {
	t.Helper()
	store := mem.New()
	naps(t, store, time.Second, map[string]time.Duration{"n": 0})
	rec, err := store.Load(t.Context(), "n", durable.LoadAll)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestDelivered: what a tool tells arrives, whatever the variables say of queues and
// samplers, and it knows how much that was; or it hears that it does not.
func TestDelivered(t *testing.T) {
	rec := rested(t)
	for name, tt := range map[string]struct {
		refuses bool
		env     map[string]string
	}{
		"all is taken":       {env: map[string]string{"OTEL_TRACES_SAMPLER": "always_off", "OTEL_BSP_MAX_QUEUE_SIZE": "3", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}},
		"refused at once":    {refuses: true, env: map[string]string{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}},
		"refused in the end": {refuses: true},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			t.Cleanup(func() { otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) })
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			var calls atomic.Int32
			collector(t, func() int {
				if calls.Add(1) > 1 || !tt.refuses {
					return http.StatusOK
				}
				return http.StatusForbidden
			})
			e, err := StartTelling(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Shutdown(context.Background()) }()
			var failed error
			for range 25 {
				failed = errors.Join(failed, e.Telemetry().Tell(t.Context(), rec))
			}
			spans, err := e.Delivered(t.Context())
			if failed != nil {
				t.Fatal(failed)
			}
			if refused := err != nil; refused != tt.refuses || !refused && spans != 100 || refused && (spans == 100 || !strings.Contains(err.Error(), "403")) {
				t.Errorf("got %d spans, %v; want 100, or the collector's refusal", spans, err)
			}
		})
	}
}
