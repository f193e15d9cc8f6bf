package telemetry

import (
	"context"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// tell exports what the journal of an execution that has ended says: its own
// span, and one for each operation.
func (t *Telemetry) tell(ctx context.Context, rec *durable.Record) error {
	ops, err := durable.Operations(rec)
	if err != nil {
		return err
	}
	r := t.rootOf(context.WithoutCancel(ctx), &rec.Identity)
	told := byOperation(rec)
	t.execution(r, rec, told[""])
	run := runOf(rec)
	for i := range ops {
		t.operation(r, &ops[i], run, rec, told[strconv.FormatInt(ops[i].Number, 10)])
	}
	return nil
}

// runOf is the run of ContinueAsNew that a record's journal is of.
func runOf(rec *durable.Record) int64 {
	if len(rec.Journal) > 0 && rec.Journal[0].Kind == durable.EntryContinued {
		return int64(rec.Journal[0].Attempt)
	}
	return 1
}

// byOperation sorts the history's events by the operation that they are about.
func byOperation(rec *durable.Record) map[string][]durable.Event {
	told := map[string][]durable.Event{}
	for e := range durable.History(rec) {
		told[e.Operation] = append(told[e.Operation], e)
	}
	return told
}

func (t *Telemetry) execution(r *root, rec *durable.Record, events []durable.Event) {
	attrs := append(identify(&rec.Identity), attribute.String("clew.status", rec.Status.String()),
		attribute.Int64("clew.activations", rec.Activations), attribute.Int64("clew.cost.write_units", rec.Usage.WriteUnits+rec.Usage.IndexUnits))
	if forward, unwind, ok := strings.Cut(rec.Detail, "/"); ok && strings.HasPrefix(rec.Fingerprint, durable.SagaFingerprint) {
		attrs = append(attrs, attribute.String("clew.saga.forward", forward), attribute.String("clew.saga.unwind", unwind))
	}
	if t.opts.Payloads {
		attrs = append(attrs, attribute.String("clew.input", string(rec.Input)), attribute.String("clew.result", string(rec.Result)))
	}
	parent := r.starter
	if rec.Parent.ID != "" {
		parent = r.of(rec.Parent.ID, kindExecution)
	}
	_, span := t.start(r.ctx, r, parent, []int64{kindExecution}, rec.Definition, trace.WithTimestamp(rec.Created), trace.WithAttributes(attrs...))
	for _, e := range events {
		if what := notable(&e); what != nil {
			span.AddEvent(e.Type, trace.WithTimestamp(e.At), trace.WithAttributes(what...))
		}
	}
	if rec.Status != durable.StatusSucceeded && rec.Error != nil {
		fail(span, rec.Error)
	} else {
		span.SetStatus(codes.Ok, "")
	}
	span.End(trace.WithTimestamp(rec.Ended))
}

// notable are the attributes of an event that a span should have; nil when it
// tells nothing that the span does not.
func notable(e *durable.Event) []attribute.KeyValue {
	switch e.Type {
	case "ExecutionParked", "OperatorActed", "CancelRequested", "TerminateRequested", "SignalReceived", "SagaRejected", "SagaCommitted", "UnwindStarted", "UnwindCompleted", "ExecutionContinued":
	default:
		return nil
	}
	attrs := []attribute.KeyValue{}
	for name, v := range map[string]string{"name": e.Name, "reason": e.Details.Reason, "verb": e.Details.Verb, "actor": e.Details.Actor, "target": e.Details.Target} {
		if v != "" {
			attrs = append(attrs, attribute.String("clew.event."+name, v))
		}
	}
	return attrs
}

func (t *Telemetry) operation(r *root, op *durable.OperationInfo, run int64, rec *durable.Record, events []durable.Event) {
	parent := r.at(kindExecution)
	if op.Parent != 0 {
		parent = r.at(kindOperation, run, op.Parent)
	}
	subtype := op.Subtype
	if subtype == "" {
		subtype = op.Type.String()
	}
	opts := []trace.SpanStartOption{trace.WithTimestamp(op.Started), trace.WithAttributes(append(identify(&rec.Identity),
		attribute.String("clew.operation.name", op.Name), attribute.String("clew.operation.type", op.Type.String()), attribute.String("clew.operation.subtype", subtype),
		attribute.Int64("clew.operation.number", op.Number), attribute.Int("clew.attempts", op.Attempts))...)}
	if op.Link != 0 {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: r.at(kindOperation, run, op.Link),
			Attributes: []attribute.KeyValue{attribute.String("clew.link", strings.ToLower(subtype))}}))
	}
	_, span := t.start(r.ctx, r, parent, []int64{kindOperation, run, op.Number}, nameOf(op.Name, op.Type, op.Subtype), opts...)
	for _, e := range events {
		t.eventOf(span, &e)
	}
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
		ended = rec.Ended
	}
	span.End(trace.WithTimestamp(ended))
}

// eventOf adds what happened on the operation's way: attempts that failed, and
// what people did about it.
func (t *Telemetry) eventOf(span trace.Span, e *durable.Event) {
	if what := notable(e); what != nil {
		span.AddEvent(e.Type, trace.WithTimestamp(e.At), trace.WithAttributes(what...))
		return
	}
	if d := e.Details.RetryDetails; d != nil && d.NextAttemptDelaySeconds != nil {
		attrs := []attribute.KeyValue{attribute.Int("clew.attempt", d.CurrentAttempt), attribute.Int64("clew.next_attempt_delay", *d.NextAttemptDelaySeconds)}
		if e.Details.Error != nil {
			attrs = append(attrs, attribute.String("error.type", e.Details.Error.Payload.ErrorType))
		}
		span.AddEvent("retry", trace.WithTimestamp(e.At), trace.WithAttributes(attrs...))
	}
	if t.opts.Payloads && e.Details.Result != nil {
		span.SetAttributes(attribute.String("clew.result", e.Details.Result.Payload))
	}
}
