package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/clewdev/clew/durable"
)

// collecting leaves one OTEL_* variable, for a collector that answers with status,
// and puts the SDK's globals back.
func collecting(t *testing.T) (status *atomic.Int32) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	status = &atomic.Int32{}
	status.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	was := otel.GetTracerProvider()
	t.Cleanup(func() {
		s.Close()
		otel.SetTracerProvider(was)
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	return status
}

// rests makes executions: two that have ended after a step, "early" a good while
// before "late", one that was not sampled, and one that goes on.
func rests(t *testing.T, store durable.Store) (between time.Time) {
	t.Helper()
	def := durable.Define("rest", "1", func(ctx *durable.Context, d time.Duration) (string, error) {
		if _, err := durable.Step(ctx, "sit", func(context.Context) (string, error) { return "down", nil }); err != nil {
			return "", err
		}
		return "up", durable.Wait(ctx, "a while", d)
	})
	e, err := durable.New(store, durable.Options{HotWait: -1, PollMax: 50 * time.Millisecond})
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer running(t, e)()
	run := func(id string, d time.Duration, opts ...durable.StartOption) {
		x, err := def.Start(t.Context(), e, id, d, opts...)
		if err == nil && d == 0 {
			_, err = x.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run("early", 0)
	time.Sleep(10 * time.Millisecond)
	between = time.Now()
	time.Sleep(10 * time.Millisecond) // DynamoDB keeps milliseconds
	run("unsampled", 0, durable.WithTrace(map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}))
	run("late", 0)
	run("goes-on", time.Hour)
	return between
}

// TestTrace: what has ended is exported again, by name or as the filters find it, and
// the number of what has arrived is told; what cannot be is named, with the reason.
func TestTrace(t *testing.T) {
	onEachStore(t, func(t *testing.T, u string, store durable.Store) {
		between := rests(t, store).Format(time.RFC3339Nano)
		status := collecting(t)
		for _, tt := range []struct {
			args []string
			out  string   // what it says, whole
			errs []string // what its error says; none: there is none
		}{
			{[]string{"early"}, "exported 1 executions, 3 spans\n", nil},
			{[]string{"--json", "early", "late"}, `{"executions":2,"spans":6}` + "\n", nil},
			{[]string{"early", "nobody", "goes-on", "unsampled", "late"}, "exported 2 executions, 6 spans\n", []string{
				"nobody: ", "clew ls", "goes-on: ", "cannot trace", "which is suspended: possible is cancel terminate", "clew show", "unsampled: it was not sampled"}},
			{[]string{"--ended-since", "1h"}, "exported 2 executions, 6 spans; 1 were not sampled when they were created, and are not exported\n", nil},
			{[]string{"--ended-since", between, "--json"}, `{"executions":1,"spans":3,"unsampled":1}` + "\n", nil},
			{[]string{"--until", between, "--ended-since", "1h"}, "exported 1 executions, 3 spans\n", nil},
			{[]string{"--definition", "other"}, "exported 0 executions, 0 spans\n", nil},
			{[]string{"--status", "failed"}, "exported 0 executions, 0 spans\n", nil},
			{[]string{"--status", "succeeded,running"}, "", []string{"only what has ended", "--status", "terminated"}},
			{[]string{"--parked-for", "undo-failed"}, "", []string{"only what has ended", "--parked-for"}},
			{nil, "", []string{"trace what?", "--ended-since 10m"}},
			{[]string{"early", "--ended-since", "1h"}, "", []string{"--ended-since is for many"}},
			{[]string{"early", "--definition", "rest"}, "", []string{"--definition is for many"}},
			{[]string{"--ended-since", "lunch"}, "", []string{`"lunch" is neither a time`}},
		} {
			wantTrace(t, u, tt.args, tt.out, tt.errs)
		}
		status.Store(http.StatusForbidden)
		wantTrace(t, u, []string{"early"}, "", []string{"taken 0 spans", "403"})
		wantTrace(t, u, []string{"--ended-since", "1h"}, "", []string{"taken 0 spans", "403"})
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
		wantTrace(t, u, []string{"early"}, "", []string{"no OTEL_* variable", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"})
	})
}

func wantTrace(t *testing.T, store string, args []string, want string, errs []string) {
	t.Helper()
	out, err := clew(t, append([]string{"--store", store, "trace"}, args...)...)
	if out != want || (err != nil) != (len(errs) > 0) {
		t.Errorf("clew trace %q: got %q, %v; want %q and an error: %v", args, out, err, want, len(errs) > 0)
	}
	if err != nil {
		contains(t, err.Error(), errs...)
	}
}
