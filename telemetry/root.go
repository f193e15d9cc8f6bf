package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// root is where the spans of an execution belong.
type root struct {
	seed
	ctx     context.Context   // with the starter's baggage, and span if it had one
	starter trace.SpanContext // invalid when it had none
	trace   trace.TraceID
	flags   trace.TraceFlags
	id      string
	same    [2]attribute.KeyValue // of all its spans
	version attribute.KeyValue
}

type rootKey struct{}

// rootOf reads from the record where an execution's spans belong.
func (t *Telemetry) rootOf(ctx context.Context, id *durable.Identity) *root {
	r := &root{ctx: ctx, id: id.ID, flags: trace.FlagsSampled}
	var sc trace.SpanContext
	if len(id.Trace) > 0 {
		if trace.SpanContextFromContext(ctx).IsValid() { // a span of whoever tells, which a record of baggage alone would leave there
			ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
		}
		r.ctx = t.opts.Propagator.Extract(ctx, propagation.MapCarrier(id.Trace))
		sc = trace.SpanContextFromContext(r.ctx)
	}
	if sc.IsValid() && !sc.IsSampled() {
		r.trace, r.flags, r.starter = sc.TraceID(), sc.TraceFlags(), sc
		return r // it has no spans, and r.ctx says so
	}
	r.seed, r.version = seedOf(id.ID), attribute.String("clew.definition.version", id.Version)
	r.same = [2]attribute.KeyValue{attribute.String("clew.execution.id", id.ID), attribute.String("clew.definition", id.Definition)}
	r.trace = r.seed.trace
	if !sc.IsValid() {
		return r
	}
	r.trace, r.flags = sc.TraceID(), sc.TraceFlags()
	if sc.SpanID() != r.span(kindExecution) { // else there was no starter, and it says only that it is sampled
		r.starter = sc
	}
	return r
}

// rootIn is rootOf in the context of an activation, which has it already.
func (t *Telemetry) rootIn(ctx context.Context, id *durable.Identity) *root {
	if r, ok := ctx.Value(rootKey{}).(*root); ok && r.id == id.ID {
		return r
	}
	return t.rootOf(ctx, id)
}

// at is the context of a span of the execution, which may not exist yet.
func (r *root) at(id trace.SpanID) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: r.trace, SpanID: id, TraceFlags: r.flags, TraceState: r.starter.TraceState(), Remote: true})
}

// StartOption keeps the trace context and baggage of ctx with an execution that
// is about to be started by an engine that does not have this observer. One that
// has keeps them by itself. Where ctx has no span the sampler is asked, as about a
// span "clew start", and what it says holds for the execution.
func (t *Telemetry) StartOption(ctx context.Context) durable.StartOption {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		traceID, spanID := generator{}.NewIDs(context.Background()) // those of the execution are not known here
		ctx = t.decided(ctx, &wanted{trace: traceID, span: spanID}, "clew start")
	}
	return durable.WithTrace(t.carry(ctx))
}

// most is how much of a carrier an execution keeps.
const most = 4 << 10

// carry writes a context as the record keeps it: without its baggage if that is
// too much to keep.
func (t *Telemetry) carry(ctx context.Context) map[string]string {
	carrier := propagation.MapCarrier{}
	t.opts.Propagator.Inject(ctx, carrier)
	size := 0
	for name, v := range carrier {
		size += len(name) + len(v)
	}
	if size > most {
		delete(carrier, "baggage")
	}
	return carrier
}

// ObserveStart implements durable.StartObserver: it keeps the trace context and
// baggage of whoever starts the execution, or decides whether it is sampled.
func (t *Telemetry) ObserveStart(ctx context.Context, id *durable.Identity, by *durable.Observation) map[string]string {
	if by != nil {
		r := t.rootIn(ctx, by.Execution)
		ctx = trace.ContextWithRemoteSpanContext(r.ctx, r.at(r.span(kindOperation, by.Run, by.Operation)))
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		s := seedOf(id.ID)
		ctx = t.decided(ctx, &wanted{trace: s.trace, span: s.span(kindExecution)}, id.Definition)
	}
	return t.carry(ctx)
}

// decided asks the sampler about an execution that begins in no span. If it is
// sampled that follows from nothing being kept.
func (t *Telemetry) decided(ctx context.Context, w *wanted, name string) context.Context {
	if sc := t.probe(w, name); sc.IsValid() && !sc.IsSampled() {
		return trace.ContextWithSpanContext(ctx, sc)
	}
	return ctx
}

// spec says what span to start.
type spec struct {
	name   string
	at     time.Time
	trace  trace.TraceID
	id     trace.SpanID
	parent trace.SpanContext
	links  []trace.Link
}

// start starts a span under the parent that s has.
func (t *Telemetry) start(ctx context.Context, s *spec) (context.Context, trace.Span) {
	return t.startIn(trace.ContextWithSpanContext(ctx, s.parent), s)
}

// startIn starts a span in a context that has its parent.
func (t *Telemetry) startIn(ctx context.Context, s *spec) (context.Context, trace.Span) {
	opts := make([]trace.SpanStartOption, 1, 2)
	opts[0] = trace.WithTimestamp(s.at)
	if len(s.links) > 0 {
		opts = append(opts, trace.WithLinks(s.links...))
	}
	w := &wanting{ctx, wanted{trace: s.trace, span: s.id, sampled: true}}
	ctx, span := t.tracer.Start(w, s.name, opts...)
	w.taken, w.heard = true, true // also if the provider makes no spans: what bodies start has IDs of its own
	return ctx, span
}

// buffers are for attributes on their way into a span, which copies them.
var buffers = sync.Pool{New: func() any { return new([16]attribute.KeyValue) }}

// describe gives a span the attributes that all spans of the execution have, and
// those that add adds.
func (r *root) describe(span trace.Span, add func([]attribute.KeyValue) []attribute.KeyValue) {
	if !span.IsRecording() {
		return
	}
	buf := buffers.Get().(*[16]attribute.KeyValue)
	span.SetAttributes(add(append(buf[:0], r.same[:]...))...)
	clear(buf[:])
	buffers.Put(buf)
}
