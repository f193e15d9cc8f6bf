package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// collector is an exporter of spans and metrics that behaves as a collector may.
type collector struct {
	answer func(ctx context.Context) error
}

func (c collector) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	return c.answer(ctx)
}

func (c collector) Export(ctx context.Context, _ *metricdata.ResourceMetrics) error {
	return c.answer(ctx)
}
func (collector) Shutdown(context.Context) error   { return nil }
func (collector) ForceFlush(context.Context) error { return nil }
func (collector) Temporality(sdkmetric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}

func (collector) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}

// TestCollectorInTrouble: a collector that is down, slow, rejecting, or never
// answers changes nothing about executions: to the microsecond of virtual time they
// take as long as without telemetry, however many spans are lost. Package otelenv
// has the test of how exporting ends.
func TestCollectorInTrouble(t *testing.T) {
	var without []time.Duration
	for _, tt := range []struct {
		name   string
		answer func(ctx context.Context) error
	}{
		{"no telemetry", nil},
		{"down", func(context.Context) error { return errors.New("connection refused") }},
		{"rejecting", func(ctx context.Context) error {
			time.Sleep(10 * time.Millisecond)
			return errors.New("quota exceeded")
		}},
		{"slow", func(ctx context.Context) error { time.Sleep(20 * time.Second); return nil }},
		{"silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"deaf", func(context.Context) error { time.Sleep(1000 * time.Hour); return nil }}, // also to its context
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := latencies(t, tt.answer)
				if tt.answer == nil {
					without = took
				}
				if fmt.Sprint(took) != fmt.Sprint(without) {
					t.Errorf("executions took\n%v\nwithout telemetry\n%v", took, without)
				}
			})
		})
	}
}

// latencies runs a thousand executions, with more spans than a batching exporter
// queues, and returns how long each took.
func latencies(t *testing.T, answer func(context.Context) error) (took []time.Duration) {
	t.Helper()
	opts := durable.Options{Concurrency: 64}
	if answer != nil {
		c := collector{answer}
		traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(c), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
		metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(c, sdkmetric.WithInterval(time.Second))))
		observer, err := telemetry.New(telemetry.Options{TracerProvider: traces, MeterProvider: metrics})
		if err != nil {
			t.Fatal(err)
		}
		opts.Observer = observer
		defer func() { // which virtual time lets take as long as it does
			_ = traces.Shutdown(context.Background())
			_ = metrics.Shutdown(context.Background())
		}()
	}
	def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
		for range 3 {
			if _, err := durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(time.Duration(n) * time.Millisecond); return n, nil }); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	e, err := durable.New(mem.New(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(def); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	synctest.Wait()
	for i := range 1000 {
		began := time.Now()
		x, err := def.Start(ctx, e, fmt.Sprint(i), i%7)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := x.Wait(ctx); n != i%7 || err != nil {
			t.Errorf("got %d, %v; want %d, nil", n, err, i%7)
		}
		took = append(took, time.Since(began))
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return took
}
