package lambdahost

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

// TestAloneInABatch: what has crashed again and again runs beside nothing else,
// also when a batch brings it together with others; if those run long, in an
// invocation of its own.
func TestAloneInABatch(t *testing.T) {
	for _, long := range []time.Duration{10 * time.Second, 45 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t)
			running, beside := 0, 0
			step := func(d time.Duration) func(ctx *durable.Context, _ int) (int, error) {
				return func(ctx *durable.Context, _ int) (int, error) {
					if err := durable.Wait(ctx, "w", time.Minute); err != nil {
						return 0, err
					}
					return durable.Step(ctx, "s", func(context.Context) (int, error) {
						if running++; running > 1 {
							beside++
						}
						time.Sleep(d)
						running--
						return 1, nil
					}, durable.WithTimeout(55*time.Second))
				}
			}
			h := c.host("7", nil, durable.Define("bad", "1", step(time.Second)), durable.Define("long", "1", step(long)))
			for _, name := range []string{"bad", "long"} {
				c.must(h, fmt.Sprintf(`{"clew": "start", "definition": %q, "id": %q, "input": 0}`, name, name))
			}
			c.queue = nil
			time.Sleep(time.Minute)
			for i := range 3 { // its process dies each time
				at := time.Now()
				if _, err := c.store.Claim(t.Context(), &durable.Claim{ID: "bad", Owner: fmt.Sprintf("dead%d/1", i), Now: at, Lease: at.Add(time.Second)}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			if got := failures(t, c.must(h, batchOf(`{"clew": "resume", "id": "long"}`, `{"clew": "resume", "id": "bad"}`))); len(got) > 0 {
				t.Errorf("got failures %v: %s", got, c.logs)
			}
			for c.queued() > 0 {
				m, _ := c.next()
				if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 {
					t.Errorf("got failures %v: %s", got, c.logs)
				}
			}
			for _, id := range []string{"bad", "long"} {
				if got := c.load(id).Status; got != durable.StatusSucceeded {
					t.Errorf("%s is %v, want succeeded", id, got)
				}
			}
			if beside > 0 {
				t.Errorf("it ran beside another %d times", beside)
			}
		})
	}
}

// TestSweepDeletes: what has been kept long enough is deleted, by an invocation
// that the sweep wakes.
func TestSweepDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, queue := range []bool{true, false} {
			c := newCloud(t)
			h := c.host("7", func(o *Options) {
				if !queue {
					o.Queue, o.SQS = "", nil
				}
			}, waits(time.Hour))
			c.must(h, `{"clew": "start", "definition": "waits", "id": "x", "input": 0, "retention": "1h"}`)
			for range 62 {
				if _, err := c.store.Load(t.Context(), "x", durable.LoadHead); err != nil {
					t.Fatalf("queue %v: it is gone too early: %v", queue, err)
				}
				c.must(h, `{"clew": "sweep"}`)
				time.Sleep(time.Minute - time.Second)
				for c.queued() > 0 {
					m, _ := c.next()
					if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 {
						t.Errorf("got failures %v: %s", got, c.logs)
					}
				}
				time.Sleep(time.Second)
				if _, err := c.store.Load(t.Context(), "x", durable.LoadHead); err != nil {
					break
				}
			}
			if _, err := c.store.Load(t.Context(), "x", durable.LoadHead); err == nil {
				t.Errorf("queue %v: it is still there", queue)
			}
		}
	})
}
