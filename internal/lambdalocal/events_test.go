package lambdalocal

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/internal/sqslocal"
)

func quiet(t *testing.T, l *Lambda) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
}

// An event that always fails is delivered three times, under one request ID,
// and then given up.
func TestAsyncRetries(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{SQS: sqslocal.Endpoint(t), RetryDelays: [2]time.Duration{10 * time.Millisecond, 300 * time.Millisecond}})
	dead := sqslocal.NewQueue(t, sqslocal.QueueOptions{})
	failures := make(chan Failure, 10)
	for _, f := range []Function{{Name: "fails"}, {Name: "hangs", Timeout: 200 * time.Millisecond}, {Name: "exits"}, {Name: "once", Retries: -1}} {
		f.DeadLetterQueue, f.OnFailure = dead.URL, func(f Failure) { failures <- f }
		pay(t, l, f)
	}
	for name, want := range map[string]struct {
		payload, kind string
		attempts      int
	}{
		"fails": {`{"Do":"fail"}`, "errorString", 3},
		"hangs": {`{"Do":"sleep","For":"1h"}`, TypeTimeout, 3},
		"exits": {`{"Do":"exit"}`, TypeExit, 3},
		"once":  {`{"Do":"fail"}`, "errorString", 1},
	} {
		start := time.Now()
		id, err := l.InvokeAsync(name, []byte(want.payload))
		if err != nil {
			t.Fatal(err)
		}
		f := <-failures
		if f.Function != name || f.RequestID != id || string(f.Payload) != want.payload || f.Condition != RetriesExhausted || f.Attempts != want.attempts {
			t.Errorf("%s: the failure is %+v, want %d attempts of %s", name, f, want.attempts, id)
		}
		if kind := decode[FunctionError](t, f.Response).Type; kind != want.kind {
			t.Errorf("%s: the last error is %s, want %s", name, kind, want.kind)
		}
		if waited := time.Since(start); want.attempts == 3 && waited < 310*time.Millisecond {
			t.Errorf("%s: it was given up after %v", name, waited)
		}
		quiet(t, l)
		records := l.Records(name)
		for _, r := range records {
			if r.RequestID != id || r.Error != want.kind {
				t.Errorf("%s: a delivery is %+v, want %s of %s", name, r, want.kind, id)
			}
		}
		if s := l.Stats(name); len(records) != want.attempts || s.Retries != want.attempts-1 || s.DeadLetters != 1 {
			t.Errorf("%s: there were %d deliveries, stats %+v", name, len(records), s)
		}
		got, err := dead.Receive(t.Context(), 10*time.Second)
		if err != nil || len(got) != 1 || *got[0].Body != want.payload || *got[0].MessageAttributes["RequestID"].StringValue != id {
			t.Errorf("%s: the dead-letter queue has %+v (%v)", name, got, err)
		}
		for _, m := range got {
			if err := dead.Delete(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Events wait while there is no room, and none is lost.
func TestAsyncThrottled(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 1, Timeout: time.Minute})
	dir := t.TempDir()
	if _, err := l.InvokeAsync("pay", []byte(`{"Do":"sleep","For":"500ms","File":"`+dir+`/first"}`)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(lines(dir+"/first")) == 1 })
	for n := range 20 {
		if _, err := l.InvokeAsync("pay", []byte(fmt.Sprintf(`{"N":%d,"File":"%s/all"}`, n, dir))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Invoke(t.Context(), "pay", nil); err == nil {
		t.Error("there was room beside an event")
	}
	quiet(t, l)
	if got := lines(dir + "/all"); len(got) != 20 {
		t.Errorf("%d events were delivered, want 20", len(got))
	}
	if s := l.Stats("pay"); s.Retries != 0 || s.DeadLetters != 0 {
		t.Errorf("stats are %+v: waiting counted as failing", s)
	}
}

// A function that invokes itself is stopped after 16 times, unless it allows
// loops; each event from outside begins anew.
func TestAsyncRecursion(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	failures := make(chan Failure, 10)
	pay(t, l, Function{Name: "stops", OnFailure: func(f Failure) { failures <- f }})
	pay(t, l, Function{Name: "goes-on", RecursiveLoop: Allow})
	for round := 1; round <= 2; round++ {
		for _, name := range []string{"stops", "goes-on"} {
			if _, err := l.InvokeAsync(name, []byte(`{"Do":"invoke","Function":"`+name+`","Left":20}`)); err != nil {
				t.Fatal(err)
			}
		}
		quiet(t, l)
		if s := l.Stats("stops"); s.Invocations != 16*round || s.RecursiveInvocationsDropped != round {
			t.Errorf("round %d: stats are %+v, want 16 invocations in each", round, s)
		}
		if s := l.Stats("goes-on"); s.Invocations != 21*round || s.RecursiveInvocationsDropped != 0 {
			t.Errorf("round %d: stats are %+v, want 21 invocations in each", round, s)
		}
		if f := <-failures; f.Condition != RecursiveInvocation || f.Attempts != 0 || !strings.Contains(string(f.Payload), `"Left":4`) {
			t.Errorf("round %d: the failure is %+v", round, f)
		}
	}
}

// Loops through other functions count too, for each function.
func TestAsyncRecursionInTurns(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Name: "ping"})
	pay(t, l, Function{Name: "pong", RecursiveLoop: Allow})
	if _, err := l.InvokeAsync("ping", []byte(`{"Do":"invoke","Function":"pong","Back":"ping","Left":60}`)); err != nil {
		t.Fatal(err)
	}
	quiet(t, l)
	if ping, pong := l.Stats("ping"), l.Stats("pong"); ping.Invocations != 16 || pong.Invocations != 16 || ping.RecursiveInvocationsDropped != 1 {
		t.Errorf("stats are %+v and %+v, want 16 invocations each, and one dropped", ping, pong)
	}
}

func TestAsyncDuplicates(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Chaos: Chaos{Duplicate: 1}})
	file := t.TempDir() + "/all"
	id, err := l.InvokeAsync("pay", []byte(`{"File":"`+file+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(l.Records("pay")) == 2 })
	for _, r := range l.Records("pay") {
		if r.RequestID != id {
			t.Errorf("a delivery has the ID %s, want %s", r.RequestID, id)
		}
	}
	if got := lines(file); len(got) != 2 || l.Stats("pay").Duplicates != 1 {
		t.Errorf("the event was delivered %d times, stats %+v", len(got), l.Stats("pay"))
	}
}
