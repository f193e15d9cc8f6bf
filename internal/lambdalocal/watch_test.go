package lambdalocal

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// A request that was made in one invocation and comes in the next is counted,
// and one that was made for its own is not.
func TestStaleRequest(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer backend.Close()
	l := Start(t, Options{})
	pay(t, l, Function{Watched: map[string]string{"CALL": backend.URL}})
	for n, want := range []struct {
		order, payload string
		stale          int
	}{
		{`{"Do":"call"}`, `418`, 0},
		{`{"Do":"call"}`, `418`, 0},
		{`{"Do":"call-late"}`, `418`, 1},
	} {
		r := invoke(t, l, "pay", want.order)
		if s := l.Stats("pay"); string(r.Payload) != want.payload || s.StaleRequests != want.stale || arrived.Load() != int64(n+1) {
			t.Errorf("request %d: the answer is %s, stats %+v; %d arrived", n+1, r.Payload, s, arrived.Load())
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	running := &invocation{header: "Root=1-a;Parent=aa"}
	answered := &invocation{header: "Root=1-a;Parent=aa", answered: true}
	for _, test := range []struct {
		name        string
		initialised bool
		current     *invocation
		header      string
		fine        bool
	}{
		{"init", false, nil, "", true},
		{"own", true, running, "Root=1-a;Parent=aa", true},
		{"untraced", true, running, "", true},
		{"earlier", true, running, "Root=1-a;Parent=bb", false},
		{"answered", true, answered, "Root=1-a;Parent=aa", false},
		{"idle", true, nil, "Root=1-a;Parent=aa", false},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		if test.header != "" {
			r.Header.Set(traceHeader, test.header)
		}
		s := &sandbox{initialised: test.initialised, current: test.current}
		if err := s.judge(r); (err == nil) != test.fine {
			t.Errorf("%s: %v, want fine: %v", test.name, err, test.fine)
		}
	}
}
