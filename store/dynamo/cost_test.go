package dynamo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/saga"
)

// The tests in this file are the bill: what the service reports as consumed,
// with inputs and results of 200 bytes.

// text200 is 200 bytes as JSON.
var text200 = strings.Repeat("x", 198)

// world is an engine that runs over a metered table.
type world struct {
	*meter
	store  *Store
	engine *durable.Engine
	stop   func() // returns once all that the engine sent has been counted

	once    sync.Once
	looking *Store
}

func newWorld(t *testing.T, defs ...durable.Registrable) *world {
	t.Helper()
	client := dynamolocal.Client(t)
	w := &world{meter: &meter{API: client}}
	opts := newTable(t, client)
	w.store = open(t, w.meter, opts)
	w.used = usage{} // of Open
	w.run(t, defs...)
	return w
}

// run starts an engine, which ends with the test. It holds no execution in
// memory while it waits: a day is longer than that. Nor does it look after the
// inbox of steps, because a slow machine would be billed for being slow.
func (w *world) run(t *testing.T, defs ...durable.Registrable) {
	t.Helper()
	engine, err := durable.New(w.store, durable.Options{HotWait: -1, InboxCheck: time.Minute})
	if err == nil {
		err = engine.Register(defs...)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := engine.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	w.engine, w.stop = engine, func() { stop(); <-ended }
	t.Cleanup(w.stop)
	for before := w.polled(); w.polled() == before; { // then it works
		time.Sleep(time.Millisecond)
	}
}

func (w *world) polled() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.polls.requests
}

func step(ctx *durable.Context, name string) (string, error) {
	return durable.Step(ctx, name, func(context.Context) (string, error) { return text200, nil })
}

func steps(ctx *durable.Context, n int) error {
	for i := range n {
		if _, err := step(ctx, fmt.Sprintf("step-%d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// order is a saga of five steps that can be undone; the one at fail fails.
func order(t *testing.T, fail int) *saga.Saga[string, string] {
	t.Helper()
	b := saga.New[string, string]("order", "1")
	for i := 1; i <= 5; i++ {
		saga.Step(b, fmt.Sprintf("step-%d", i), func(saga.Context, string) (string, error) {
			if i == fail {
				return "", saga.Reject(errors.New("card declined"))
			}
			return text200, nil
		}).Undo(func(saga.UndoContext, string, saga.Maybe[string]) error { return nil })
	}
	s, err := b.Build(func(saga.Context, string) (string, error) { return text200, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCostFiveStepsOK(t *testing.T) {
	s := order(t, 0)
	w := newWorld(t, s)
	x, err := s.Start(t.Context(), w.engine, "order-00017", text200)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Wait(t.Context()); out != text200 || err != nil {
		t.Fatalf("got %q, %v", out, err)
	}
	w.wantBill(t)
	durabletest.WithinBudget(t, w.look(t), "order-00017", durabletest.Budget{Requests: 6, WriteUnits: 8})
	w.report(t, "five-steps-ok", w.total(), 1, 6, 13)
}

func TestCostFailAtFour(t *testing.T) {
	s := order(t, 4)
	w := newWorld(t, s)
	x, err := s.Start(t.Context(), w.engine, "order-00017", text200)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "undone: step-3, step-2, step-1") {
		t.Fatalf("got %v, want three steps undone", err)
	}
	w.wantBill(t)
	w.report(t, "fail-at-four", w.total(), 1, 8, 18)
}

// A day is a moment here: what a wait costs does not depend on its length.
func TestCostOneDayWait(t *testing.T) {
	def := durable.Define("day", "1", func(ctx *durable.Context, _ string) (string, error) {
		if _, err := step(ctx, "before"); err != nil {
			return "", err
		}
		if err := durable.Wait(ctx, "day", 300*time.Millisecond); err != nil {
			return "", err
		}
		return text200, nil
	})
	w := newWorld(t, def)
	w.execute(t, def)
	w.report(t, "one-day-wait", w.total(), 1, 4, 10)
}

// execute runs one execution to its end, and waits without reading it: who
// waits for a result is no part of what the execution costs.
func (w *world) execute(t *testing.T, def *durable.Definition[string, string]) {
	t.Helper()
	w.start(t, def)
	w.ended(t)
}

func (w *world) start(t *testing.T, def *durable.Definition[string, string]) {
	t.Helper()
	if _, err := def.Start(t.Context(), w.engine, "order-00017", text200); err != nil {
		t.Fatal(err)
	}
}

func (w *world) ended(t *testing.T) {
	t.Helper()
	rec := w.until(t, hasEnded)
	if rec.Status != durable.StatusSucceeded {
		t.Fatalf("ended as %v: %v", rec.Status, rec.Error)
	}
	w.stop()
	w.wantBill(t)
}

// wantBill checks that the record tells its consumption as the service did.
func (w *world) wantBill(t *testing.T) {
	t.Helper()
	got := w.until(t, hasEnded).Usage
	want := w.total()
	if float64(got.WriteUnits+got.IndexUnits) != want.wru || got.Requests != int64(want.requests) || got.ReadUnits != want.rru {
		t.Errorf("the bill is %+v, want what the service counted: %+v", got, want)
	}
}

func suspended(rec *durable.Record) bool { return rec.Status == durable.StatusSuspended }

func hasEnded(rec *durable.Record) bool { return rec.Status.Ended() }

// look is a store on the table that is not metered.
func (w *world) look(t *testing.T) *Store {
	t.Helper()
	w.once.Do(func() { w.looking = open(t, dynamolocal.Client(t), Options{Table: w.store.table}) })
	return w.looking
}

// until waits for what is to become of the execution, and looks without being
// metered.
func (w *world) until(t *testing.T, is func(*durable.Record) bool) *durable.Record {
	t.Helper()
	look := w.look(t)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		rec, err := look.Load(t.Context(), "order-00017", durable.LoadAll)
		if err != nil {
			t.Fatal(err)
		}
		if is(rec) {
			return rec
		}
	}
	t.Fatal("nothing came of it within 20 s")
	return nil
}

func TestCostHumanCallback(t *testing.T) {
	ids := make(chan string, 1)
	def := durable.Define("human", "1", func(ctx *durable.Context, _ string) (string, error) {
		answer, err := durable.CreateCallback[string](ctx, "approval")
		if err != nil {
			return "", err
		}
		_, err = durable.Step(ctx, "ask", func(context.Context) (string, error) {
			ids <- answer.ID()
			return text200, nil
		})
		if err != nil {
			return "", err
		}
		return answer.Result(ctx)
	})
	w := newWorld(t, def)
	if _, err := def.Start(t.Context(), w.engine, "order-00017", text200); err != nil {
		t.Fatal(err)
	}
	id := <-ids
	w.until(t, suspended) // a person takes longer
	if err := w.engine.CompleteCallback(t.Context(), id, text200); err != nil {
		t.Fatal(err)
	}
	w.ended(t)
	w.report(t, "human-callback", w.total(), 1, 6, 16)
}

func TestCostHundredSteps(t *testing.T) {
	const n = 100
	def := durable.Define("long", "1", func(ctx *durable.Context, _ string) (string, error) {
		return text200, steps(ctx, n)
	})
	w := newWorld(t, def)
	w.execute(t, def)
	w.report(t, "hundred-steps", w.total(), n, 1.2, 2.4)
}

// parallelTen runs ten flat branches of one step each, which begin together. A
// body ends once end, which gets its number, has returned.
//
// Strands that begin together mostly share a write, but a machine that is busy
// with other things may bring the last of them too late: then it is run again.
func parallelTen(t *testing.T, requests int, end func() func(w *world, i int)) *world {
	t.Helper()
	for tries := 1; ; tries++ {
		var w *world
		ended := end()
		def := durable.Define("ten", "1", func(ctx *durable.Context, _ string) (string, error) {
			_, err := durable.Map(ctx, "ten", make([]struct{}, 10), func(ctx *durable.Context, _ struct{}, i int) (string, error) {
				return durable.Step(ctx, "step", func(context.Context) (string, error) {
					ended(w, i)
					return text200, nil
				})
			}, durable.Flat())
			return text200, err
		})
		w = newWorld(t, def)
		w.start(t, def)
		w.until(t, hasEnded)
		w.stop()
		if w.total().requests <= requests || tries == 5 {
			w.wantBill(t)
			return w
		}
	}
}

// TestCostParallelTen: no branch ends before the results of those before it are
// durable, so that no write takes two of them along. When all of them end at
// once, one write does.
func TestCostParallelTen(t *testing.T) {
	w := parallelTen(t, 11, func() func(*world, int) {
		return func(w *world, i int) {
			w.until(t, func(rec *durable.Record) bool { return resultsOf(rec) >= i })
		}
	})
	w.report(t, "parallel-ten", w.total(), 1, 12, 30)
	turns := w.total()
	at := parallelTen(t, 2, func() func(*world, int) {
		var started sync.WaitGroup
		started.Add(10)
		return func(*world, int) { started.Done(); started.Wait() }
	}).total()
	t.Logf("cost: parallel-ten-at-once requests=%d wru=%g rru=%g", at.requests, at.wru, at.rru)
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	says := fmt.Sprintf("%d requests and %g write units when they end one after the other, %d and %g when all end at once", turns.requests, turns.wru, at.requests, at.wru)
	if !strings.Contains(strings.Join(strings.Fields(string(doc)), " "), says) {
		t.Errorf("docs/operations.md does not say %q", says)
	}
}

func resultsOf(rec *durable.Record) (n int) {
	for i := range rec.Journal {
		if e := &rec.Journal[i]; e.Kind == durable.EntryResult && e.Op > 1 {
			n++
		}
	}
	return n
}

// TestCostColdReplay: five steps are behind it when another process takes an
// execution over.
func TestCostColdReplay(t *testing.T) {
	def := durable.Define("cold", "1", func(ctx *durable.Context, _ string) (string, error) {
		if err := steps(ctx, 5); err != nil {
			return "", err
		}
		if err := durable.Wait(ctx, "pause", time.Second); err != nil {
			return "", err
		}
		return text200, nil
	})
	w := newWorld(t, def)
	if _, err := def.Start(t.Context(), w.engine, "order-00017", text200); err != nil {
		t.Fatal(err)
	}
	w.until(t, suspended)
	w.stop()
	before := w.total()
	w.store = open(t, w.meter.API, Options{Table: w.store.table}) // as another process has it
	w.store.api = w.meter
	w.run(t, def)
	w.ended(t)
	u := w.total().minus(before)
	w.report(t, "cold-replay", u, 1, 3, 9)
	if u.rru > 1 {
		t.Errorf("cold-replay reads %g units, want at most 1", u.rru)
	}
}
