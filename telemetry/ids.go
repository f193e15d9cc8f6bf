package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// wanted are the IDs that the next span is to have. Only the first span that is
// started in its context takes them.
type wanted struct {
	trace   trace.TraceID
	span    trace.SpanID
	sampled bool // by what was decided at the execution's start
	taken   bool // by the generator
	heard   bool // by the sampler
}

type wantedKey struct{}

// wanting is a context that has wanted, in one allocation.
type wanting struct {
	context.Context
	wanted
}

func (w *wanting) Value(key any) any {
	if _, ok := key.(wantedKey); ok {
		return &w.wanted
	}
	return w.Context.Value(key)
}

// take returns the IDs that a context wants, once.
func take(ctx context.Context) *wanted {
	w, ok := ctx.Value(wantedKey{}).(*wanted)
	if !ok || w.taken {
		return nil
	}
	w.taken = true
	return w
}

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
	if w := take(ctx); w != nil {
		return w.trace, w.span
	}
	var t trace.TraceID
	_, _ = rand.Read(t[:]) // never fails
	return t, randomSpanID()
}

func (generator) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if w := take(ctx); w != nil {
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

// What a span ID is derived for.
const (
	kindExecution  = 0
	kindActivation = 1 // by epoch
	kindOperation  = 2 // by run and number
	kindAttempt    = 3 // by run, number, attempt, epoch and start
	kindRun        = 4 // by number
)

// seed is what the IDs of an execution's spans are derived from: the same on every
// host, so that a span may be named as a parent before it exists.
type seed struct {
	trace trace.TraceID
	base  uint64
}

func seedOf(execution string) (s seed) {
	sum := sha256.Sum256([]byte("clew\x00" + execution))
	copy(s.trace[:], sum[:16])
	s.trace[0] |= 1 // all zeros are no ID
	s.base = binary.BigEndian.Uint64(sum[16:])
	return s
}

// span is the ID of one of the execution's spans.
func (s *seed) span(parts ...int64) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], s.mix(parts))
	id[0] |= 1
	return id
}

// activation is the trace of one activation, where each has its own.
func (s *seed) activation(epoch int64) (t trace.TraceID) {
	binary.BigEndian.PutUint64(t[:8], s.mix([]int64{-1, epoch}))
	binary.BigEndian.PutUint64(t[8:], s.mix([]int64{-2, epoch}))
	t[0] |= 1
	return t
}

// mix spreads parts over 64 bits, each by the finalizer of splitmix64, which is
// a bijection: IDs that differ in one part differ.
func (s *seed) mix(parts []int64) uint64 {
	h := s.base
	for _, p := range parts {
		h += uint64(p) + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
