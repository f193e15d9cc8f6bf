package telemetry_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/telemetry"
)

// atRandom decides anew for every span.
type atRandom struct{}

func (atRandom) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return sdktrace.SamplingResult{Decision: []sdktrace.SamplingDecision{sdktrace.Drop, sdktrace.RecordAndSample}[rand.N(2)]}
}

func (atRandom) Description() string { return "at random" }

// TestSampledAsAWhole: an execution has all its spans or none, over activations
// and hosts, whatever the sampler decides by.
func TestSampledAsAWhole(t *testing.T) {
	for name, tt := range map[string]struct {
		s             sdktrace.Sampler
		perActivation bool
	}{
		"by the trace ID":              {sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.5)), false},
		"by the trace ID alone":        {sdktrace.TraceIDRatioBased(0.5), false},
		"at random":                    {telemetry.Sampler(sdktrace.ParentBased(atRandom{})), false},
		"by the second":                {telemetry.Sampler(sdktrace.ParentBased(telemetry.PerSecond(1e-5))), false},
		"by the trace ID, and in many": {telemetry.Sampler(sdktrace.TraceIDRatioBased(0.5)), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sg := trip(t, true)
				h := newSampled(t, tt.s, telemetry.Options{PerActivation: tt.perActivation}, sg)
				const n = 24
				sampled := 0
				for i := range n {
					id := fmt.Sprint("t", i)
					_ = runs(h, sg.Definition, id, "ada")
					spans := h.of(id)
					if len(spans) == 0 {
						continue
					}
					sampled++
					if names := named(spans); int64(names["activation trip"]) != h.record(id).Activations || names["trip"] != 1 || names["undo flight"] != 1 || names["attempt undo flight"] != 1 {
						t.Errorf("%s has only %v", id, names)
					}
				}
				if sampled == 0 || sampled == n {
					t.Errorf("%d of %d executions are sampled", sampled, n)
				}
			})
		})
	}
}

// TestPerSecond: so many at once, and by second, and a trace's state goes on.
func TestPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := telemetry.PerSecond(10)
		state, err := trace.ParseTraceState("a=b")
		if err != nil {
			t.Fatal(err)
		}
		p := sdktrace.SamplingParameters{ParentContext: trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceState: state}))}
		for _, tt := range []struct {
			after time.Duration
			want  int
		}{{0, 10}, {500 * time.Millisecond, 5}, {time.Second, 10}, {time.Hour, 10}} {
			time.Sleep(tt.after)
			got := 0
			for range 100 {
				r := s.ShouldSample(p)
				if r.Decision == sdktrace.RecordAndSample {
					got++
				}
				if r.Tracestate.String() != "a=b" {
					t.Errorf("the trace's state is %q, want a=b", r.Tracestate)
				}
			}
			if got != tt.want {
				t.Errorf("%v later %d of 100 are sampled, want %d", tt.after, got, tt.want)
			}
		}
	})
}

// TestUnsampledStarter: what a starter decided holds for everything, and steps
// pass it on.
func TestUnsampledStarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newHosts(t, telemetry.Options{}, sg)
		never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
		ctx, span := never.Tracer("shop").Start(t.Context(), "checkout")
		x, err := sg.Start(ctx, h.e, "t1", "ada")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		if spans := h.spans.GetSpans(); len(spans) != 0 {
			t.Errorf("%v are exported", named(spans))
		}
		rec, in := h.record("t1"), context.Background()
		for _, kind := range []durable.ObservationKind{durable.ObserveActivationStart, durable.ObserveAttemptStart} {
			in = h.tele.Observe(in, &durable.Observation{Kind: kind, Execution: &rec.Identity, Run: 1, Epoch: 1, Operation: 1, Type: durable.OpStep, Attempt: 1})
		}
		if sc := trace.SpanContextFromContext(in); sc.TraceID() != span.SpanContext().TraceID() || sc.IsSampled() {
			t.Errorf("a step is in %v, want the starter's trace, not sampled", sc)
		}
	})
}

// TestStartOptionSamples: whoever starts without an observer samples as one with it.
func TestStartOptionSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 1, nil })
		h := newSampled(t, telemetry.Sampler(sdktrace.ParentBased(sdktrace.NeverSample())), telemetry.Options{}, def)
		starter, err := durable.New(h.store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := starter.Register(def); err != nil {
			t.Fatal(err)
		}
		if _, err := def.Start(t.Context(), starter, "x", 1, h.tele.StartOption(t.Context())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if !h.record("x").Status.Ended() {
			t.Fatal("it has not ended")
		}
		if got := h.spans.GetSpans(); len(got) != 0 {
			t.Errorf("%v are exported, want nothing of an execution that the sampler drops", named(got))
		}
	})
}
