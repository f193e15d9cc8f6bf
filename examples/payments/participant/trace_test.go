package participant

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TestCallsAreInTheCallersTrace: what the client sends, the server continues;
// how it answered is in its span.
func TestCallsAreInTheCallersTrace(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	t.Cleanup(func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator())
	})
	answers := map[string]func(w http.ResponseWriter){
		"/gateway/capture": func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK); _, _ = w.Write([]byte(`{"id":"c1"}`)) },
		"/gateway/void": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{}`))
		},
		"/warehouse/reserve": drop,
	}
	answer := traced(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answers[r.URL.Path](w) }))
	var inHand sync.WaitGroup // the server does not wait for a call whose connection was dropped
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inHand.Add(1)
		defer inHand.Done()
		answer.ServeHTTP(w, r)
	}))
	defer server.Close()
	client, err := NewClient(At(server.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := provider.Tracer("test").Start(t.Context(), "attempt capture")
	if _, err := client.Capture(ctx, "k", 1, "o", "a", 1); err != nil {
		t.Error(err)
	}
	_ = client.Void(ctx, "k", 1, "f")
	_, _ = client.Reserve(ctx, "k", 1, "o", "s", 1)
	server.Close()
	inHand.Wait()
	want := map[string]codes.Code{"POST /gateway/capture": codes.Unset, "POST /gateway/void": codes.Error, "POST /warehouse/reserve": codes.Error}
	for _, s := range spans.GetSpans() {
		status, ok := want[s.Name]
		delete(want, s.Name)
		if !ok || s.Parent.SpanID() != span.SpanContext().SpanID() || s.SpanContext.TraceID() != span.SpanContext().TraceID() || s.SpanKind != trace.SpanKindServer || s.Status.Code != status {
			t.Errorf("got %+v, want it under the caller's span, with status %v", s, status)
		}
	}
	if len(want) > 0 {
		t.Errorf("there is nothing of %v", want)
	}
}
