package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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

func ExampleTelemetry_TellEnded() {
	ctx, store := context.Background(), mem.New()
	order := durable.Define("order", "1", func(ctx *durable.Context, article string) (string, error) {
		return durable.Step(ctx, "charge", func(context.Context) (string, error) { return "paid for a " + article, nil })
	})
	_ = withEngine(ctx, store, order, func(engine *durable.Engine) error {
		execution, err := order.Start(ctx, engine, "order-17", "cup")
		if err == nil {
			fmt.Println(execution.Wait(ctx))
		}
		return err
	}) // and its process is killed before anything of that was exported

	started := time.Now()
	exporter := tracetest.NewInMemoryExporter()
	traces := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator()), sdktrace.WithBatcher(exporter))
	defer traces.Shutdown(ctx)
	observer, err := telemetry.New(telemetry.Options{TracerProvider: traces})
	if err != nil {
		fmt.Println(err)
		return
	}
	told, err := observer.TellEnded(ctx, store, durable.ListQuery{EndedFrom: started.Add(-5 * time.Minute), EndedTo: started})
	fmt.Println(told.Executions, err)
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name)
	}
	// Unordered output:
	// paid for a cup <nil>
	// 1 <nil>
	// charge
	// order
}

// withEngine calls do with an engine that runs.
func withEngine(ctx context.Context, store durable.Store, def durable.Registrable, do func(*durable.Engine) error) error {
	engine, err := durable.New(store, durable.Options{})
	if err != nil {
		return err
	}
	if err := engine.Register(def); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	err = do(engine)
	stop()
	return errors.Join(err, <-done)
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
