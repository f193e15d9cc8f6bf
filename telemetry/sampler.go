package telemetry

import (
	"fmt"
	"math"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
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

// PerSecond returns a sampler that samples up to n spans a second, and up to n at
// once after a pause: below that everything, and above a share that costs no more.
// For executions that nobody's trace began:
//
//	telemetry.Sampler(sdktrace.ParentBased(telemetry.PerSecond(100)))
//
// Without ParentBased, spans within a trace would be decided on one by one; without
// Sampler, hosts would. It is of one process: each adds its own n. It is safe for
// concurrent use.
func PerSecond(n float64) sdktrace.Sampler {
	return perSecond{n, rate.NewLimiter(rate.Limit(n), int(math.Ceil(n)))}
}

type perSecond struct {
	n     float64
	limit *rate.Limiter
}

func (s perSecond) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	if s.limit.Allow() {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}

func (s perSecond) Description() string { return fmt.Sprintf("clew{%v per second}", s.n) }

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
