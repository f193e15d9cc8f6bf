package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

func TestNewRefuses(t *testing.T) {
	open := func(context.Context) (durable.Store, error) { return nil, nil }
	defs := []durable.Registrable{waits(time.Second)}
	for _, c := range []struct {
		opts  Options
		names string
	}{
		{Options{Definitions: defs}, "Open"},
		{Options{Open: open}, "Definitions"},
		{Options{Open: open, Definitions: defs, Queue: "q"}, "SQS"},
		{Options{Open: open, Definitions: defs, SweepPeriod: -1}, "SweepPeriod"},
		{Options{Open: open, Definitions: append(defs, waits(time.Second))}, "waits@1"},
		{Options{Open: open, Definitions: defs, Engine: durable.Options{MaxPayload: -1}}, "MaxPayload"},
	} {
		if _, err := New(c.opts); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("got %v, want an error that names %s", err, c.names)
		}
	}
}

// TestEventsThatAreNone: each is refused, with what is wrong, and stops nothing.
func TestEventsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", nil, waits(time.Hour))
		for _, e := range []struct{ payload, names string }{
			{`hello`, "no JSON"},
			{`[]`, "no JSON object"},
			{`{}`, "none that is known"},
			{`{"clew": 5}`, "field clew is a number"},
			{`{"Records": {"eventSource": "aws:sqs"}}`, "field Records is a object"},
			{`{"clew": null, "source": "x"}`, "none that is known"},
			{`{"clew": "sweep"} {}`, "no JSON"},
			{`{"foo": 1, "bar": 2}`, "fields bar, foo"},
			{`{"clew": "stop"}`, `"stop"`},
			{`{"clew": "start", "id": "x", "input": 1}`, "definition"},
			{`{"clew": "start", "definition": "waits", "input": 1}`, "id"},
			{`{"clew": "start", "definition": "waits", "id": "x"}`, "input"},
			{`{"clew": "start", "definition": "waits", "id": "x", "input": 1, "delay": "soon"}`, `"soon"`},
			{`{"clew": "start", "definition": "waits", "id": "x", "input": 1, "dely": "1s"}`, "dely"},
			{`{"clew": "resume"}`, "id"},
			{`{"clew": "callback", "id": "x"}`, "one of"},
			{`{"clew": "callback", "id": "x", "heartbeat": true, "result": 1}`, "one of"},
			{`{"Records": [{"eventSource": "aws:s3"}]}`, "aws:s3"},
			{`{"requestContext": {}}`, "requestContext"},
			{`{"clew": "` + strings.Repeat("x", 1000) + `"}`, "…"},
		} {
			_, err := c.event(h, e.payload)
			var bad *EventError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), e.names) {
				t.Errorf("%.80s: got %v, want an EventError that names %s", e.payload, err, e.names)
			}
		}
		for _, e := range []struct {
			payload string
			want    error
		}{
			{`{"clew": "start", "definition": "nobody", "id": "x", "input": 1}`, durable.ErrUnknownDefinition},
			{`{"clew": "start", "definition": "waits", "id": "x", "input": "many"}`, durable.ErrInvalid},
			{`{"clew": "callback", "id": "nonsense", "result": 1}`, durable.ErrNotOpen},
		} {
			if _, err := c.event(h, e.payload); !errors.Is(err, e.want) {
				t.Errorf("%s: got %v, want %v", e.payload, err, e.want)
			}
		}
		if got := strings.Count(c.logs.String(), "invocation failed"); got != 23 {
			t.Errorf("got %d failures in the log, want 23", got)
		}
		if got := status(t, c.must(h, `{"clew": "start", "definition": "waits", "id": "x", "input": 0}`)); got != "succeeded" {
			t.Errorf("after all that: got %s, want succeeded", got)
		}
	})
}

// TestUnpublished: $LATEST starts nothing, except where nothing is pinned.
func TestUnpublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		if _, err := c.event(c.host("", nil, waits(time.Hour)), `{"clew": "start", "definition": "waits", "id": "x", "input": 1}`); !errors.Is(err, ErrUnpublished) {
			t.Errorf("got %v, want ErrUnpublished", err)
		}
		if _, err := c.store.Load(t.Context(), "x", durable.LoadHead); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("it left something: %v", err)
		}
		h := c.host("", func(o *Options) { o.Unpinned = true }, waits(time.Minute))
		c.must(h, `{"clew": "start", "definition": "waits", "id": "x", "input": 1}`)
		m, _ := c.next()
		if got := status(t, c.must(h, m.body)); got != "succeeded" {
			t.Errorf("got %s, want succeeded", got)
		}
	})
}

// TestOpenFails: the answer says why, and the next invocation tries again.
func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		fails := 2
		h := c.host("7", func(o *Options) {
			o.Open = func(context.Context) (durable.Store, error) {
				if fails--; fails >= 0 {
					return nil, fmt.Errorf("table t is missing: create it: %w", durable.ErrStoreBroken)
				}
				return c.store, nil
			}
		}, waits(time.Hour))
		const start = `{"clew": "start", "definition": "waits", "id": "x", "input": 0}`
		if _, err := c.event(h, start); !errors.Is(err, durable.ErrStoreBroken) || !strings.Contains(err.Error(), "create it") {
			t.Errorf("got %v, want why and the remedy", err)
		}
		if _, err := c.event(h, batchOf(start)); !errors.Is(err, durable.ErrStoreBroken) {
			t.Errorf("a batch: got %v, want it to fail as a whole", err)
		}
		if got := status(t, c.must(h, start)); got != "succeeded" {
			t.Errorf("got %s, want succeeded", got)
		}
	})
}

// TestStart: sync, async, later, again, and with tags.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", nil, waits(time.Minute))
		if got := c.must(h, `{"clew": "start", "definition": "waits", "id": "a", "input": 1, "tags": {"k": "v"}, "retention": "1h"}`); !strings.Contains(got, `"status":"suspended"`) || !strings.Contains(got, `"due":"`) {
			t.Errorf("got %s, want suspended, due in a minute", got)
		}
		if rec := c.load("a"); rec.Tags["k"] != "v" || rec.Retention != time.Hour || durable.HostOf(rec.Owner) != pinOf("fn", "7") {
			t.Errorf("got tags %v, retention %v, owner %s", rec.Tags, rec.Retention, rec.Owner)
		}
		if got := status(t, c.must(h, `{"clew": "start", "definition": "waits", "id": "b", "input": 0, "async": true}`)); got != "pending" {
			t.Errorf("async: got %s, want pending", got)
		}
		if got := status(t, c.must(h, `{"clew": "start", "definition": "waits", "id": "c", "input": 0, "delay": "10m"}`)); got != "pending" {
			t.Errorf("later: got %s, want pending", got)
		}
		for range 3 {
			m, ok := c.next()
			if !ok {
				t.Fatal("want a message for each of them")
			}
			if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 {
				t.Errorf("got failures %v", got)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			if got := c.load(id).Status; got != durable.StatusSucceeded {
				t.Errorf("%s is %v, want succeeded", id, got)
			}
		}
		if got := status(t, c.must(h, `{"clew": "start", "definition": "waits", "id": "a", "input": 1}`)); got != "succeeded" {
			t.Errorf("again: got %s, want the one that has ended", got)
		}
		if _, err := c.event(h, `{"clew": "start", "definition": "waits", "id": "a", "input": 2}`); !errors.Is(err, durable.ErrExists) {
			t.Errorf("with another input: got %v, want ErrExists", err)
		}
	})
}

// TestCodeThatStaysExits: a body that outlives its context ends the process.
func TestCodeThatStaysExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		release := make(chan struct{})
		def := deaf(release)
		began := time.Now()
		_, err := c.event(c.host("7", nil, def), `{"clew": "start", "definition": "deaf", "id": "x", "input": 0}`)
		if !errors.Is(err, durable.ErrStillRunning) || c.exits != 1 || time.Since(began) >= c.timeout {
			t.Errorf("got %v, %d exits after %v, want ErrStillRunning and one before the deadline", err, c.exits, time.Since(began))
		}
		close(release)
		synctest.Wait()
	})
}

// TestExitFlushes: what ended in an invocation whose process has to exit is flushed
// all the same, before that and in time.
func TestExitFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, calls, before := newCloud(t), 0, 0
		release := make(chan struct{})
		began := time.Now()
		h := c.host("7", func(o *Options) {
			o.Flush = func(ctx context.Context) error { calls++; <-ctx.Done(); return ctx.Err() }
		}, deaf(release))
		h.exit = func(int) {
			c.exits++
			before = calls
			if took := time.Since(began); took >= c.timeout {
				t.Errorf("the process exits after %v, want before the deadline of %v", took, c.timeout)
			}
		}
		_, err := c.event(h, `{"clew": "start", "definition": "deaf", "id": "x", "input": 0}`)
		if !errors.Is(err, durable.ErrStillRunning) || c.exits != 1 || before != 1 {
			t.Errorf("got %v, %d exits, %d flushes before; want ErrStillRunning, one and one", err, c.exits, before)
		}
		close(release)
		synctest.Wait()
	})
}

// TestFlush: what flushes is called at the end of every invocation, and cannot
// hold it up for long.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, calls := newCloud(t), 0
		h := c.host("7", func(o *Options) {
			o.Flush = func(ctx context.Context) error { calls++; <-ctx.Done(); return ctx.Err() }
		}, waits(time.Hour))
		began := time.Now()
		c.must(h, `{"clew": "start", "definition": "waits", "id": "x", "input": 0}`)
		if d := time.Since(began); calls != 1 || d != 500*time.Millisecond || !strings.Contains(c.logs.String(), "flushing telemetry failed") {
			t.Errorf("got %d calls, %v, log %s", calls, d, c.logs)
		}
	})
}
