package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/durable"
)

// world is what a sandbox can reach. It notes what comes from it while it should
// be frozen, and fails from a time on if it is told to.
type world struct {
	durable.Store
	c *cloud

	mu     sync.Mutex
	frozen bool
	broken time.Time // from then on nothing works; zero is never
	calls  int
	stray  []string
}

func (w *world) call(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.frozen {
		w.stray = append(w.stray, what)
	}
	if !w.broken.IsZero() && time.Now().After(w.broken) {
		return errors.New("no answer")
	}
	return nil
}

func (w *world) Create(ctx context.Context, c *durable.Create) error {
	if err := w.call("create " + c.ID); err != nil {
		return err
	}
	return w.Store.Create(ctx, c)
}

func (w *world) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	if err := w.call("claim " + c.ID); err != nil {
		return nil, err
	}
	return w.Store.Claim(ctx, c)
}

func (w *world) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if err := w.call(fmt.Sprint("commit ", c.ID, " ", c.Status)); err != nil {
		return durable.Receipt{}, err
	}
	return w.Store.Commit(ctx, c)
}

func (w *world) Deliver(ctx context.Context, d *durable.Delivery) error {
	if err := w.call("deliver " + d.Key + " to " + d.ID); err != nil {
		return err
	}
	return w.Store.Deliver(ctx, d)
}

func (w *world) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if err := w.call("load " + id); err != nil {
		return nil, err
	}
	return w.Store.Load(ctx, id, what)
}

func (w *world) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, opts ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	if err := w.call("send"); err != nil {
		return nil, err
	}
	return w.c.SendMessageBatch(ctx, in, opts...)
}

func (w *world) Observe(ctx context.Context, o *durable.Observation) context.Context {
	_ = w.call(fmt.Sprint("observe ", o.Kind))
	return ctx
}

// busy does something of everything.
func busy(w *world) []durable.Registrable {
	step := func(ctx *durable.Context, name string, d time.Duration) error {
		_, err := durable.Step(ctx, name, func(ctx context.Context) (int, error) {
			if err := w.call("body " + name); err != nil {
				return 0, err
			}
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			if info, _ := durable.StepInfoFrom(ctx); info.Attempt < 2 {
				return 0, errors.New("once more")
			}
			return 0, w.call("end of " + name)
		}, durable.WithTimeout(15*time.Second), durable.WithHeartbeat(10*time.Second), durable.WithRetry(durable.Retry{MaxAttempts: 6, Initial: 300 * time.Millisecond, Multiplier: 1, Max: 300 * time.Millisecond, NoJitter: true}))
		return err
	}
	child := durable.Define("child", "1", func(ctx *durable.Context, n int) (int, error) { return n, step(ctx, "c", 200*time.Millisecond) })
	all := durable.Define("all", "1", func(ctx *durable.Context, n int) (int, error) {
		_, err := durable.Parallel(ctx, "p", []durable.Branch[int]{
			{Run: func(ctx *durable.Context) (int, error) {
				return 0, step(ctx, "a", time.Duration(min(n, 12))*time.Second)
			}},
			{Run: func(ctx *durable.Context) (int, error) { return 0, durable.Wait(ctx, "short", 700*time.Millisecond) }},
			{Run: func(ctx *durable.Context) (int, error) {
				if n == 0 {
					return 0, nil // this one gets to its end
				}
				return durable.Invoke(ctx, "i", child, n)
			}},
		})
		if err != nil {
			return 0, err
		}
		for i := range 2 * n { // what goes on until the deadline
			if err := step(ctx, fmt.Sprint("s", i), time.Second); err != nil {
				return 0, err
			}
		}
		panic("and parks")
	}, durable.WithOnParked(func(ctx context.Context, _ durable.Head) {
		_ = w.call("parked")
		time.Sleep(300 * time.Millisecond)
		_ = w.call("told that it is parked")
	}))
	return []durable.Registrable{child, all}
}

// bubble is the stacks of the goroutines of the bubble that it is called in.
func bubble() (stacks []string) {
	buf := make([]byte, 1<<22)
	all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
	_, mine, _ := strings.Cut(all[0], "synctest bubble ") // its own comes first
	mine, _, _ = strings.Cut(mine, "]")
	for _, stack := range all {
		if first, _, _ := strings.Cut(stack, "\n"); strings.HasSuffix(first, "synctest bubble "+mine+"]:") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// TestFrozen: when an invocation has returned nothing of it is left that would go
// on once the sandbox is thawed, whatever happened in it.
func TestFrozen(t *testing.T) {
	var starts []string
	for i := range 12 {
		starts = append(starts, fmt.Sprintf(`{"clew": "start", "definition": "all", "id": "x%d", "input": %d}`, i, i*3))
	}
	for _, plan := range []struct {
		name, event string
		broken      time.Duration // when store and queue break down; 0 is never
		stopped     time.Duration // when SIGTERM comes; 0 is never
	}{
		{"a start", starts[0], 0, 0},
		{"a start until the deadline", starts[11], 0, 0},
		{"a batch", batchOf(starts...), 0, 0},
		{"a batch, and everything breaks down at once", batchOf(starts...), time.Millisecond, 0},
		{"a batch, and everything breaks down", batchOf(starts...), 900 * time.Millisecond, 0},
		{"a batch, and everything breaks down late", batchOf(starts...), 40 * time.Second, 0},
		{"a batch, and SIGTERM", batchOf(starts...), 0, 900 * time.Millisecond},
		{"a batch, SIGTERM and a breakdown", batchOf(starts...), 800 * time.Millisecond, 900 * time.Millisecond},
		{"a sweep", `{"clew": "sweep"}`, 0, 0},
		{"a callback", `{"clew": "callback", "id": "x", "result": 1}`, 0, 0},
		{"an HTTP request", requestOf("POST", "/callbacks/x/complete", "1"), 0, 0},
	} {
		t.Run(plan.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud(t)
				w := &world{Store: c.store, c: c}
				c.store = w
				h := c.host("7", func(o *Options) { o.HotWait, o.SQS, o.Engine.Observer = 0, w, w }, busy(w)...)
				before := len(bubble())
				if plan.broken > 0 {
					w.broken = time.Now().Add(plan.broken)
				}
				if plan.stopped > 0 {
					defer time.AfterFunc(plan.stopped, h.stop).Stop()
				}
				began := time.Now()
				out, err := c.event(h, plan.event)
				w.mu.Lock()
				w.frozen = true
				calls := w.calls
				w.mu.Unlock()
				synctest.Wait()
				if after := bubble(); len(after) != before {
					t.Errorf("%d goroutines before the invocation, and after it:\n%s", before, strings.Join(after, "\n\n"))
				}
				if d := time.Since(began); d >= c.timeout || c.exits > 0 {
					t.Errorf("it took %v, and %d exits", d, c.exits)
				}
				if d := time.Since(began); plan.stopped > 0 && d > 2*time.Second {
					t.Errorf("it took %v, want it to drain after SIGTERM", d)
				}
				time.Sleep(time.Hour)
				if w.stray != nil {
					t.Errorf("after the invocation: %s", strings.Join(w.stray, ", "))
				}
				t.Logf("%d calls in %v: %.200s, %v", calls, time.Since(began)-time.Hour, out, err)
			})
		})
	}
}
