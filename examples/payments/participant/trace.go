package participant

import (
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced is h with each call told of as part of its caller's trace, if this
// process exports traces.
func traced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := otel.Tracer("github.com/clewdev/clew/examples/payments/participant").Start(ctx, r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
		if !span.IsRecording() {
			h.ServeHTTP(w, r)
			return
		}
		defer span.End()
		said := &statusWriter{ResponseWriter: w}
		h.ServeHTTP(said, r.WithContext(ctx))
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path))
		switch {
		case said.status == 0: // it dropped the connection
			span.SetAttributes(attribute.String("error.type", "connection_closed"))
			span.SetStatus(codes.Error, "the connection was closed without an answer")
		case said.status >= http.StatusInternalServerError:
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(said.status)))
			span.SetStatus(codes.Error, "")
			fallthrough
		default:
			span.SetAttributes(attribute.Int("http.response.status_code", said.status))
		}
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
