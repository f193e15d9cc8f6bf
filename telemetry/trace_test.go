package telemetry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/telemetry"
)

// TestOneTrace: an execution over three days and several activations on two hosts
// is one trace, in which every span's parent is present.
func TestOneTrace(t *testing.T) {
	for _, refused := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sg := trip(t, refused)
			h := newHosts(t, telemetry.Options{}, sg)
			provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(h.spans))
			ctx, span := provider.Tracer("shop").Start(t.Context(), "checkout")
			x, err := sg.Start(ctx, h.e, "t1", "ada")
			if err != nil {
				t.Fatal(err)
			}
			span.End()
			_, _ = x.Wait(t.Context())
			time.Sleep(time.Second)
			spans := h.spans.GetSpans()
			wantTree(t, spans)
			wantOperations(t, spans, h.record("t1"))
			want := map[string]int{"checkout": 1, "trip": 1, "flight": 1, "attempt flight": 2, "POST /flights": 2, "think": 1, "charge": 1, "attempt charge": 1, "activation trip": 3}
			if refused {
				want["undo flight"], want["attempt undo flight"] = 1, 1
			}
			names := named(spans)
			for name := range names {
				if names[name] != want[name] {
					t.Errorf("%d spans %q, want %d; there are %v", names[name], name, want[name], names)
				}
			}
			for name, n := range want {
				if names[name] != n {
					t.Errorf("%d spans %q, want %d; there are %v", names[name], name, n, names)
				}
			}
			own, rec := find(t, spans, "trip"), h.record("t1")
			if !own.StartTime.Equal(rec.Created) || !own.EndTime.Equal(rec.Ended) || own.Parent.SpanID() != span.SpanContext().SpanID() {
				t.Errorf("the execution's span is from %v to %v, want %v to %v under the starter's", own.StartTime, own.EndTime, rec.Created, rec.Ended)
			}
			wantStatus(t, h, refused)
		})
	}
}

// TestStartedTwice: a start of what exists leaves no span and no count.
func TestStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{}, sg)
		for range 3 {
			if err := runs(h, sg.Definition, "t1", "ada"); err != nil {
				t.Fatal(err)
			}
		}
		wantTree(t, h.spans.GetSpans())
		if n := named(h.spans.GetSpans())["activation trip"]; n != 3 {
			t.Errorf("%d activations, want 3", n)
		}
		for _, p := range h.points() {
			if p.name == "clew.claims.lost" || p.name == "clew.executions.started" && p.sum != 1 {
				t.Errorf("%v is %v", &p, p.sum)
			}
		}
	})
}

// wantStatus: status and error type follow the semantic conventions: what went
// well says nothing.
func wantStatus(t *testing.T, h *hosts, refused bool) {
	t.Helper()
	for _, s := range h.of("t1") {
		if failed := s.Status.Code == codes.Error; s.Status.Code == codes.Ok || failed != (text(s, "error.type") != "") {
			t.Errorf("%q has status %v and error type %q", s.Name, s.Status, text(s, "error.type"))
		}
	}
	own := find(t, h.spans.GetSpans(), "trip")
	if failed := own.Status.Code == codes.Error; failed != refused {
		t.Errorf("the execution's status is %v, refused %v", own.Status, refused)
	}
	forward, unwind := "committed", "none"
	if refused {
		forward, unwind = "rejected", "complete"
		if got := text(find(t, h.spans.GetSpans(), "charge"), "error.type"); got != "*errors.errorString" {
			t.Errorf("the refusal's error type is %q", got)
		}
	}
	for key, want := range map[string]string{"clew.execution.id": "t1", "clew.definition": "trip", "clew.definition.version": "1",
		"clew.saga.forward": forward, "clew.saga.unwind": unwind, "clew.activations": "3"} {
		if got := text(own, key); got != want {
			t.Errorf("the execution's %s is %q, want %q", key, got, want)
		}
	}
	attempt := find(t, h.spans.GetSpans(), "attempt charge")
	for key, want := range map[string]string{"clew.operation.name": "charge", "clew.operation.path": "",
		"clew.operation.subtype": "Pivot", "clew.operation.number": "3", "clew.attempt": "1", "clew.activation": "3"} {
		if got := text(attempt, key); got != want {
			t.Errorf("the attempt's %s is %q, want %q", key, got, want)
		}
	}
}

// TestBaggage: the starter's baggage reaches the bodies of steps, also those of
// what is invoked; too much of it is left out.
func TestBaggage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := func(c context.Context) (string, error) { return baggage.FromContext(c).Member("tenant").Value(), nil }
		inner := durable.Define("inner", "1", func(ctx *durable.Context, _ int) (string, error) { return durable.Step(ctx, "look", seen) })
		outer := durable.Define("outer", "1", func(ctx *durable.Context, _ int) (string, error) {
			own, err := durable.Step(ctx, "look", seen)
			if err != nil {
				return "", err
			}
			theirs, err := durable.Invoke(ctx, "ask", inner, 1, durable.WithInvokeID("in"))
			return own + " " + theirs, err
		})
		h := newHosts(t, telemetry.Options{}, outer, inner)
		for _, tt := range []struct{ tenant, id, want string }{{"acme", "a", "acme acme"}, {strings.Repeat("x", 5000), "b", " "}} {
			m, err := baggage.NewMember("tenant", tt.tenant)
			if err != nil {
				t.Fatal(err)
			}
			b, err := baggage.New(m)
			if err != nil {
				t.Fatal(err)
			}
			x, err := outer.Start(baggage.ContextWithBaggage(t.Context(), b), h.e, tt.id, 1)
			if err != nil {
				t.Fatal(err)
			}
			if tt.id == "b" { // the inner one is that of a
				continue
			}
			if got, err := x.Wait(t.Context()); got != tt.want || err != nil {
				t.Errorf("bodies saw %.20q, %v; want %q", got, err, tt.want)
			}
		}
		time.Sleep(time.Second)
		if n := len(h.record("b").Trace); n != 0 {
			t.Errorf("%d fields are kept of too much baggage, want 0", n)
		}
	})
}

// TestInvoked: what an execution invokes is in its trace, under the operation
// that invokes it, with a starter and without.
func TestInvoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := durable.Define("inner", "1", func(ctx *durable.Context, n int) (int, error) { return n, durable.Wait(ctx, "w", time.Hour) })
		outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) {
			return durable.Invoke(ctx, "ask", inner, n)
		})
		h := newHosts(t, telemetry.Options{}, outer, inner)
		if err := runs(h, outer, "out", 1); err != nil {
			t.Fatal(err)
		}
		spans := h.spans.GetSpans()
		wantTree(t, spans)
		if in, ask := find(t, spans, "inner"), find(t, spans, "ask"); in.Parent.SpanID() != ask.SpanContext.SpanID() {
			t.Errorf("the invoked execution is under %v, want %v", in.Parent.SpanID(), ask.SpanContext.SpanID())
		}
	})
}

// TestInvokedUnsampled: what a starter that is not sampled says of its trace reaches
// what is invoked.
func TestInvokedUnsampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := durable.Define("inner", "1", func(_ *durable.Context, n int) (int, error) { return n, nil })
		outer := durable.Define("outer", "1", func(ctx *durable.Context, n int) (int, error) {
			return durable.Invoke(ctx, "ask", inner, n, durable.WithInvokeID("in"))
		})
		h := newHosts(t, telemetry.Options{}, outer, inner)
		state, err := trace.ParseTraceState("a=b")
		if err != nil {
			t.Fatal(err)
		}
		starter := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceState: state})
		x, err := outer.Start(trace.ContextWithSpanContext(t.Context(), starter), h.e, "out", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		kept := h.record("in").Trace
		if parent := kept["traceparent"]; !strings.HasPrefix(parent, "00-"+starter.TraceID().String()) || !strings.HasSuffix(parent, "-00") || kept["tracestate"] != "a=b" {
			t.Errorf("it keeps %v, want the starter's trace, not sampled, with a=b", kept)
		}
		if got := h.spans.GetSpans(); len(got) != 0 {
			t.Errorf("%v are exported", named(got))
		}
	})
}

// TestRuns: the runs of an execution that continues as new are in its trace,
// each with its operations.
func TestRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return n, nil }); err != nil {
				return 0, err
			}
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			if n < 3 {
				return 0, durable.ContinueAsNew(ctx, n+1)
			}
			return n, nil
		})
		h := newHosts(t, telemetry.Options{}, def)
		if err := runs(h, def, "x", 1); err != nil {
			t.Fatal(err)
		}
		spans := h.spans.GetSpans()
		wantTree(t, spans)
		names := named(spans)
		for name, n := range map[string]int{"d": 1, "run 1": 1, "run 2": 1, "run 3": 1, "s": 3, "w": 3, "attempt s": 3} {
			if names[name] != n {
				t.Errorf("%d spans %q, want %d; there are %v", names[name], name, n, names)
			}
		}
	})
}

// mendable is a step that is refused while it is broken.
func mendable(ctx *durable.Context, broken *bool) (int, error) {
	return durable.Step(ctx, "b", func(context.Context) (int, error) {
		if *broken {
			return 0, durable.NoEffect(errors.New("refused"))
		}
		return 1, nil
	})
}

// again runs what failed again from the step that is mended, an hour later.
func (h *hosts) again(def *durable.Definition[int, int], broken *bool) (id string) {
	h.t.Helper()
	*broken = false
	time.Sleep(time.Hour)
	id, err := h.e.Rerun(h.t.Context(), "x", "b", "ada", "mended")
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := def.Attach(h.e, id).Wait(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	time.Sleep(time.Second)
	return id
}

// TestRerun: the spans of a re-run are those of its own record, none before its
// start, and lead to those of its origin.
func TestRerun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := durable.Step(ctx, "a", func(context.Context) (int, error) { return n, nil }); err != nil {
				return 0, err
			}
			return mendable(ctx, &broken)
		})
		h := newHosts(t, telemetry.Options{}, def)
		if err := runs(h, def, "x", 1); err == nil {
			t.Fatal("the first run succeeded")
		}
		id := h.again(def, &broken)
		spans := h.of(id)
		wantTree(t, spans)
		own, origin := find(t, spans, "d"), find(t, h.of("x"), "d")
		if len(own.Links) != 1 || own.Links[0].SpanContext.SpanID() != origin.SpanContext.SpanID() || own.Links[0].SpanContext.TraceID() != origin.SpanContext.TraceID() {
			t.Errorf("the re-run's links are %v, want one to its origin", own.Links)
		}
		if text(find(t, spans, "a"), "clew.operation.copied") != "true" || text(find(t, spans, "b"), "clew.operation.copied") != "" {
			t.Errorf("copied are %v", spans)
		}
	})
}

// TestPerActivation: each activation is a trace of its own, with its attempts,
// that leads to that of the execution, which follows from the ID.
func TestPerActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{PerActivation: true}, sg)
		if err := runs(h, sg.Definition, "t1", "ada"); err != nil {
			t.Fatal(err)
		}
		byTrace := map[trace.TraceID][]string{}
		spans := h.spans.GetSpans()
		own := find(t, spans, "trip")
		byID := map[trace.SpanID]string{}
		for _, s := range spans {
			byID[s.SpanContext.SpanID()] = s.Name
			byTrace[s.SpanContext.TraceID()] = append(byTrace[s.SpanContext.TraceID()], s.Name)
		}
		for _, s := range spans {
			if p := s.Parent.SpanID(); p.IsValid() && byID[p] == "" {
				t.Errorf("the parent of %q is missing", s.Name)
			}
			leads := map[string]string{"activation trip": "trip", "attempt flight": "flight", "attempt charge": "charge"}[s.Name]
			if leads != "" && (len(s.Links) != 1 || byID[s.Links[0].SpanContext.SpanID()] != leads || s.Links[0].SpanContext.TraceID() != own.SpanContext.TraceID()) {
				t.Errorf("%q has links %v, want one to %q", s.Name, s.Links, leads)
			}
		}
		if len(byTrace) != 4 || len(byTrace[own.SpanContext.TraceID()]) != 4 {
			t.Errorf("the traces are %v, want one of the execution and its three operations, and three of activations", byTrace)
		}
	})
}

// TestPayloads: they are in spans if they are asked for, and else in none.
func TestPayloads(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sg := trip(t, false)
			h := newHosts(t, telemetry.Options{Payloads: asked}, sg)
			if err := runs(h, sg.Definition, "t1", "secret-4711"); err != nil {
				t.Fatal(err)
			}
			var seen []string
			for _, s := range h.spans.GetSpans() {
				for _, kv := range s.Attributes {
					if v := kv.Value.String(); strings.Contains(v, "4711") || strings.Contains(v, `"f1"`) || strings.Contains(v, `"gone"`) {
						seen = append(seen, s.Name+" "+string(kv.Key))
					}
				}
			}
			want := 0
			if asked {
				want = 3 // input, the step's result, the execution's
			}
			if len(seen) != want {
				t.Errorf("payloads are in %v, want %d, asked %v", seen, want, asked)
			}
		})
	}
}

// TestTell: a record tells the same spans again, once its execution has ended.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newHosts(t, telemetry.Options{}, sg)
		x, err := sg.Start(t.Context(), h.e, "t1", "ada")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := h.tele.Tell(t.Context(), h.record("t1")); !errors.Is(err, telemetry.ErrNotEnded) {
			t.Errorf("of one that goes on: got %v, want ErrNotEnded", err)
		}
		_, _ = x.Wait(t.Context())
		time.Sleep(time.Second)
		first := map[trace.SpanID]string{}
		for _, s := range h.spans.GetSpans() {
			first[s.SpanContext.SpanID()] = s.Name
		}
		h.spans.Reset()
		if err := h.tele.Tell(t.Context(), h.record("t1")); err != nil {
			t.Fatal(err)
		}
		spans := h.spans.GetSpans()
		wantOperations(t, spans, h.record("t1"))
		for _, s := range append(spans, find(t, spans, "trip")) {
			if first[s.SpanContext.SpanID()] != s.Name || s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
				t.Errorf("%q is not the span that it was", s.Name)
			}
		}
	})
}

func TestIDGeneratorIsNeeded(t *testing.T) {
	_, err := telemetry.New(telemetry.Options{TracerProvider: sdktrace.NewTracerProvider()})
	if !errors.Is(err, telemetry.ErrIDGenerator) || !strings.Contains(err.Error(), "WithIDGenerator") {
		t.Errorf("got %v, want ErrIDGenerator, with the remedy", err)
	}
	if _, err := telemetry.New(telemetry.Options{}); err != nil {
		t.Errorf("with nothing configured: got %v, want nil", err)
	}
}

// TestRerunEvents: what a re-run has copied is no event from before its spans.
func TestRerunEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			if _, err := durable.Receive[int](ctx, "go", 0); err != nil {
				return 0, err
			}
			return mendable(ctx, &broken)
		})
		h := newHosts(t, telemetry.Options{}, def)
		x, err := def.Start(t.Context(), h.e, "x", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.e.Signal(t.Context(), "x", "go", 1, "1"); err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		id := h.again(def, &broken)
		n := 0
		for _, s := range h.of(id) {
			for _, e := range s.Events {
				n++
				if e.Time.Before(s.StartTime) {
					t.Errorf("event %q of %q is at %v, want not before its start, %v", e.Name, s.Name, e.Time, s.StartTime)
				}
			}
		}
		if n < 2 {
			t.Errorf("%d events, want the signal and the re-run", n)
		}
	})
}

// TestSkew: a host whose clock is behind that of the one which created the execution
// has copied nothing.
func TestSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{}, sg)
		if err := runs(h, sg.Definition, "t1", "ada"); err != nil {
			t.Fatal(err)
		}
		rec := h.record("t1")
		rec.Created = rec.Created.Add(50 * time.Millisecond)
		h.spans.Reset()
		if err := h.tele.Tell(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if got := text(find(t, h.spans.GetSpans(), "flight"), "clew.operation.copied"); got != "" {
			t.Errorf("clew.operation.copied is %q, want none", got)
		}
	})
}
