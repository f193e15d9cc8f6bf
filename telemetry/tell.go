package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// ErrNotEnded: the execution goes on, and will be told of when it has ended.
var ErrNotEnded = errors.New("telemetry: the execution has not ended")

// ErrNotSampled: when the execution was created it was decided not to export it, which
// holds for all hosts.
var ErrNotSampled = errors.New("telemetry: the execution is not sampled")

// Tell exports what the record of an execution that has ended says, which must
// have been loaded whole (durable.LoadAll): its own span, and those of its
// operations and undos. It is for executions whose host died after their end and
// before its export, and for those from before there was telemetry. Told twice,
// they are the same spans, by their IDs. Metrics do not count them. ErrNotEnded;
// ErrNotSampled. It hands spans to the provider, and flushes it only in between,
// so that one of thousands of operations fits into a queue; TellEnded tells many,
// and flushes at the end too.
func (t *Telemetry) Tell(ctx context.Context, rec *durable.Record) error {
	p := t.paced(ctx)
	if err := t.tellPaced(ctx, rec, p); err != nil {
		return err
	}
	return p.err
}

func (t *Telemetry) tellPaced(ctx context.Context, rec *durable.Record, p *pace) error {
	r := t.rootOf(context.WithoutCancel(ctx), &rec.Identity)
	switch {
	case !rec.Status.Ended():
		return fmt.Errorf("%w: %q is %v", ErrNotEnded, rec.ID, rec.Status)
	case !r.flags.IsSampled():
		return fmt.Errorf("%w: %q", ErrNotSampled, rec.ID)
	}
	ops, err := durable.Operations(rec)
	if err != nil {
		return fmt.Errorf("telemetry: %q: %w", rec.ID, err)
	}
	t.tell(r, rec, ops, p)
	return nil
}

// tell exports the execution's own span, and those of its last run.
func (t *Telemetry) tell(r *root, rec *durable.Record, ops []durable.OperationInfo, p *pace) {
	own, end := t.execution(r, rec), rec.Ended
	for i := range ops {
		if ops[i].Ended.After(end) { // where a store keeps the end of an execution to the millisecond
			end = ops[i].Ended
		}
	}
	t.tellRun(r, rec, ops, end, own, p)
	if rec.Status != durable.StatusSucceeded && rec.Error != nil {
		fail(own, rec.Error)
	}
	p.end(own, end)
}

// runOf is the run of ContinueAsNew that a record's journal is of, and when it
// began.
func runOf(rec *durable.Record) (int64, time.Time) {
	if len(rec.Journal) > 0 && rec.Journal[0].Kind == durable.EntryContinued {
		return int64(rec.Journal[0].Attempt), rec.Journal[0].At
	}
	return 1, rec.Created
}

// tellRun exports the spans of the operations that a record's journal has. What
// has not ended ends with the run. own is the execution's span, nil while it goes
// on in another run.
func (t *Telemetry) tellRun(r *root, rec *durable.Record, ops []durable.OperationInfo, end time.Time, own trace.Span, p *pace) {
	run, began := runOf(rec)
	x := &telling{Telemetry: t, root: r, rec: rec, run: run, end: end, pace: p, above: own, spans: make([]trace.Span, len(ops))}
	top := r.at(r.span(kindExecution))
	if run > 1 || own == nil { // one of several: it gets a span of its own
		s := &spec{name: "run " + strconv.FormatInt(run, 10), at: began, trace: r.trace, id: r.span(kindRun, run), parent: top}
		_, x.above = t.start(r.ctx, s)
		r.describe(x.above, func(attrs []attribute.KeyValue) []attribute.KeyValue { return attrs })
		top = r.at(s.id)
		defer func() { p.end(x.above, end) }()
	}
	x.top = trace.ContextWithSpanContext(r.ctx, top)
	for i := range ops {
		x.begin(&ops[i])
	}
	x.events()
	for i := range ops {
		x.finish(&ops[i])
	}
}

// telling is the export of one run.
type telling struct {
	*Telemetry
	*root
	rec   *durable.Record
	run   int64
	end   time.Time
	pace  *pace
	above trace.Span      // that of the execution, or of the run
	top   context.Context // with it as the parent
	spans []trace.Span    // of operations, by number
}

// begin starts the span of an operation.
func (x *telling) begin(op *durable.OperationInfo) {
	s := &spec{name: nameOf(op.Name, op.Type, op.Subtype), at: x.within(op.Started), trace: x.trace, id: x.span(kindOperation, x.run, op.Number)}
	in := x.top
	if op.Parent != 0 {
		in = trace.ContextWithSpanContext(x.ctx, x.at(x.span(kindOperation, x.run, op.Parent)))
	}
	if op.Link != 0 {
		s.links = []trace.Link{{SpanContext: x.at(x.span(kindOperation, x.run, op.Link)),
			Attributes: []attribute.KeyValue{attribute.String("clew.link", strings.ToLower(op.Subtype))}}}
	}
	_, span := x.startIn(in, s)
	x.spans[op.Number-1] = span
	x.describe(span, func(attrs []attribute.KeyValue) []attribute.KeyValue {
		attrs = append(attrs, attribute.String("clew.operation.name", op.Name), attribute.String("clew.operation.type", op.Type.String()),
			attribute.Int64("clew.operation.number", op.Number))
		if op.Attempts > 1 {
			attrs = append(attrs, attribute.Int("clew.attempts", op.Attempts))
		}
		if x.rec.Origin != "" && op.Started.Before(x.rec.Created) { // not by a clock that is behind
			attrs = append(attrs, attribute.Bool("clew.operation.copied", true)) // from the origin of a re-run
		}
		return withSubtype(attrs, op.Subtype)
	})
}

// within is a time that is not before the execution, as those of operations
// are that a re-run has copied.
func (x *telling) within(at time.Time) time.Time {
	if at.Before(x.rec.Created) {
		return x.rec.Created
	}
	return at
}

// finish ends the span of an operation.
func (x *telling) finish(op *durable.OperationInfo) {
	span := x.spans[op.Number-1]
	if op.InDoubt {
		span.SetAttributes(attribute.Bool("clew.in_doubt", true))
	}
	switch {
	case op.Stopped:
		span.SetAttributes(attribute.Bool("clew.cancelled", true))
	case op.Err != nil:
		fail(span, op.Err)
	}
	ended := op.Ended
	if ended.IsZero() {
		ended = x.end
	}
	x.pace.end(span, x.within(ended))
}

// execution starts the execution's own span.
func (t *Telemetry) execution(r *root, rec *durable.Record) trace.Span {
	s := &spec{name: rec.Definition, at: rec.Created, trace: r.trace, id: r.span(kindExecution), parent: r.starter}
	if rec.Origin != "" {
		from := seedOf(rec.Origin)
		origin := trace.NewSpanContext(trace.SpanContextConfig{TraceID: from.trace, SpanID: from.span(kindExecution), TraceFlags: r.flags})
		if r.starter.IsValid() { // which both have, then
			origin = origin.WithTraceID(r.trace)
		}
		s.links = []trace.Link{{SpanContext: origin, Attributes: []attribute.KeyValue{attribute.String("clew.link", "rerun")}}}
	}
	_, span := t.start(r.ctx, s)
	r.describe(span, func(attrs []attribute.KeyValue) []attribute.KeyValue {
		attrs = append(append(attrs, sagaStatus(&rec.Identity, rec.Detail)...), r.version, attribute.String("clew.status", rec.Status.String()), attribute.Int64("clew.activations", rec.Activations))
		if rec.Usage != (durable.Usage{}) {
			attrs = append(attrs, attribute.Int64("clew.cost.write_units", rec.Usage.WriteUnits+rec.Usage.IndexUnits))
		}
		if t.opts.Payloads {
			attrs = append(attrs, attribute.String("clew.input", string(rec.Input)), attribute.String("clew.result", string(rec.Result)))
		}
		return attrs
	})
	return span
}

// sagaStatus are the two axes of a saga's status; none of what is no saga.
func sagaStatus(id *durable.Identity, detail string) []attribute.KeyValue {
	forward, unwind, ok := axes(id, detail)
	if !ok {
		return nil
	}
	return []attribute.KeyValue{attribute.String("clew.saga.forward", forward), attribute.String("clew.saga.unwind", unwind)}
}

func axes(id *durable.Identity, detail string) (forward, unwind string, ok bool) {
	if !strings.HasPrefix(id.Fingerprint, durable.SagaFingerprint) {
		return "", "", false
	}
	return strings.Cut(detail, "/")
}
