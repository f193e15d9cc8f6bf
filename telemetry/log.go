package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// NewLogHandler returns a handler that adds to each record what its context
// knows: trace_id, span_id, execution, step and attempt, where they are not there
// already; and that is quiet while a handler's code passes again what it did
// before. Pass the context of a step's body, or the *durable.Context itself.
func NewLogHandler(next slog.Handler) slog.Handler { return &logHandler{next} }

type logHandler struct{ slog.Handler }

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if c, ok := ctx.(*durable.Context); ok {
		if c.Replaying() {
			return nil
		}
		r.AddAttrs(slog.String("execution", c.ExecutionID()))
	}
	if info, ok := durable.StepInfoFrom(ctx); ok {
		r.AddAttrs(slog.String("execution", info.Execution), slog.String("step", info.Path), slog.Int("attempt", info.Attempt))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.Handler.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name)}
}
