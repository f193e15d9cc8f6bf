package telemetry

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// NewLogHandler returns a handler that adds to each record what its context
// knows, outside of all groups: trace_id, span_id, execution, step and attempt,
// those that are not there already; and that is quiet while a handler's code
// passes again what it did before. Pass the context of a step's body, or the
// *durable.Context itself.
func NewLogHandler(next slog.Handler) slog.Handler { return &logHandler{Handler: next, base: next} }

// logHandler is next with what it was given since. Handler has all of that, base
// what came before the first group.
type logHandler struct {
	slog.Handler
	base  slog.Handler
	given []slog.Attr                       // before the first group
	since []func(slog.Handler) slog.Handler // from the first group on
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if c, ok := ctx.(*durable.Context); ok && c.Replaying() {
		return nil
	}
	known := correlation(ctx)
	if len(h.since) == 0 {
		r = r.Clone()
		r.AddAttrs(h.missing(known, &r)...)
		return h.Handler.Handle(ctx, r)
	}
	if known = h.missing(known, nil); len(known) == 0 {
		return h.Handler.Handle(ctx, r)
	}
	next := h.base.WithAttrs(known)
	for _, since := range h.since {
		next = since(next)
	}
	return next.Handle(ctx, r)
}

// correlation is what a context knows.
func correlation(ctx context.Context) (attrs []slog.Attr) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		attrs = append(attrs, slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	if c, ok := ctx.(*durable.Context); ok {
		return append(attrs, slog.String("execution", c.ExecutionID()))
	}
	if info, ok := durable.StepInfoFrom(ctx); ok {
		attrs = append(attrs, slog.String("execution", info.Execution), slog.String("step", info.Path), slog.Int("attempt", info.Attempt))
	}
	return attrs
}

// missing are those that neither the handler nor the record has.
func (h *logHandler) missing(attrs []slog.Attr, r *slog.Record) []slog.Attr {
	return slices.DeleteFunc(attrs, func(a slog.Attr) bool {
		same := func(b slog.Attr) bool { return b.Key == a.Key }
		there := slices.ContainsFunc(h.given, same)
		if r != nil {
			r.Attrs(func(b slog.Attr) bool { there = there || same(b); return !there })
		}
		return there
	})
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) }
	if len(h.since) == 0 {
		next := with(h.base)
		return &logHandler{Handler: next, base: next, given: slices.Concat(h.given, attrs)}
	}
	return h.later(with)
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.later(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *logHandler) later(f func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{Handler: f(h.Handler), base: h.base, given: h.given, since: append(slices.Clip(h.since), f)}
}
