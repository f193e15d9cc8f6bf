package telemetry

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// scope names the instrumentation.
const scope = "github.com/clewdev/clew/telemetry"

// Options configure a Telemetry. Zero fields take what is set globally.
type Options struct {
	// TracerProvider must have been made with IDGenerator. If its sampler does
	// not decide by the parent or the trace ID alone, or with PerActivation, put
	// the sampler into Sampler.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Propagator carries the starter's context in the record. Default W3C trace
	// context and baggage.
	Propagator propagation.TextMapPropagator
	// Payloads puts inputs and results into spans. They may hold what should not
	// leave the store.
	Payloads bool
	// PerActivation makes each activation a trace of its own, linked to that of
	// the execution: for executions so long that one trace of all would be too
	// large for a backend.
	PerActivation bool
}

// Telemetry is a durable.StartObserver. It is safe for concurrent use. It blocks
// on nothing but the provider's span processor, which for a batching one is never.
type Telemetry struct {
	opts   Options
	tracer trace.Tracer
	meters *meters
}

var _ durable.StartObserver = (*Telemetry)(nil)

// ErrIDGenerator: the TracerProvider gives spans random IDs.
var ErrIDGenerator = errors.New("telemetry: the TracerProvider was made without clew's IDs: pass sdktrace.WithIDGenerator(telemetry.IDGenerator()) to NewTracerProvider")

// New returns an observer. ErrIDGenerator when the TracerProvider cannot give
// spans the IDs that are asked for; one that makes no spans at all is fine.
func New(opts Options) (*Telemetry, error) {
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.Propagator == nil {
		opts.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	t := &Telemetry{opts: opts, tracer: opts.TracerProvider.Tracer(scope)}
	probe := seedOf("probe")
	if got := t.probe(&wanted{trace: probe.trace, span: probe.span()}, "clew probe"); got.IsValid() && (got.TraceID() != probe.trace || got.SpanID() != probe.span()) {
		return nil, ErrIDGenerator
	}
	var err error
	if t.meters, err = newMeters(opts.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return t, nil
}

// probe returns what a span would be. It is never ended, so never exported.
func (t *Telemetry) probe(w *wanted, name string) trace.SpanContext {
	_, span := t.tracer.Start(&wanting{context.Background(), *w}, name)
	return span.SpanContext()
}

// Observe implements durable.Observer.
func (t *Telemetry) Observe(ctx context.Context, o *durable.Observation) context.Context {
	t.meters.observe(ctx, o)
	switch o.Kind {
	case durable.ObserveActivationStart:
		return t.activationStarts(ctx, o)
	case durable.ObserveActivationEnd:
		t.activationEnds(ctx, o)
	case durable.ObserveAttemptStart:
		return t.attemptStarts(ctx, o)
	case durable.ObserveAttemptEnd:
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			fail(span, o.Err)
			span.End(trace.WithTimestamp(o.At))
		}
	case durable.ObserveRunEnd:
		t.runEnds(ctx, o)
	}
	return ctx
}

func (t *Telemetry) activationStarts(ctx context.Context, o *durable.Observation) context.Context {
	r := t.rootOf(ctx, o.Execution)
	within := context.WithValue(r.ctx, rootKey{}, r)
	if !r.flags.IsSampled() {
		return within
	}
	s := &spec{name: "activation " + o.Execution.Definition, at: o.At, id: r.span(kindActivation, o.Epoch), trace: r.trace, parent: r.at(r.span(kindExecution))}
	if t.opts.PerActivation {
		s.links = []trace.Link{{SpanContext: s.parent}}
		s.trace, s.parent = r.activation(o.Epoch), trace.SpanContext{}
	}
	ctx, span := t.start(within, s)
	r.describe(span, func(attrs []attribute.KeyValue) []attribute.KeyValue {
		return append(attrs, r.version, attribute.Int64("clew.activation", o.Epoch))
	})
	return ctx
}

func (t *Telemetry) activationEnds(ctx context.Context, o *durable.Observation) {
	if o.Unborn {
		return // and its span never ends, so nobody hears of it
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		if o.Err != nil {
			fail(span, o.Err)
		} else {
			span.SetAttributes(append(sagaStatus(o.Execution, o.Detail), attribute.String("clew.status", o.Status.String()))...)
			if o.Park != nil {
				span.AddEvent("ExecutionParked", trace.WithTimestamp(o.At), trace.WithAttributes(parked(o.Park)...))
			}
		}
		span.End(trace.WithTimestamp(o.At))
	}
	if !o.Status.Ended() {
		return
	}
	r := t.rootIn(ctx, o.Execution)
	if !r.flags.IsSampled() && !o.Bills {
		t.meters.ended(ctx, o, durable.Usage{})
		return
	}
	rec := o.Record()
	t.meters.ended(ctx, o, rec.Usage)
	if r.flags.IsSampled() {
		t.tell(r, rec, o.Operations(), nil)
	}
}

// runEnds exports the operations of a run of ContinueAsNew that has ended.
func (t *Telemetry) runEnds(ctx context.Context, o *durable.Observation) {
	if r := t.rootIn(ctx, o.Execution); r.flags.IsSampled() {
		t.tellRun(r, o.Record(), o.Operations(), o.At, nil, nil)
	}
}

func (t *Telemetry) attemptStarts(ctx context.Context, o *durable.Observation) context.Context {
	r := t.rootIn(ctx, o.Execution)
	if !r.flags.IsSampled() {
		return ctx // which says so
	}
	s := &spec{
		name: "attempt " + nameOf(o.Name, o.Type, o.Subtype), at: o.At, trace: r.trace, parent: r.at(r.span(kindOperation, o.Run, o.Operation)),
		// By its time too, for the rare attempt that runs twice under one claim.
		id: r.span(kindAttempt, o.Run, o.Operation, int64(o.Attempt), o.Epoch, o.At.UnixMicro()),
	}
	if t.opts.PerActivation {
		s.links = []trace.Link{{SpanContext: s.parent}}
		s.parent = trace.SpanContextFromContext(ctx)
		s.trace = s.parent.TraceID()
	}
	ctx, span := t.start(ctx, s)
	r.describe(span, func(attrs []attribute.KeyValue) []attribute.KeyValue {
		attrs = append(attrs, attribute.String("clew.operation.name", o.Name), attribute.Int64("clew.operation.number", o.Operation),
			attribute.Int("clew.attempt", o.Attempt), attribute.Int64("clew.activation", o.Epoch))
		if o.Path != o.Name {
			attrs = append(attrs, attribute.String("clew.operation.path", o.Path))
		}
		return withSubtype(attrs, o.Subtype)
	})
	return ctx
}

// withSubtype adds what an operation is, where that is more than its type. What
// goes without saying is not said: each attribute is paid for by each span.
func withSubtype(attrs []attribute.KeyValue, subtype string) []attribute.KeyValue {
	if subtype == "" {
		return attrs
	}
	return append(attrs, attribute.String("clew.operation.subtype", subtype))
}

// nameOf is what a span about an operation is called.
func nameOf(name string, typ durable.OpType, subtype string) string {
	switch {
	case name == "":
		return typ.String()
	case subtype == durable.SubtypeUndo:
		return "undo " + name
	case typ == durable.OpPark:
		return "parked at " + name
	}
	return name
}

// fail marks a span as failed.
func fail(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("error.type", errorType(err)))
	span.SetStatus(codes.Error, err.Error())
}

// errorType names an error as histories do. There are few such names.
func errorType(err error) string {
	var stored *durable.Error
	switch {
	case errors.Is(err, durable.ErrFenced):
		return "fenced"
	case errors.Is(err, durable.ErrHostGone):
		return "host-gone"
	case errors.As(err, &stored) && stored.ErrorType() != "":
		return stored.ErrorType()
	}
	return fmt.Sprintf("%T", err)
}
