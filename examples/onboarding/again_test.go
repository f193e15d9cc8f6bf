package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestToldAgain: who serves after a process that was killed exports what had ended in
// it, and says so.
func TestToldAgain(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir)
	does(t, dir, "hire", "Ada")
	does(t, dir, "hire", "Bob")
	eventually(t, "has failed", func() string {
		out, err := cli(t, dir, "identity", "fail", "ada", "-reason", "no passport")
		if err == nil {
			return "has failed"
		}
		return out
	})
	eventually(t, "1 all undone", func() string { return does(t, dir, "audit") })
	s.kill()

	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	s = start(t, dir)
	eventually(t, "onboarding: exported the traces of 1 executions again", s.err.String)
	if said := s.err.String(); strings.Count(said, "\n") != 1 {
		t.Errorf("it said %q, want that line alone", said)
	}
}
