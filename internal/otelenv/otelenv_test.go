package otelenv

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// clean leaves no OTEL_* variable, and puts the globals back after the test.
func clean(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	t.Cleanup(func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		otel.SetMeterProvider(metricnoop.NewMeterProvider())
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator())
	})
}

// TestOptIn: nothing is exported that no variable asks for, and then there is no
// observer at all.
func TestOptIn(t *testing.T) {
	const dead = "http://127.0.0.1:1" // nobody listens there
	for name, tt := range map[string]struct {
		env   map[string]string
		parts int
	}{
		"nothing":                   {nil, 0},
		"a name is not asking":      {map[string]string{"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, 0},
		"an endpoint asks for both": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": dead}, 2},
		"by gRPC":                   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": dead, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, 2},
		"one signal's endpoint":     {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": dead + "/v1/traces"}, 1},
		"the other's":               {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": dead + "/v1/metrics"}, 1},
		"but not that":              {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": dead, "OTEL_METRICS_EXPORTER": "none"}, 1},
		"an exporter":               {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, 1},
		"none of them":              {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": dead, "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}, 0},
		"disabled":                  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": dead, "OTEL_SDK_DISABLED": "TRUE"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			e, err := Start(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			if on := e.Observer() != nil; len(e.parts) != tt.parts || on != (tt.parts > 0) {
				t.Errorf("%d signals and an observer: %v; want %d", len(e.parts), on, tt.parts)
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := e.Shutdown(over); tt.parts == 0 && err != nil {
				t.Errorf("Shutdown of nothing: got %v, want nil", err)
			}
		})
	}
}

func TestNilExportsNothing(t *testing.T) {
	var e *Env
	if e.Observer() != nil || e.ForceFlush(t.Context()) != nil || e.Shutdown(t.Context()) != nil {
		t.Error("a nil Env does something")
	}
}

func TestMistakesNameTheVariable(t *testing.T) {
	for variable, value := range map[string]string{
		"OTEL_TRACES_EXPORTER":        "zipkim",
		"OTEL_METRICS_EXPORTER":       "promtheus",
		"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon",
	} {
		t.Run(variable, func(t *testing.T) {
			clean(t)
			t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
			t.Setenv(variable, value)
			if _, err := Start(t.Context(), "s"); err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(variable, "PROTOCOL")) {
				t.Errorf("got %v, want it to name %s", err, variable)
			}
		})
	}
}

// TestBounded: a collector that takes calls and never answers holds up a flush
// for as long as its context says, and the end for FlushTimeout.
func TestBounded(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			clean(t)
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+silent.Addr().String())
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000") // by itself it would wait for an hour
			e, err := Start(t.Context(), "s")
			if err != nil {
				t.Fatal(err)
			}
			for range 10_000 { // more than the exporter queues
				_, span := otel.Tracer("test").Start(t.Context(), "work")
				span.End()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := e.ForceFlush(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ForceFlush: got %v, want its deadline", err)
			}
			if err := e.Shutdown(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: got %v, want its deadline", err)
			}
		})
	}
}

// deaf is a provider that does not look at contexts.
type deaf struct{}

func (deaf) ForceFlush(context.Context) error { time.Sleep(time.Hour); return nil }
func (deaf) Shutdown(context.Context) error   { time.Sleep(time.Hour); return nil }

// TestBoundedWhateverProvidersDo: providers that do not look at contexts hold
// nobody up either, and not one the other.
func TestBoundedWhateverProvidersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Env{parts: []part{deaf{}, deaf{}}}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, tt := range []struct {
			what string
			ends func(context.Context) error
			in   context.Context
			took time.Duration
		}{
			{"ForceFlush", e.ForceFlush, short, time.Second},
			{"ForceFlush without a deadline", e.ForceFlush, t.Context(), FlushTimeout},
			{"Shutdown", e.Shutdown, t.Context(), FlushTimeout},
		} {
			began := time.Now()
			if err := tt.ends(tt.in); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != tt.took {
				t.Errorf("%s: got %v after %v, want a deadline after %v", tt.what, err, time.Since(began), tt.took)
			}
		}
		time.Sleep(2 * time.Hour) // until they have returned
	})
}

// TestPropagation: what a process exports for, it propagates.
func TestPropagation(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	e, err := Start(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := otel.Tracer("test").Start(t.Context(), "work")
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	if sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), carrier)); sc.SpanID() != span.SpanContext().SpanID() {
		t.Errorf("the carrier has %v, want the span", carrier)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = e.Shutdown(over)
}

// slow is an exporter that waits, unless it is told to give up.
type slow struct {
	until chan struct{}
	took  atomic.Int64
}

func (s *slow) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	select {
	case <-s.until:
		s.took.Add(int64(len(spans)))
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (*slow) Shutdown(context.Context) error { return nil }

// TestFlushThatIsNotWaitedFor: what takes longer to export than a flush may is not
// lost, nor is what comes while it is on its way.
func TestFlushThatIsNotWaitedFor(t *testing.T) {
	to := &slow{until: make(chan struct{})}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(to, sdktrace.WithBatchTimeout(time.Hour)))
	defer func() { _ = p.Shutdown(context.Background()) }()
	e := &Env{parts: []part{inTurn(p)}}
	for range 2 {
		_, span := p.Tracer("t").Start(t.Context(), "s")
		span.End()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := e.ForceFlush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that its time is over", err)
		}
	}
	close(to.until)
	if err := e.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if n := to.took.Load(); n != 2 {
		t.Errorf("%d spans were exported, want 2", n)
	}
}
