// Package telemetry tells OpenTelemetry what an engine does: traces, metrics and
// the correlation of logs. It is an observer of package durable.
//
//	provider := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator()), …)
//	t, err := telemetry.New(telemetry.Options{TracerProvider: provider})
//	…
//	engine, err := durable.New(store, durable.Options{Observer: t})
//	order.Start(ctx, engine, id, in, t.StartOption(ctx))
//
// An execution is one trace, over all activations on all hosts: that of its
// starter, whose context StartOption keeps with the execution, or one that is
// derived from its ID. Span IDs are derived too, so that each host can name a
// parent that another host will export. Activations and attempts are exported as
// they happen; the execution, its operations and undos from the journal, when it
// has ended, with one read of the record. What a killed process was about to
// export, its activation and its attempts, is missing; their parents are not.
//
// Payloads are in no span unless Options.Payloads says so.
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
	// TracerProvider must have been made with IDGenerator.
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

// Telemetry is a durable.Observer. It is safe for concurrent use. It blocks on
// nothing but the provider's span processor, which for a batching one is never.
type Telemetry struct {
	opts   Options
	tracer trace.Tracer
	meters *meters
}

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
	probe := wanted{derivedTrace("probe"), derivedSpan("probe")}
	_, span := t.tracer.Start(context.WithValue(context.Background(), wantedKey{}, probe), "clew probe") // never ended, so never exported
	if got := span.SpanContext(); got.IsValid() && (got.TraceID() != probe.trace || got.SpanID() != probe.span) {
		return nil, ErrIDGenerator
	}
	var err error
	if t.meters, err = newMeters(opts.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return t, nil
}

// StartOption keeps the trace context and baggage of ctx with an execution that
// is about to be started, whose spans then belong to that trace.
func (t *Telemetry) StartOption(ctx context.Context) durable.StartOption {
	carrier := propagation.MapCarrier{}
	t.opts.Propagator.Inject(ctx, carrier)
	return durable.WithTrace(carrier)
}

// root is where an execution belongs.
type root struct {
	ctx      context.Context   // with the starter's baggage, and span if it had one
	starter  trace.SpanContext // invalid when it had none
	trace    trace.TraceID
	flags    trace.TraceFlags
	identity *durable.Identity
}

func (t *Telemetry) rootOf(ctx context.Context, id *durable.Identity) *root {
	ctx = t.opts.Propagator.Extract(ctx, propagation.MapCarrier(id.Trace))
	r := &root{ctx: ctx, identity: id, trace: derivedTrace(id.ID), flags: trace.FlagsSampled}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && len(id.Trace) > 0 {
		r.starter, r.trace, r.flags = sc, sc.TraceID(), sc.TraceFlags()
	}
	return r
}

// at is the context of a span of the execution, which may not exist yet.
func (r *root) at(parts ...int64) trace.SpanContext { return r.of(r.identity.ID, parts...) }

func (r *root) of(execution string, parts ...int64) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: r.trace, SpanID: derivedSpan(execution, parts...), TraceFlags: r.flags, Remote: true})
}

// start starts a span with a derived ID under a parent.
func (t *Telemetry) start(ctx context.Context, r *root, parent trace.SpanContext, parts []int64, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.startIn(ctx, r.trace, derivedSpan(r.identity.ID, parts...), parent, name, opts...)
}

func (t *Telemetry) startIn(ctx context.Context, in trace.TraceID, id trace.SpanID, parent trace.SpanContext, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx = trace.ContextWithSpanContext(ctx, parent)
	ctx, span := t.tracer.Start(context.WithValue(ctx, wantedKey{}, wanted{in, id}), name, opts...)
	return context.WithValue(ctx, wantedKey{}, nil), span // what bodies start has IDs of its own
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
		span := trace.SpanFromContext(ctx)
		fail(span, o.Err)
		span.End(trace.WithTimestamp(o.At))
	}
	return ctx
}

func (t *Telemetry) activationStarts(ctx context.Context, o *durable.Observation) context.Context {
	r := t.rootOf(ctx, o.Execution)
	attrs := trace.WithAttributes(append(identify(o.Execution), attribute.Int64("clew.activation", o.Epoch))...)
	name, parts := "activation "+o.Execution.Definition, []int64{kindActivation, o.Epoch}
	if t.opts.PerActivation {
		ctx, _ = t.startIn(r.ctx, derivedTrace(o.Execution.ID, o.Epoch), derivedSpan(o.Execution.ID, parts...), trace.SpanContext{}, name,
			attrs, trace.WithTimestamp(o.At), trace.WithLinks(trace.Link{SpanContext: r.at(kindExecution)}))
		return ctx
	}
	ctx, _ = t.start(r.ctx, r, r.at(kindExecution), parts, name, attrs, trace.WithTimestamp(o.At))
	return ctx
}

func (t *Telemetry) activationEnds(ctx context.Context, o *durable.Observation) {
	span := trace.SpanFromContext(ctx)
	if o.Err != nil {
		fail(span, o.Err)
	} else {
		span.SetAttributes(attribute.String("clew.status", o.Status.String()))
	}
	span.End(trace.WithTimestamp(o.At))
	if !o.Status.Ended() || o.Record == nil {
		return
	}
	rec, err := o.Record()
	if err != nil {
		otel.Handle(fmt.Errorf("telemetry: the spans of execution %q are lost: %w", o.Execution.ID, err))
		return
	}
	t.meters.ended(ctx, rec)
	if err := t.tell(ctx, rec); err != nil {
		otel.Handle(fmt.Errorf("telemetry: the spans of execution %q are lost: %w", o.Execution.ID, err))
	}
}

func (t *Telemetry) attemptStarts(ctx context.Context, o *durable.Observation) context.Context {
	r := t.rootOf(ctx, o.Execution)
	parent, in := r.at(kindOperation, o.Run, o.Operation), r.trace
	opts := []trace.SpanStartOption{
		trace.WithTimestamp(o.At),
		trace.WithAttributes(append(identify(o.Execution), attribute.String("clew.operation.name", o.Name), attribute.String("clew.operation.path", o.Path), attribute.Int("clew.attempt", o.Attempt))...),
	}
	if t.opts.PerActivation {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: parent}))
		parent = trace.SpanContextFromContext(ctx)
		in = parent.TraceID()
	}
	ctx, _ = t.startIn(ctx, in, derivedSpan(o.Execution.ID, kindAttempt, o.Run, o.Operation, int64(o.Attempt), o.Epoch), parent, "attempt "+nameOf(o.Name, o.Type, o.Subtype), opts...)
	return ctx
}

func identify(id *durable.Identity) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("clew.execution.id", id.ID), attribute.String("clew.definition", id.Definition), attribute.String("clew.definition.version", id.Version),
	}
}

func nameOf(name string, typ durable.OpType, subtype string) string {
	switch {
	case name == "":
		name = typ.String()
	case subtype == durable.SubtypeUndo:
		return "undo " + name
	}
	return name
}

// fail marks a span as failed.
func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	kind := fmt.Sprintf("%T", err)
	var stored *durable.Error
	if errors.As(err, &stored) && stored.Type != "" {
		kind = stored.Type
	}
	span.SetAttributes(attribute.String("error.type", kind))
	span.SetStatus(codes.Error, err.Error())
}
