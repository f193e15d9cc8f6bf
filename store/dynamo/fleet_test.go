package dynamo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// TestFleet: three workers on one table, whose every sixteenth write lands and
// loses its answer. No owner gives an execution up for that: each step runs
// once, whoever runs it.
func TestFleet(t *testing.T) {
	const workers, executions = 3, 48
	client := dynamolocal.Client(t)
	opts := newTable(t, client)
	var bodies atomic.Int64
	def := durable.Define("fleet", "1", func(ctx *durable.Context, _ string) (int, error) {
		for i := range 5 {
			_, err := durable.Step(ctx, fmt.Sprintf("step-%d", i), func(context.Context) (string, error) {
				bodies.Add(1)
				return text200, nil
			})
			if err != nil {
				return 0, err
			}
			if i == 2 { // anybody may go on from here
				if err := durable.Wait(ctx, "pause", 50*time.Millisecond); err != nil {
					return 0, err
				}
			}
		}
		return 5, nil
	})
	var writes atomic.Int64
	loses := &faulty{API: client, after: func(err error) error {
		if err == nil && writes.Add(1)%16 == 0 {
			return syscall.ECONNRESET
		}
		return err
	}}
	ctx, stop := context.WithCancel(context.Background())
	var engines [workers]*durable.Engine
	var serving, starting sync.WaitGroup
	for i := range engines {
		e, err := durable.New(open(t, loses, opts), durable.Options{HotWait: -1})
		if err == nil {
			err = e.Register(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		engines[i] = e
		serving.Go(func() {
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range executions {
		starting.Go(func() {
			x, err := def.Start(t.Context(), engines[i%workers], fmt.Sprintf("order-%d", i), text200)
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := x.Wait(t.Context()); out != 5 || err != nil {
				t.Errorf("order-%d: got %d, %v, want 5", i, out, err)
			}
		})
	}
	starting.Wait()
	stop()
	serving.Wait()
	if got := bodies.Load(); got != 5*executions {
		t.Errorf("%d bodies ran, want %d: lost answers made owners give up", got, 5*executions)
	}
	s := open(t, client, opts)
	for i := range executions {
		rec := load(t, s, fmt.Sprintf("order-%d", i))
		if rec.Crashes != 0 || rec.Epoch > 2 { // 1 where the pause was over before anybody could rest
			t.Errorf("%s: %d crashes, epoch %d, want 0, and 2 at most", rec.ID, rec.Crashes, rec.Epoch)
		}
	}
}

// TestNoHerd: when very much falls due at one moment, workers do not go on to
// run after the same: beyond their first look, few claims come too late. Each
// of those is a write that is paid for. Without the rule it is six for each
// execution.
func TestNoHerd(t *testing.T) {
	const workers, executions = 8, 320
	client := dynamolocal.Client(t)
	opts := newTable(t, client)
	var late atomic.Int64
	counts := &faulty{API: client, after: func(err error) error {
		if _, is := refused(err); is {
			late.Add(1)
		}
		return err
	}}
	var ended sync.WaitGroup
	ended.Add(executions)
	def := durable.Define("order", "1", func(ctx *durable.Context, _ string) (string, error) {
		_, err := durable.Step(ctx, "only", func(context.Context) (string, error) { ended.Done(); return text200, nil })
		return text200, err
	})
	s := open(t, client, opts)
	for i := range executions {
		create(t, s, &durable.Create{Identity: identity(fmt.Sprintf("order-%d", i)), Now: time.Now(), Owner: "o", Due: time.Now()})
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	for range workers {
		e, err := durable.New(open(t, counts, opts), durable.Options{})
		if err == nil {
			err = e.Register(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	stop()
	serving.Wait()
	t.Logf("%d claims too late, for %d executions and %d workers", late.Load(), executions, workers)
	const first = (workers - 1) * 64 // all but the quickest, with as many slots each
	if got := late.Load(); got > first+executions {
		t.Errorf("%d claims came too late, want at most %d at the first look and one for each of the %d executions", got, first, executions)
	}
}
