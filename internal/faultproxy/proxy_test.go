package faultproxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clewdev/clew/internal/faultproxy"
)

// post sends a request through a proxy that does one thing, and returns the
// answer's status and text, 0 without an answer.
func post(t *testing.T, f faultproxy.Fault) (status int, text string, arrived func() int64) {
	t.Helper()
	var count atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		count.Add(1)
		_, _ = io.WriteString(w, r.Header.Get("X-Amz-Target")+" "+string(body))
	}))
	p, err := faultproxy.Start(backend.URL, faultproxy.Plan{
		Rates: map[faultproxy.Fault]float64{f: 1}, Late: [2]time.Duration{20 * time.Millisecond, 30 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL(), strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err == nil {
		status = resp.StatusCode
		b, _ := io.ReadAll(resp.Body)
		text = string(b)
		_ = resp.Body.Close()
	}
	if n := p.Counts()[f]; n != 1 {
		t.Errorf("%s was counted %d times, want once", f, n)
	}
	return status, text, func() int64 {
		_ = p.Close()
		backend.Close()
		return count.Load()
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		fault           faultproxy.Fault
		status          int
		text            string
		least, greatest int64 // arrivals at the server
	}{
		{faultproxy.None, 200, "DynamoDB_20120810.PutItem body", 1, 1},
		{faultproxy.LostAnswer, 0, "", 1, 1},
		{faultproxy.Unsent, 0, "", 0, 0},
		{faultproxy.Repeated, 200, "DynamoDB_20120810.PutItem body", 2, 2},
		{faultproxy.Stalled, 200, "DynamoDB_20120810.PutItem body", 1, 1},
		{faultproxy.Throttled, 400, "injected", 0, 0},
		{faultproxy.Failed, 500, "InternalServerError", 0, 1},
		{faultproxy.Reset, 0, "", 1, 1},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			status, text, arrived := post(t, tt.fault)
			if status != tt.status || !strings.Contains(text, tt.text) {
				t.Errorf("got %d %q, want %d %q", status, text, tt.status, tt.text)
			}
			if n := arrived(); n < tt.least || n > tt.greatest {
				t.Errorf("it arrived %d times, want %d to %d", n, tt.least, tt.greatest)
			}
		})
	}
}

// TestTarget: a named request meets its fault, and no other does.
func TestTarget(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	p, err := faultproxy.Start(backend.URL, faultproxy.Plan{Target: func(action string, _ []byte) faultproxy.Fault {
		if action == "Query" {
			return faultproxy.Throttled
		}
		return ""
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for action, want := range map[string]int{"Query": 400, "GetItem": 200} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL(), nil)
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+action)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", action, resp.StatusCode, want)
		}
	}
}
