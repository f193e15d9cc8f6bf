package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// hosts run a saga over one store, each with its own provider over one exporter,
// until the execution has ended or is parked.
type hosts struct {
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
	tele    *telemetry.Telemetry
	e       *durable.Engine
	store   *mem.Store
}

func newHosts(t *testing.T, opts telemetry.Options, defs ...durable.Registrable) *hosts {
	t.Helper()
	h := &hosts{spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader(), store: mem.New()}
	opts.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(h.metrics))
	for range 2 {
		opts.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(h.spans), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
		var err error
		if h.tele, err = telemetry.New(opts); err != nil {
			t.Fatal(err)
		}
		if h.e, err = durable.New(h.store, durable.Options{Observer: h.tele, HotWait: -1, PollMax: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if err := h.e.Register(defs...); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func(e *durable.Engine) { defer close(done); _ = e.Run(ctx) }(h.e)
		t.Cleanup(func() { stop(); <-done })
	}
	synctest.Wait()
	return h
}

// trip is a saga with a retry, a wait of three days and a refusal at its pivot.
func trip(t *testing.T, refused bool) *saga.Saga[string, string] {
	t.Helper()
	b := saga.New[string, string]("trip", "1")
	failed := false
	saga.Step(b, "flight", func(c saga.Context, _ string) (string, error) {
		_, span := trace.SpanFromContext(c).TracerProvider().Tracer("http").Start(c, "POST /flights")
		defer span.End()
		if !failed {
			failed = true
			return "", errors.New("busy")
		}
		return "f1", nil
	}).Undo(func(saga.UndoContext, string, saga.Maybe[string]) error { return nil })
	saga.Wait(b, "think", 72*time.Hour)
	saga.Pivot(b, "charge", func(saga.Context, string) (string, error) {
		if refused {
			return "", saga.Reject(errors.New("declined"))
		}
		return "paid", nil
	}).ParkInDoubt()
	sg, err := b.Build(func(saga.Context, string) (string, error) { return "gone", nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

// TestOneTrace: an execution over three days and several activations on two hosts
// is one trace, in which every span's parent is present.
func TestOneTrace(t *testing.T) {
	for _, refused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sg := trip(t, refused)
			h := newHosts(t, telemetry.Options{}, sg)
			provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(h.spans))
			ctx, span := provider.Tracer("shop").Start(t.Context(), "checkout")
			x, err := sg.Start(ctx, h.e, "t1", "ada", h.tele.StartOption(ctx))
			if err != nil {
				t.Fatal(err)
			}
			span.End()
			_, _ = x.Wait(t.Context())
			time.Sleep(time.Second)
			spans := h.spans.GetSpans()
			wantOneTrace(t, spans)
			names := map[string]int{}
			for _, s := range spans {
				names[s.Name]++
			}
			for name, n := range map[string]int{"checkout": 1, "trip": 1, "flight": 1, "attempt flight": 2, "POST /flights": 2, "think": 1, "charge": 1, "activation trip": 3} {
				if names[name] != n {
					t.Errorf("%d spans %q, want %d; there are %v", names[name], name, n, names)
				}
			}
			if got := names["undo flight"]; got != 0 != refused {
				t.Errorf("%d spans of the undo, refused %v", got, refused)
			}
			for _, s := range spans {
				if s.Name == "undo flight" && (len(s.Links) != 1 || s.Links[0].SpanContext.SpanID() != find(t, spans, "flight").SpanContext.SpanID()) {
					t.Errorf("the undo's links are %v, want one to its step", s.Links)
				}
				if s.EndTime.Before(s.StartTime) {
					t.Errorf("%q ends before it starts", s.Name)
				}
			}
			own := find(t, spans, "trip")
			if d := own.EndTime.Sub(own.StartTime); d < 72*time.Hour || own.Status.Code == codes.Error != refused {
				t.Errorf("the execution took %v with status %v, refused %v", d, own.Status, refused)
			}
		})
	}
}

func find(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %q", name)
	}
	return spans[i]
}

func wantOneTrace(t *testing.T, spans tracetest.SpanStubs) {
	t.Helper()
	have := map[trace.SpanID]string{}
	for _, s := range spans {
		if other, twice := have[s.SpanContext.SpanID()]; twice {
			t.Errorf("spans %q and %q have one ID", other, s.Name)
		}
		have[s.SpanContext.SpanID()] = s.Name
	}
	for _, s := range spans {
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("span %q is in another trace than %q", s.Name, spans[0].Name)
		}
		if p := s.Parent.SpanID(); p.IsValid() && have[p] == "" {
			t.Errorf("the parent of %q is missing", s.Name)
		}
	}
}

// TestDerivedTrace: without a starter's context the trace follows from the ID,
// and per activation each is a trace of its own that links to it.
func TestDerivedTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{PerActivation: true}, sg)
		x, err := sg.Start(t.Context(), h.e, "t1", "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		spans := h.spans.GetSpans()
		own := find(t, spans, "trip")
		traces := map[trace.TraceID]bool{}
		for _, s := range spans {
			traces[s.SpanContext.TraceID()] = true
			if strings.HasPrefix(s.Name, "activation") && (len(s.Links) != 1 || s.Links[0].SpanContext.TraceID() != own.SpanContext.TraceID()) {
				t.Errorf("%q has links %v, want one to the execution", s.Name, s.Links)
			}
		}
		if len(traces) != 4 {
			t.Errorf("%d traces, want one of the execution and three of activations", len(traces))
		}
	})
}

func TestIDGeneratorIsNeeded(t *testing.T) {
	_, err := telemetry.New(telemetry.Options{TracerProvider: sdktrace.NewTracerProvider()})
	if !errors.Is(err, telemetry.ErrIDGenerator) || !strings.Contains(err.Error(), "WithIDGenerator") {
		t.Errorf("got %v, want ErrIDGenerator, with the remedy", err)
	}
	if _, err := telemetry.New(telemetry.Options{}); err != nil {
		t.Errorf("with nothing configured: got %v, want nil", err)
	}
}

// TestMetrics: what is counted, and that nothing that is unbounded is counted by.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newHosts(t, telemetry.Options{}, sg)
		x, err := sg.Start(t.Context(), h.e, "order-0815", "ada")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		time.Sleep(time.Second)
		var all metricdata.ResourceMetrics
		if err := h.metrics.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, s := range all.ScopeMetrics {
			for _, m := range s.Metrics {
				if m.Unit == "" || m.Description == "" {
					t.Errorf("%s has unit %q and description %q", m.Name, m.Unit, m.Description)
				}
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range d.DataPoints {
						counts[m.Name] += p.Value
						for _, kv := range p.Attributes.ToSlice() {
							if v := kv.Value.String(); strings.Contains(v, "0815") || strings.Contains(v, "declined") {
								t.Errorf("%s is counted by %s=%s", m.Name, kv.Key, v)
							}
						}
					}
				case metricdata.Histogram[float64]:
					for _, p := range d.DataPoints {
						counts[m.Name] += int64(p.Count)
					}
				}
			}
		}
		for name, n := range map[string]int64{"clew.executions.started": 1, "clew.executions.ended": 1, "clew.attempts": 4, "clew.retries": 1, "clew.unwind.duration": 1} {
			if counts[name] != n {
				t.Errorf("%s: got %d, want %d; all are %v", name, counts[name], n, counts)
			}
		}
	})
}

// TestLogHandler: logs of handlers and bodies say where they come from, and a
// replay says nothing again.
func TestLogHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(telemetry.NewLogHandler(slog.NewTextHandler(&out, nil)))
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			log.InfoContext(ctx, "begins")
			if _, err := durable.Step(ctx, "s", func(c context.Context) (int, error) { log.InfoContext(c, "in the body"); return 1, nil }); err != nil {
				return 0, err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			log.InfoContext(ctx, "ends")
			return 1, nil
		})
		h := newHosts(t, telemetry.Options{}, def)
		x, err := def.Start(t.Context(), h.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "begins") || !strings.Contains(lines[2], "ends") {
			t.Fatalf("got\n%s\nwant three lines", out.String())
		}
		for i, wants := range [][]string{{"execution=x", "trace_id=", "span_id="}, {"execution=x", "step=s", "attempt=1", "trace_id="}, {"execution=x", "trace_id="}} {
			for _, want := range wants {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %s, want %s in it", i, lines[i], want)
				}
			}
		}
	})
}
