package telemetry_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// discards is an exporter that costs nothing itself.
type discards struct{}

func (discards) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discards) Shutdown(context.Context) error                             { return nil }

// BenchmarkExecution is an execution of five steps in memory, without telemetry,
// with it but not sampled, and sampled. internal/otlptest has the throughput, on
// SQLite.
func BenchmarkExecution(b *testing.B) {
	b.Run("without", func(b *testing.B) { benchmark(b, nil) })
	for name, sampler := range map[string]sdktrace.Sampler{"unsampled": sdktrace.NeverSample(), "sampled": sdktrace.AlwaysSample()} {
		b.Run(name, func(b *testing.B) {
			provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discards{}), sdktrace.WithSampler(sdktrace.ParentBased(sampler)), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
			defer provider.Shutdown(context.Background())
			observer, err := telemetry.New(telemetry.Options{TracerProvider: provider, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, observer)
		})
	}
}

func benchmark(b *testing.B, observer durable.Observer) {
	def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
		for i := range 5 {
			if _, err := durable.Step(ctx, "step "+strconv.Itoa(i), func(context.Context) (int, error) { return i, nil }); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
	e, err := durable.New(mem.New(), durable.Options{Observer: observer})
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	time.Sleep(50 * time.Millisecond) // until it runs: before, executions would only be queued
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		x, err := def.Start(ctx, e, strconv.Itoa(n), 1)
		if err == nil {
			_, err = x.Wait(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
