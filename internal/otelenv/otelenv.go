// Package otelenv exports traces and metrics as the standard OTEL_* variables
// say, for the programs of this repository; and not at all unless they do:
//
//	env, err := otelenv.Start(ctx, "payments")
//	…
//	defer env.Shutdown(context.Background())
//	engine, err := durable.New(store, durable.Options{Observer: env.Observer()})
//
// A signal is exported when its OTEL_…_EXPORTER names an exporter, or an OTLP
// endpoint for it is set (OTEL_EXPORTER_OTLP_ENDPOINT, or the signal's own). This is
// narrower than the specification, whose default is a collector on this machine: a
// program that nobody has asked exports nothing and pays nothing. Everything else
// is as the variables say: protocol, headers, sampler, resource, batches.
package otelenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/telemetry"
)

// FlushTimeout bounds ForceFlush and Shutdown where their context does not: a
// collector that does not answer holds nobody up for longer.
const FlushTimeout = 3 * time.Second

// queue is how many spans wait to be exported, at most, unless
// OTEL_BSP_MAX_QUEUE_SIZE says otherwise: more than the SDK's 2,048, because the spans
// of all operations of an execution come at once, when it ends.
const queue = 1 << 14

// Env is what Start has set up. The zero value, and nil, export nothing.
type Env struct {
	telemetry *telemetry.Telemetry
	parts     []part
	traced    bool   // traces are exported
	taken     *taken // with StartTelling
}

// part is a provider.
type part interface {
	ForceFlush(context.Context) error
	Shutdown(context.Context) error
}

// Start sets up what the variables ask for, here and as OpenTelemetry's globals,
// with the propagation of W3C trace context and baggage. service is the service's
// name unless OTEL_SERVICE_NAME, or OTEL_RESOURCE_ATTRIBUTES, has another. An
// error names the variable that cannot be followed; that a collector is not there
// is none.
func Start(ctx context.Context, service string) (*Env, error) {
	return start(ctx, &Env{traced: wanted("TRACES")}, service, wanted("METRICS"))
}

// StartTraces is Start without metrics, for processes that have none, and so no
// port to offer them at.
func StartTraces(ctx context.Context, service string) (*Env, error) {
	return start(ctx, &Env{traced: wanted("TRACES")}, service, false)
}

func start(ctx context.Context, e *Env, service string, metrics bool) (*Env, error) {
	if !e.traced && !metrics {
		return e, nil
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", service)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) { // what cannot be told of this host is left out
		return nil, fmt.Errorf("otelenv: resource: %w", err)
	}
	if e.traced {
		if err := e.traces(ctx, res); err != nil {
			return nil, errors.Join(err, e.Shutdown(ctx))
		}
	}
	if metrics {
		if err := e.metrics(ctx, res); err != nil {
			return nil, errors.Join(err, e.Shutdown(ctx))
		}
	}
	if e.telemetry, err = telemetry.New(telemetry.Options{}); err != nil {
		return nil, errors.Join(err, e.Shutdown(ctx))
	}
	return e, nil
}

// wanted tells whether a signal is to be exported.
func wanted(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) != ""
}

func (e *Env) traces(ctx context.Context, res *resource.Resource) error {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("otelenv: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_*: %w", err)
	}
	var batches []sdktrace.BatchSpanProcessorOption
	if os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE") == "" {
		batches = append(batches, sdktrace.WithMaxQueueSize(queue))
	}
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithIDGenerator(telemetry.IDGenerator())}
	if e.taken != nil {
		e.taken.SpanExporter, exporter = exporter, e.taken
		batches = append(batches, sdktrace.WithBlocking())
		opts = append(opts, sdktrace.WithSampler(telemetry.Sampler(sdktrace.AlwaysSample())))
	}
	p := sdktrace.NewTracerProvider(append(opts, sdktrace.WithBatcher(exporter, batches...))...)
	e.parts = append(e.parts, inTurn(p))
	otel.SetTracerProvider(p)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	return nil
}

func (e *Env) metrics(ctx context.Context, res *resource.Resource) error {
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return fmt.Errorf("otelenv: OTEL_METRICS_EXPORTER or OTEL_EXPORTER_OTLP_*: %w", err)
	}
	p := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(reader))
	e.parts = append(e.parts, inTurn(p))
	otel.SetMeterProvider(p)
	return nil
}

// Observer is what to give to an engine; nil when nothing is exported.
func (e *Env) Observer() durable.Observer {
	if e == nil || e.telemetry == nil {
		return nil // and no interface that holds one
	}
	return e.telemetry
}

// turns flushes a provider once at a time, and bounds how long it is waited for,
// not the export itself: what the SDK has taken out of its queue is lost when the
// export is given up. The exporter's own timeouts end it.
type turns struct {
	part
	turn chan struct{}
}

func inTurn(p part) part { return &turns{p, make(chan struct{}, 1)} }

func (t *turns) ForceFlush(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-t.turn }()
		done <- t.part.ForceFlush(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ForceFlush exports what is there, for hosts that are about to be frozen. It
// returns when that is done, when ctx ends, or after FlushTimeout; what is left
// then goes with the next export, if there is one.
func (e *Env) ForceFlush(ctx context.Context) error {
	return e.bounded(ctx, "flush", part.ForceFlush)
}

// Shutdown exports what is there, within the same bounds, and ends exporting. What
// is left then is lost.
func (e *Env) Shutdown(ctx context.Context) error {
	return e.bounded(ctx, "shutdown", part.Shutdown)
}

// bounded asks all parts at once, and waits only so long, whatever they do.
func (e *Env) bounded(ctx context.Context, what string, do func(part, context.Context) error) error {
	if e == nil || len(e.parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, FlushTimeout)
	defer cancel()
	done := make(chan error, len(e.parts))
	for _, p := range e.parts {
		go func() { done <- do(p, ctx) }()
	}
	var errs []error
	for range e.parts {
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, context.Cause(ctx))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("otelenv: %s: %w", what, err)
	}
	return nil
}
