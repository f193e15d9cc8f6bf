package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

func ExampleNew() {
	ctx, store := context.Background(), mem.New()
	exporter, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
	order := durable.Define("order", "1", func(ctx *durable.Context, article string) (string, error) {
		return durable.Step(ctx, "charge", func(context.Context) (string, error) { return "paid for a " + article, nil })
	})
	err := func() error {
		traces := sdktrace.NewTracerProvider(
			sdktrace.WithIDGenerator(telemetry.IDGenerator()),
			sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(1<<14)),
		)
		defer traces.Shutdown(ctx)
		metrics := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		defer metrics.Shutdown(ctx)

		observer, err := telemetry.New(telemetry.Options{TracerProvider: traces, MeterProvider: metrics})
		if err != nil {
			return err
		}
		engine, err := durable.New(store, durable.Options{Observer: observer})
		if err != nil {
			return err
		}
		if err := engine.Register(order); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		done := make(chan error, 1)
		go func() { done <- engine.Run(ctx) }()
		execution, err := order.Start(ctx, engine, "order-17", "cup")
		if err != nil {
			return err
		}
		fmt.Println(execution.Wait(ctx))
		stop()
		if err := <-done; err != nil {
			return err
		}
		if err := traces.ForceFlush(context.Background()); err != nil {
			return err
		}
		for _, span := range exporter.GetSpans() {
			fmt.Println(span.Name)
		}
		return nil
	}()
	if err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// paid for a cup <nil>
	// activation order
	// attempt charge
	// charge
	// order
}

func ExampleNewLogHandler() {
	log := slog.New(telemetry.NewLogHandler(slog.NewJSONHandler(os.Stderr, nil)))

	_ = durable.Define("order", "1", func(ctx *durable.Context, article string) (string, error) {
		log.InfoContext(ctx, "an order", "article", article) // not again on a replay
		return durable.Step(ctx, "charge", func(ctx context.Context) (string, error) {
			log.InfoContext(ctx, "charging") // with trace_id, span_id, execution, step and attempt
			return "paid", nil
		})
	})
	fmt.Println("defined")
	// Output:
	// defined
}
