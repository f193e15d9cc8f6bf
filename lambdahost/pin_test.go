package lambdahost

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

// TestPinsOfOthers: what another function had, or a worker that has a name, is
// pinned to no version of this one.
func TestPinsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, def := newCloud(t), waits(time.Minute)
		c.must(c.host("7", func(o *Options) { o.Function = "api" }, def), startOf("x", 1))
		m, _ := c.next()
		h := c.host("8", nil, def)
		if got := status(t, c.must(h, m.body)); got != "succeeded" || len(c.invoked) > 0 {
			t.Errorf("of another function: got %s, %v invoked, want it to go on here", got, c.invoked)
		}
		e, err := durable.New(c.store, durable.Options{Host: "pod-1.west", HotWait: -1})
		if err == nil {
			err = e.Register(def)
		}
		if err == nil {
			err = e.Session(t.Context(), func(ctx context.Context) error {
				_, err := def.Start(ctx, e, "y", 1)
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := status(t, c.must(h, `{"clew": "resume", "id": "y"}`)); got != "succeeded" || len(c.invoked) > 0 {
			t.Errorf("of a worker: got %s, %v invoked, want it to go on here", got, c.invoked)
		}
	})
}

// TestTableOfTwoFunctions: what the sweep of one finds of the other, and cannot
// run, is no failed message; what nobody can run is.
func TestTableOfTwoFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.must(c.host("7", func(o *Options) { o.Function, o.Queue, o.SQS = "other", "", nil }, waits(time.Hour)), startOf("x", 1))
		c.store = rostered{c.store}
		h := c.host("7", nil, durable.Define("mine", "1", func(*durable.Context, int) (int, error) { return 0, nil }))
		time.Sleep(time.Hour)
		c.must(h, `{"clew": "sweep"}`)
		m, ok := c.next()
		if !ok {
			t.Fatal("the sweep did not find it")
		}
		if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 || strings.Contains(c.metrics.String(), "Unserved") {
			t.Errorf("got failures %v, metrics %s, want it left to its function", got, c.metrics)
		}
		if rec := c.load("x"); rec.Status != durable.StatusSuspended {
			t.Errorf("got %v, want it as it was", rec.Status)
		}
	})
}

// TestPinThatIsOld: a wake-up that has been under way for long does not bring an
// execution to the version that had it then.
func TestPinThatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, def := newCloud(t), waits(5*time.Minute)
		old, new := c.host("7", nil, def), c.host("8", nil, def)
		c.must(old, startOf("x", 2))
		m, _ := c.next()
		c.gone = true // for a moment, and 8 takes it
		c.must(new, m.body)
		c.gone = false
		c.queue = nil
		time.Sleep(5 * time.Minute)
		if got := c.must(old, m.body); !strings.Contains(got, "handed to version 8") {
			t.Errorf("the first wake-up again, in version 7: got %s, want it handed to version 8", got)
		}
		var r resume
		if err := json.Unmarshal([]byte(c.invoked["8"]), &r); err != nil || c.load("x").Status != durable.StatusSuspended {
			t.Fatalf("got %s invoked, %v", c.invoked["8"], c.load("x").Status)
		}
		time.Sleep(5 * time.Minute) // the invocation waits for as long in Lambda's own queue
		if got := status(t, c.must(new, c.invoked["8"])); got != "succeeded" || len(c.invoked) != 1 {
			t.Errorf("in version 8: got %s, invoked %v, want it to end there", got, c.invoked)
		}
	})
}

// millis is a store that keeps milliseconds.
type millis struct{ durable.Store }

func (s millis) up(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(time.Millisecond - 1).Truncate(time.Millisecond)
}

func (s millis) Create(ctx context.Context, c *durable.Create) error {
	own := *c
	own.Due = s.up(c.Due)
	if c.First != nil {
		first := *c.First
		first.Due, first.Lease = s.up(first.Due), s.up(first.Lease)
		own.First = &first
	}
	return s.Store.Create(ctx, &own)
}

func (s millis) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	own := *c
	own.Due, own.Lease = s.up(c.Due), s.up(c.Lease)
	return s.Store.Commit(ctx, &own)
}

// TestResumeByMilliseconds: where a store rounds up when something is due, a
// wake-up by a clock that is ahead waits until then.
func TestResumeByMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.store = millis{c.store}
		h := c.host("7", nil, waits(30*time.Second+300*time.Microsecond))
		c.must(h, startOf("x", 1))
		body := c.queue[0].body
		time.Sleep(29 * time.Second)
		time.Sleep(500 * time.Millisecond)
		if got := c.must(h, body); !strings.Contains(got, `"succeeded"`) {
			t.Errorf("half a second early: got %s, want it to wait and run", got)
		}
		// The same where the time is read.
		c.must(h, startOf("y", 1))
		time.Sleep(29500 * time.Millisecond)
		if got := c.must(h, `{"clew": "resume", "id": "y"}`); !strings.Contains(got, `"succeeded"`) {
			t.Errorf("half a second early, without a time: got %s, want it to wait and run", got)
		}
	})
}
