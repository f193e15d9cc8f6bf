package telemetry

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// events adds to the spans of a run what happened on the way: what its history
// has, and retries and doubt, which the journal knows.
func (x *telling) events() {
	doubted := make([]bool, len(x.spans))
	attempts := make([]int, len(x.spans))
	for i := range x.rec.Journal {
		e := &x.rec.Journal[i]
		if e.Op == 0 {
			continue
		}
		if e.Kind == durable.EntryStart {
			attempts[e.Op-1] = e.Attempt
			continue
		}
		span, attempt := x.spans[e.Op-1], attempts[e.Op-1]
		if why := doubt(e, attempt); why != "" && !doubted[e.Op-1] {
			doubted[e.Op-1] = true
			x.event(span, e, "doubt", attribute.Int("clew.attempt", attempt), attribute.String("clew.event.reason", why))
		}
		switch {
		case !e.Retry:
		case e.Kind == durable.EntryResult:
			x.event(span, e, "poll", attribute.Int("clew.attempt", attempt), attribute.Float64("clew.next_attempt_delay", e.Delay.Seconds()))
		default:
			x.event(span, e, "retry", attribute.Int("clew.attempt", attempt), attribute.Float64("clew.next_attempt_delay", e.Delay.Seconds()), attribute.String("error.type", failureType(e)))
		}
	}
	for e := range durable.Milestones(x.rec) {
		e.At = x.within(e.At)
		addEvent(x.spanOf(&e), &e)
	}
	if x.opts.Payloads {
		x.payloads()
	}
}

// spanOf is the span that an event belongs to.
func (x *telling) spanOf(e *durable.Event) trace.Span {
	if n, err := strconv.Atoi(e.Operation); err == nil && n <= len(x.spans) {
		return x.spans[n-1]
	}
	return x.above
}

// payloads adds the results of operations.
func (x *telling) payloads() {
	for e := range durable.History(x.rec) {
		if e.Operation != "" && e.Details.Result != nil {
			x.spanOf(&e).SetAttributes(attribute.String("clew.result", e.Details.Result.Payload))
		}
	}
}

func (x *telling) event(span trace.Span, e *durable.Entry, name string, attrs ...attribute.KeyValue) {
	span.AddEvent(name, trace.WithTimestamp(x.within(e.At)), trace.WithAttributes(attrs...))
}

// doubt says why an entry leaves it unknown whether an attempt took effect; ""
// when it does not.
func doubt(e *durable.Entry, attempt int) string {
	switch {
	case e.NoEffect || attempt == 0:
	case e.Kind == durable.EntryLost:
		return "lost"
	case e.Kind == durable.EntryTimeout:
		return "timed-out"
	case e.Kind == durable.EntryFailure:
		return "failed"
	case e.Kind == durable.EntryCancel:
		return "cancelled"
	}
	return ""
}

func failureType(e *durable.Entry) string {
	switch {
	case e.Error != nil:
		return e.Error.ErrorType()
	case e.Kind == durable.EntryTimeout:
		return "Step.Timeout"
	}
	return "Step.Lost"
}

// addEvent adds an event of the history to a span.
func addEvent(span trace.Span, e *durable.Event) {
	var attrs []attribute.KeyValue
	for _, a := range [...]struct{ name, v string }{{"name", e.Name}, {"reason", e.Details.Reason}, {"message", e.Details.Message},
		{"verb", e.Details.Verb}, {"actor", e.Details.Actor}, {"target", e.Details.Target}} {
		if a.v != "" {
			attrs = append(attrs, attribute.String("clew.event."+a.name, a.v))
		}
	}
	if len(e.Details.Left) > 0 {
		attrs = append(attrs, attribute.StringSlice("clew.event.left", e.Details.Left))
	}
	span.AddEvent(e.Type, trace.WithTimestamp(e.At), trace.WithAttributes(attrs...))
}

// parked are the attributes of the event of a parking, as it happens.
func parked(p *durable.Park) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String("clew.event.name", p.Operation), attribute.String("clew.event.reason", string(p.Reason)), attribute.String("clew.event.message", p.Message)}
}
