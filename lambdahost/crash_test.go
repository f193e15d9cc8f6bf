package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// sandbox is the store and the queue of one sandbox, which dies at its k-th
// write or send, before or after it takes place: nothing passes from then on.
type sandbox struct {
	durable.Store
	c     *cloud
	k     int
	after bool

	mu   sync.Mutex
	done int
	dead chan struct{}
}

var errDead = errors.New("no answer: the sandbox is dead")

// pass lets a write through, or tells that it is the last one, or comes too late.
func (s *sandbox) pass() (through bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.dead:
		return false, errDead
	default:
	}
	if s.done++; s.done != s.k {
		return true, nil
	}
	close(s.dead)
	return s.after, errDead
}

func through[T any](s *sandbox, call func() (T, error)) (out T, err error) {
	pass, dead := s.pass()
	if pass {
		out, err = call()
	}
	if dead != nil {
		return *new(T), dead
	}
	return out, err
}

func (s *sandbox) Create(ctx context.Context, c *durable.Create) error {
	_, err := through(s, func() (int, error) { return 0, s.Store.Create(ctx, c) })
	return err
}

func (s *sandbox) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	return through(s, func() (*durable.Record, error) { return s.Store.Claim(ctx, c) })
}

func (s *sandbox) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	return through(s, func() (durable.Receipt, error) { return s.Store.Commit(ctx, c) })
}

func (s *sandbox) Deliver(ctx context.Context, d *durable.Delivery) error {
	_, err := through(s, func() (int, error) { return 0, s.Store.Deliver(ctx, d) })
	return err
}

func (s *sandbox) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, opts ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	return through(s, func() (*sqs.SendMessageBatchOutput, error) { return s.c.SendMessageBatch(ctx, in, opts...) })
}

// outside is what a saga did outside.
type outside struct {
	mu     sync.Mutex
	stands map[string]bool
	undone map[string]bool
	bad    []string
}

func (o *outside) do(step string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.undone[step] {
		o.bad = append(o.bad, step+" after its undo")
	}
	o.stands[step] = true
}

func (o *outside) undo(step string, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known && !o.stands[step] && !o.undone[step] {
		o.bad = append(o.bad, "undo of "+step+", which was never done")
	}
	o.undone[step] = true
	delete(o.stands, step)
}

// trip is a saga with waits, that ends well or unwinds.
func trip(t *testing.T, o *outside, well bool) *saga.Saga[int, string] {
	t.Helper()
	return tripNamed(t, "trip", o, well)
}

func tripNamed(t *testing.T, name string, o *outside, well bool) *saga.Saga[int, string] {
	t.Helper()
	b := saga.New[int, string](name, "1")
	step := func(name string) func(saga.Context, int) (string, error) {
		return func(saga.Context, int) (string, error) { o.do(name); return name, nil }
	}
	back := func(name string) func(saga.UndoContext, int, saga.Maybe[string]) error {
		return func(_ saga.UndoContext, _ int, v saga.Maybe[string]) error {
			_, known := v.Get()
			o.undo(name, known)
			return nil
		}
	}
	saga.Step(b, "flight", step("flight")).Undo(back("flight"))
	saga.Wait(b, "cool off", 30*time.Second)
	g := saga.Parallel(b, "rest")
	saga.Step(g, "hotel", step("hotel")).Undo(back("hotel"))
	saga.Step(g, "car", func(ctx saga.Context, n int) (string, error) {
		if !well {
			return "", saga.Reject(errors.New("no car"))
		}
		return step("car")(ctx, n)
	}).Undo(back("car"))
	saga.Wait(b, "sleep on it", 2*time.Minute)
	saga.Pivot(b, "pay", step("pay")).ParkInDoubt()
	sg, err := b.Build(func(saga.Context, int) (string, error) { return "ok", nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

// TestKilledAnywhere kills each of the first invocations at each of its writes and
// sends: with sweeps and repeated messages every saga ends all done or all undone,
// or is parked with its pivot in doubt.
func TestKilledAnywhere(t *testing.T) {
	kills := 0
	for _, well := range []bool{true, false} {
		for _, after := range []bool{true, false} {
			for victim := range 8 { // of which every second one gets a repeated message
				for k, hit := 1, true; hit; k++ {
					synctest.Test(t, func(t *testing.T) { hit = killed(t, well, after, victim, k) })
					if hit {
						kills++
					}
				}
			}
		}
	}
	if t.Logf("%d kills", kills); kills < 30 {
		t.Errorf("got %d kills, want one at each write of each invocation", kills)
	}
}

// killed runs one saga whose n-th invocation is killed at its k-th write, and
// tells whether it had that many.
func killed(t *testing.T, well, after bool, victim, k int) (hit bool) {
	c, o := newCloud(t), &outside{stands: map[string]bool{}, undone: map[string]bool{}}
	n := 0
	invoke := func(payload string) {
		box := &sandbox{Store: c.store, c: c, after: after, dead: make(chan struct{})}
		if n == victim {
			box.k = k
		}
		n++
		h := c.host("7", func(opts *Options) {
			opts.Open = func(context.Context) (durable.Store, error) { return box, nil }
			opts.SQS = box
		}, trip(t, o, well))
		_, _ = c.event(h, payload) // what came of it the sweep finds out
		select {
		case <-box.dead:
			hit = true
		default:
		}
	}
	const start = `{"clew": "start", "definition": "trip", "id": "x", "input": 1}`
	invoke(start)
	if _, err := c.store.Load(t.Context(), "x", durable.LoadHead); errors.Is(err, durable.ErrNotFound) {
		invoke(start) // as a caller does that got no answer
	}
	for minutes := 0; minutes < 20; minutes++ {
		rec := c.load("x")
		if rec.Status.Ended() || rec.Status == durable.StatusParked {
			break
		}
		for next := time.Now().Add(time.Minute); time.Now().Before(next); {
			c.mu.Lock()
			waits := len(c.queue) == 0
			c.mu.Unlock()
			if waits {
				time.Sleep(time.Second)
				continue
			}
			m, _ := c.next()
			invoke(batchOf(m.body))
			invoke(batchOf(m.body)) // at least once is twice
		}
		invoke(`{"clew": "sweep"}`)
	}
	o.judge(t, fmt.Sprintf("well %v, killed after %v in invocation %d at %d", well, after, victim, k), c.load("x"), well)
	return hit
}

func (o *outside) judge(t *testing.T, plan string, rec *durable.Record, well bool) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	got := fmt.Sprint(saga.StatusOf(&rec.Head), " ", len(o.stands))
	want := map[bool][]string{true: {"committed/none 4", "running/stuck 4", "running/stuck 3"}, false: {"rejected/complete 0"}}[well]
	for i, w := range want {
		if got == w && len(o.bad) == 0 && (i == 0 || rec.Park != nil && rec.Park.Reason == saga.ParkPivotInDoubt) {
			return
		}
	}
	t.Errorf("%s: got %s with %v standing, bad %v, park %+v, want one of %v", plan, got, o.stands, o.bad, rec.Park, want)
}
