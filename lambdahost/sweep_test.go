package lambdahost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

// TestSweep: a tick sends what is due or soon will be, each for its time, and
// tells how things stand.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		quiet := c.host("7", func(o *Options) { o.Queue, o.SQS = "", nil }, waits(time.Hour))
		h := c.host("7", nil, waits(time.Hour))
		panics := durable.Define("waits", "2", func(*durable.Context, int) (int, error) { panic("a bug") })
		c.must(c.host("7", nil, panics), `{"clew": "start", "definition": "waits", "id": "parked", "input": 0}`)
		c.must(quiet, startOf("a", 1))
		time.Sleep(30 * time.Second)
		c.must(quiet, startOf("b", 1))
		time.Sleep(30 * time.Second)
		c.must(quiet, startOf("c", 1))
		// A killed sandbox: a claim whose lease ends in a while.
		if _, err := c.store.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "dead/1", Now: time.Now().Add(time.Hour), Lease: time.Now().Add(59*time.Minute + 20*time.Second)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute) // b is due in half a minute, c in one, a's lease ends first
		got := c.must(h, `{"clew": "sweep"}`)
		if got != `{"sent":2,"ran":0,"due":0,"parked":1}` || c.queued() != 2 {
			t.Errorf("ahead of time: got %s and %d messages", got, c.queued())
		}
		for i, d := range []time.Duration{30 * time.Second, time.Minute} {
			if left := time.Until(c.queue[i].at); left != d {
				t.Errorf("message %d is for in %v, want %v", i, left, d)
			}
		}
		c.queue = nil
		c.metrics.Reset()
		time.Sleep(2 * time.Minute)
		if got := c.must(h, `{"source": "aws.events", "detail-type": "Scheduled Event", "time": "2030-01-01T00:00:00Z", "detail": {}}`); got != `{"sent":3,"ran":0,"due":3,"parked":1}` {
			t.Errorf("overdue: got %s", got)
		}
		var line struct {
			Parked, Due         int
			OldestDue, Lateness float64
			Function            string
			AWS                 struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal(bytes.TrimSpace(c.metrics.Bytes()), &line); err != nil {
			t.Fatalf("%s: %v", c.metrics, err)
		}
		if line.Parked != 1 || line.Due != 3 || line.OldestDue != 100 || line.Lateness != 90 || line.Function != "fn" ||
			len(line.AWS.CloudWatchMetrics) != 1 || line.AWS.CloudWatchMetrics[0].Namespace != "clew" || len(line.AWS.CloudWatchMetrics[0].Metrics) != 5 {
			t.Errorf("got metrics %s", c.metrics)
		}
	})
}

// TestSweepRepeatsItself: ever more seldom, so that a queue that cannot follow
// does not fill.
func TestSweepRepeatsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.must(c.host("7", func(o *Options) { o.Queue, o.SQS = "", nil }, waits(time.Hour)), startOf("x", 1))
		h := c.host("7", nil, waits(time.Hour))
		time.Sleep(time.Hour)
		var sent []int
		for minute := range 70 {
			if got := c.must(h, `{"clew": "sweep"}`); strings.Contains(got, `"sent":1`) {
				sent = append(sent, minute)
			}
			time.Sleep(time.Minute)
		}
		want := []int{0, 1, 2, 4, 8, 16, 32, 64} // where the stretches begin
		if len(sent) < len(want)-1 || len(sent) > len(want) || sent[0] != 0 || sent[1] != 1 {
			t.Fatalf("sent at the minutes %v, want once in each stretch from %v", sent, want)
		}
		for i := 2; i < len(sent); i++ {
			if sent[i] < want[i] || sent[i] >= 2*want[i] {
				t.Errorf("sent at the minutes %v, want once in each stretch from %v", sent, want)
			}
		}
	})
}

// TestSweepAlone: without a queue the sweep runs what is due, also what it was
// not the one to start.
func TestSweepAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", func(o *Options) { o.Queue, o.SQS = "", nil }, waits(time.Minute))
		for i := range 150 {
			c.must(h, startOf(fmt.Sprint("x", i), 1))
		}
		time.Sleep(time.Minute)
		if got := c.must(h, `{"clew": "sweep"}`); got != `{"sent":0,"ran":150,"due":150,"parked":0}` {
			t.Errorf("got %s", got)
		}
		for i := range 150 {
			if got := c.load(fmt.Sprint("x", i)).Status; got != durable.StatusSucceeded {
				t.Fatalf("x%d is %v, want succeeded", i, got)
			}
		}
	})
}

// rostered is a store that knows of a definition version nobody has here.
type rostered struct{ durable.Store }

func (rostered) Enrol(_ context.Context, mine [][2]string) ([][2]string, error) {
	return append(mine, [2]string{"waits", "1"}), nil
}

// TestSweepForOthers: what only an older version of the function can run is
// found all the same, and handed to it.
func TestSweepForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.must(c.host("7", func(o *Options) { o.Queue, o.SQS = "", nil }, waits(time.Hour)), startOf("x", 1))
		c.store = rostered{c.store}
		h := c.host("8", nil, durable.Define("waits", "2", func(*durable.Context, int) (int, error) { return 0, nil }))
		time.Sleep(time.Hour)
		c.must(h, `{"clew": "sweep"}`)
		m, ok := c.next()
		if !ok {
			t.Fatal("the sweep did not find it")
		}
		if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 || !strings.Contains(c.invoked["7"], `"x"`) {
			t.Errorf("got failures %v, handed to 7: %s", got, c.invoked["7"])
		}
	})
}

// TestOneDayWait: a day costs two activations, and nothing runs in between but
// the sweep. It ends within a second of its time, wherever that lies between two
// ticks.
func TestOneDayWait(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Second, 17 * time.Second, 44999 * time.Millisecond, 45 * time.Second, 59 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t)
			h := c.host("7", nil, waits(24*time.Hour))
			time.Sleep(offset)
			due := time.Now().Add(24 * time.Hour)
			c.must(h, startOf("x", 1))
			time.Sleep(time.Minute - offset)
			resumes := 0
			for c.load("x").Status == durable.StatusSuspended {
				tick := time.Now().Add(time.Minute)
				c.must(h, `{"clew": "sweep"}`)
				for c.queued() > 0 {
					m, _ := c.next()
					resumes++
					c.must(h, batchOf(m.body))
				}
				time.Sleep(time.Until(tick))
			}
			rec := c.load("x")
			if late := rec.Ended.Sub(due); rec.Activations != 2 || resumes > 2 || late < 0 || late > time.Second {
				t.Errorf("started %v after a tick: got %d activations and %d resumes, %v late, want 2, at most 2, and at most 1 s", offset, rec.Activations, resumes, late)
			}
		})
	}
}
