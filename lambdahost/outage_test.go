package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/durable"
)

// halfBroken is a store that does not tell what is due of one definition, nor of
// which there are any.
type halfBroken struct{ durable.Store }

var errHalf = errors.New("throttled")

func (s halfBroken) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	if q.Definition == "broken" {
		return durable.DuePage{}, errHalf
	}
	return s.Store.Due(ctx, q)
}

func (halfBroken) Enrol(context.Context, [][2]string) ([][2]string, error) { return nil, errHalf }

// TestSweepThatFailsHalfway: what fails for one definition does not keep the
// others from being woken, nor the metrics from being told, and is an error.
func TestSweepThatFailsHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.must(c.host("7", func(o *Options) { o.Queue, o.SQS = "", nil }, waits(time.Hour)), startOf("x", 1))
		time.Sleep(time.Hour + 30*time.Second)
		c.store = halfBroken{c.store}
		broken := durable.Define("broken", "1", func(*durable.Context, int) (int, error) { return 0, nil })
		_, err := c.event(c.host("7", nil, broken, waits(time.Hour)), `{"clew": "sweep"}`)
		if !errors.Is(err, errHalf) || !strings.Contains(err.Error(), "broken@1") || !strings.Contains(err.Error(), "definitions of the table") {
			t.Errorf("got %v, want an error that names both", err)
		}
		if c.queued() != 1 || !strings.Contains(c.metrics.String(), `"OldestDue":30,`) {
			t.Errorf("got %d messages, metrics %s, want x woken and told", c.queued(), c.metrics)
		}
	})
}

// endless is a store in which ever more is due, each page after a while.
type endless struct{ durable.Store }

func (endless) Due(ctx context.Context, q *durable.DueQuery) (page durable.DuePage, err error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return page, ctx.Err()
	}
	var n int
	_, _ = fmt.Sscan(q.Cursor, &n)
	page.Next = fmt.Sprint(n + 1)
	for i := range 100 {
		page.Entries = append(page.Entries, durable.DueEntry{ID: fmt.Sprint("x", n, ".", i), At: time.Now().Add(-200 * time.Second)})
	}
	return page, nil
}

// TestSweepWithoutEnd: a sweep that comes to no end tells what it has seen, and
// answers before the deadline.
func TestSweepWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.store = endless{c.store}
		began := time.Now()
		_, err := c.event(c.host("7", nil, waits(time.Hour)), `{"clew": "sweep"}`)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) >= c.timeout {
			t.Errorf("got %v after %v, want an error before the deadline", err, time.Since(began))
		}
		if !strings.Contains(c.metrics.String(), `"Lateness":199,`) {
			t.Errorf("got metrics %s, want the lateness", c.metrics)
		}
	})
}

// herd is a store in which many have become due at the same time, and nobody does
// anything about it.
type herd struct {
	durable.Store
	n  int
	at time.Time
}

func (s *herd) Due(_ context.Context, q *durable.DueQuery) (page durable.DuePage, err error) {
	var i int
	_, _ = fmt.Sscan(q.Cursor, &i)
	for ; i < s.n && len(page.Entries) < q.Limit; i++ {
		page.Entries = append(page.Entries, durable.DueEntry{ID: fmt.Sprint("x", i), At: s.at})
	}
	if i < s.n {
		page.Next = fmt.Sprint(i)
	}
	return page, nil
}

// TestSweepOfMany: what one sweep cannot take on comes in the next ones, and none
// is woken over and over meanwhile.
func TestSweepOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		c.store = &herd{c.store, 2*maxSwept + 500, time.Now()}
		h := c.host("7", nil, waits(time.Hour))
		time.Sleep(30 * time.Second)
		seen := map[string]int{}
		for range 8 {
			if got := c.must(h, `{"clew": "sweep"}`); strings.Contains(got, fmt.Sprint(maxSwept+1)) {
				t.Errorf("got %s, want at most %d", got, maxSwept)
			}
			for _, m := range c.queue {
				seen[m.body[:strings.Index(m.body, `,"def`)]]++
			}
			c.queue = nil
			time.Sleep(time.Minute)
		}
		most := 0
		for _, n := range seen {
			most = max(most, n)
		}
		if len(seen) != 2*maxSwept+500 || most > 4 {
			t.Errorf("in eight sweeps: got %d woken, one of them %d times, want all, up to 4 times", len(seen), most)
		}
	})
}

// hangs is a queue that never answers.
type hangs struct{}

func (hangs) SendMessageBatch(ctx context.Context, _ *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestQueueThatHangs: a queue that does not answer does not keep an invocation
// from its own answer, and what could not be queued is said where it matters.
func TestQueueThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		flushed := false
		h := c.host("7", func(o *Options) {
			o.SQS = hangs{}
			o.Flush = func(ctx context.Context) error { flushed = ctx.Err() == nil; return nil }
		}, waits(time.Minute), durable.Define("long", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "long", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }, durable.WithTimeout(58*time.Second))
		}))
		for _, start := range []string{startOf("a", 1), `{"clew": "start", "definition": "waits", "id": "b", "input": 1, "async": true}`, `{"clew": "start", "definition": "long", "id": "c", "input": 1}`} {
			began := time.Now()
			flushed = false
			if out := c.must(h, start); time.Since(began) >= c.timeout || !flushed {
				t.Errorf("%s: got %s after %v, flushed %v, want it before the deadline, and telemetry too", start, out, time.Since(began), flushed)
			}
		}
		time.Sleep(20 * time.Second)
		if _, err := c.event(h, `{"clew": "sweep"}`); err == nil || !strings.Contains(err.Error(), "3 wake-ups could not be queued") {
			t.Errorf("a sweep: got %v, want an error that says how many", err)
		}
		if !strings.Contains(c.metrics.String(), `"Sent":0`) {
			t.Errorf("got metrics %s, want none sent", c.metrics)
		}
		// The message of an execution that could not be handed on stays.
		if got := failures(t, c.must(h, batchOf(`{"clew": "resume", "id": "c"}`))); len(got) != 1 {
			t.Errorf("a batch: got failures %v, want the message to stay", got)
		}
	})
}

// TestExitSendsFirst: what others have handed over is queued before a process ends
// because of code that does not return.
func TestExitSendsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		release := make(chan struct{})
		stays := deaf(release)
		late := durable.Define("late", "1", func(ctx *durable.Context, _ int) (int, error) {
			for {
				if _, err := durable.Step(ctx, "a", func(context.Context) (int, error) { time.Sleep(57950 * time.Millisecond); return 0, nil }, durable.WithTimeout(58*time.Second)); err != nil {
					return 0, err
				}
			}
		})
		h := c.host("7", func(o *Options) { o.SQS = slowQueue{c} }, stays, late)
		sent := ""
		h.exit = func(int) { c.mu.Lock(); defer c.mu.Unlock(); sent = fmt.Sprint(c.queue) }
		_, err := c.event(h, batchOf(`{"clew": "start", "definition": "late", "id": "l", "input": 0}`, `{"clew": "start", "definition": "deaf", "id": "d", "input": 0}`))
		if !errors.Is(err, durable.ErrStillRunning) || !strings.Contains(sent, `"id":"l"`) {
			t.Errorf("got %v with messages %s, want ErrStillRunning and what l had handed over", err, sent)
		}
		close(release)
		synctest.Wait()
	})
}

// slowQueue takes almost as long as a request may.
type slowQueue struct{ *cloud }

func (q slowQueue) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, opts ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	time.Sleep(1900 * time.Millisecond)
	return q.cloud.SendMessageBatch(ctx, in, opts...)
}
