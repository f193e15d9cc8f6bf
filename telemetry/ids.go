package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// wanted are the IDs that the next span is to have.
type wanted struct {
	trace   trace.TraceID
	span    trace.SpanID
	sampled bool // by what was decided at the execution's start
}

type wantedKey struct{}

// generator gives spans the IDs that their context asks for, and random ones
// where it asks for none.
type generator struct{}

// IDGenerator returns the generator that a TracerProvider needs for spans of one
// execution to be one trace, whichever hosts they come from:
//
//	sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator()), …)
//
// Spans that are not clew's get random IDs, as ever.
func IDGenerator() sdktrace.IDGenerator { return generator{} }

func (generator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok {
		return w.trace, w.span
	}
	var t trace.TraceID
	_, _ = rand.Read(t[:]) // never fails
	return t, randomSpanID()
}

func (generator) NewSpanID(ctx context.Context, t trace.TraceID) trace.SpanID {
	if w, ok := ctx.Value(wantedKey{}).(wanted); ok && w.trace == t {
		return w.span
	}
	return randomSpanID()
}

func randomSpanID() (s trace.SpanID) {
	for !s.IsValid() {
		_, _ = rand.Read(s[:]) // never fails
	}
	return s
}

// derivedTrace is the trace of an execution whose starter had none, or of one
// activation of it.
func derivedTrace(execution string, parts ...int64) (t trace.TraceID) {
	copy(t[:], sum("trace", execution, parts))
	t[0] |= 1 // all zeros are no ID
	return t
}

// What a span ID is derived for.
const (
	kindExecution  = 0
	kindActivation = 1 // by epoch
	kindOperation  = 2 // by run and number
	kindAttempt    = 3 // by run, number, attempt, epoch and start
	kindRun        = 4 // by number
)

// derivedSpan is the ID of a span of an execution: the same on every host, so
// that one may be named as a parent before it exists.
func derivedSpan(execution string, parts ...int64) (s trace.SpanID) {
	copy(s[:], sum("span", execution, parts))
	s[0] |= 1
	return s
}

func sum(what, execution string, parts []int64) []byte {
	buf := make([]byte, 0, 256)
	buf = append(append(append(buf, what...), 0), execution...)
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(append(buf, 0), uint64(p))
	}
	h := sha256.Sum256(buf)
	return h[:16]
}
