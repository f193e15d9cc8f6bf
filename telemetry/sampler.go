package telemetry

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Sampler returns a sampler that keeps, for the spans of an execution, to what
// was decided at its start, and asks next for all other spans, and for that
// decision:
//
//	sdktrace.NewTracerProvider(sdktrace.WithSampler(telemetry.Sampler(next)), …)
//
// Without it the spans of one execution are sampled alike as long as the provider's
// sampler follows the parent, as the SDK's default does, and decides by the trace
// ID where there is none.
func Sampler(next sdktrace.Sampler) sdktrace.Sampler { return sampler{next} }

type sampler struct{ next sdktrace.Sampler }

// ShouldSample comes right after the generator.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if w, ok := p.ParentContext.Value(wantedKey{}).(*wanted); ok && w.sampled && !w.heard {
		w.heard = true
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	}
	return s.next.ShouldSample(p)
}

func (s sampler) Description() string { return "clew{" + s.next.Description() + "}" }
