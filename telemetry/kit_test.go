package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// hosts are two engines over one store, each with its own provider over one
// exporter.
type hosts struct {
	t       *testing.T
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
	tele    *telemetry.Telemetry // of e
	e       *durable.Engine
	store   *mem.Store
}

func newHosts(t *testing.T, opts telemetry.Options, defs ...durable.Registrable) *hosts {
	t.Helper()
	return newSampled(t, nil, opts, defs...)
}

// newSampled makes hosts whose providers have this sampler, nil for the default.
func newSampled(t *testing.T, s sdktrace.Sampler, opts telemetry.Options, defs ...durable.Registrable) *hosts {
	t.Helper()
	h := &hosts{t: t, spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader(), store: mem.New()}
	opts.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(h.metrics))
	for range 2 {
		provided := []sdktrace.TracerProviderOption{sdktrace.WithSyncer(h.spans), sdktrace.WithIDGenerator(telemetry.IDGenerator())}
		if s != nil {
			provided = append(provided, sdktrace.WithSampler(s))
		}
		opts.TracerProvider = sdktrace.NewTracerProvider(provided...)
		var err error
		if h.tele, err = telemetry.New(opts); err != nil {
			t.Fatal(err)
		}
		if h.e, err = durable.New(h.store, durable.Options{Observer: h.tele, HotWait: -1, PollMax: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if err := h.e.Register(defs...); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func(e *durable.Engine) { defer close(done); _ = e.Run(ctx) }(h.e)
		t.Cleanup(func() { stop(); <-done })
	}
	synctest.Wait()
	return h
}

// runs starts an execution and waits until it has ended, and is told of.
func runs[In, Out any](h *hosts, def *durable.Definition[In, Out], id string, in In, opts ...durable.StartOption) error {
	h.t.Helper()
	x, err := def.Start(h.t.Context(), h.e, id, in, opts...)
	if err != nil {
		h.t.Fatal(err)
	}
	_, err = x.Wait(h.t.Context())
	time.Sleep(time.Second)
	return err
}

func (h *hosts) record(id string) *durable.Record {
	h.t.Helper()
	rec, err := h.store.Load(h.t.Context(), id, durable.LoadAll)
	if err != nil {
		h.t.Fatal(err)
	}
	return rec
}

// act lets an operator act on a parked execution.
func (h *hosts) act(id string, verb durable.Verb) {
	h.t.Helper()
	if err := h.e.Act(h.t.Context(), id, h.record(id).Revision, durable.Decision{Verb: verb, Actor: "ada", Reason: "mended"}); err != nil {
		h.t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
}

// of returns the spans of one execution: those that name it.
func (h *hosts) of(id string) (spans tracetest.SpanStubs) {
	for _, s := range h.spans.GetSpans() {
		if text(s, "clew.execution.id") == id {
			spans = append(spans, s)
		}
	}
	return spans
}

// trip is a saga with a retry, a wait of three days and a refusal at its pivot.
func trip(t *testing.T, refused bool) *saga.Saga[string, string] {
	t.Helper()
	b := saga.New[string, string]("trip", "1")
	failed := false
	saga.Step(b, "flight", func(c saga.Context, _ string) (string, error) {
		_, span := trace.SpanFromContext(c).TracerProvider().Tracer("http").Start(c, "POST /flights")
		defer span.End()
		if !failed {
			failed = true
			return "", errors.New("busy")
		}
		return "f1", nil
	}).Undo(func(saga.UndoContext, string, saga.Maybe[string]) error { return nil })
	saga.Wait(b, "think", 72*time.Hour)
	saga.Pivot(b, "charge", func(saga.Context, string) (string, error) {
		if refused {
			return "", saga.Reject(errors.New("declined"))
		}
		return "paid", nil
	}).ParkInDoubt()
	sg, err := b.Build(func(saga.Context, string) (string, error) { return "gone", nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

func find(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %q among %v", name, named(spans))
	}
	return spans[i]
}

func named(spans tracetest.SpanStubs) map[string]int {
	names := map[string]int{}
	for _, s := range spans {
		names[s.Name]++
	}
	return names
}

func attr(s tracetest.SpanStub, key string) (attribute.Value, bool) {
	for _, kv := range s.Attributes {
		if string(kv.Key) == key {
			return kv.Value, true
		}
	}
	return attribute.Value{}, false
}

// text is an attribute as text, "" if there is none.
func text(s tracetest.SpanStub, key string) string {
	v, ok := attr(s, key)
	if !ok {
		return ""
	}
	return v.String()
}

// told are the events of a span, each with its attributes.
func told(s tracetest.SpanStub) (all []string) {
	for _, e := range s.Events {
		line := e.Name
		for _, kv := range e.Attributes {
			line += " " + strings.TrimPrefix(strings.TrimPrefix(string(kv.Key), "clew."), "event.") + "=" + kv.Value.String()
		}
		all = append(all, line)
	}
	return all
}

// wantTree: all spans are one trace, no ID is there twice, every parent is
// present, and no child begins before it.
func wantTree(t *testing.T, spans tracetest.SpanStubs) {
	t.Helper()
	have := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans {
		if other, twice := have[s.SpanContext.SpanID()]; twice {
			t.Errorf("spans %q and %q have one ID", other.Name, s.Name)
		}
		have[s.SpanContext.SpanID()] = s
	}
	for _, s := range spans {
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("span %q is in another trace than %q", s.Name, spans[0].Name)
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("%q ends before it starts", s.Name)
		}
		if !s.Parent.SpanID().IsValid() {
			continue
		}
		up, ok := have[s.Parent.SpanID()]
		if !ok {
			t.Errorf("the parent of %q is missing", s.Name)
		}
		if s.StartTime.Before(up.StartTime) {
			t.Errorf("%q starts before its parent %q", s.Name, up.Name)
		}
	}
}

// wantOperations: the spans of the operations are the record's, with its times
// and links.
func wantOperations(t *testing.T, spans tracetest.SpanStubs, rec *durable.Record) {
	t.Helper()
	ops, err := durable.Operations(rec)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]tracetest.SpanStub{}
	for _, s := range spans {
		if n := text(s, "clew.operation.number"); n != "" && text(s, "clew.attempt") == "" {
			ids[n] = s
		}
	}
	if len(ids) != len(ops) {
		t.Errorf("%d spans of operations, want %d: %v", len(ids), len(ops), named(spans))
	}
	number := func(n int64) string { return attribute.Int64Value(n).String() }
	for _, op := range ops {
		s := ids[number(op.Number)]
		if !s.StartTime.Equal(op.Started) || !op.Ended.IsZero() && !s.EndTime.Equal(op.Ended) {
			t.Errorf("%q is from %v to %v, want %v to %v", s.Name, s.StartTime, s.EndTime, op.Started, op.Ended)
		}
		switch linked := len(s.Links) == 1 && s.Links[0].SpanContext.SpanID() == ids[number(op.Link)].SpanContext.SpanID(); {
		case op.Link == 0 && len(s.Links) > 0, op.Link != 0 && !linked:
			t.Errorf("%q has links %v, want one to %q", s.Name, s.Links, ids[number(op.Link)].Name)
		}
	}
}
