package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// priced is one operation in an execution that does nothing else.
type priced struct {
	name string // in docs/operations.md
	run  func(ctx *durable.Context) error
	// outside does what comes from outside, once the execution has started.
	outside func(t *testing.T, b *bench, id string)
	start   []durable.StartOption
	// asked is what the calls from outside consume besides, which is not part
	// of the execution's own bill.
	asked   usage
	fails   bool
	deleted bool
	whole   bool // all that it consumes, not what it does more than another
}

// bench is a world in which one operation after the other is priced.
type bench struct {
	*world
	looking *Store // not metered
	def     *durable.Definition[string, string]
	before  usage
	id      string // of the execution that is looked at in the end
}

const pause = 300 * time.Millisecond

// goOn lets a body end that waits for what is to happen first.
var goOn = make(chan struct{})

// invoked is an execution of one step, which ends once its caller is suspended.
var invoked = durable.Define("invoked", "1", func(ctx *durable.Context, _ string) (string, error) {
	return durable.Step(ctx, "s", func(context.Context) (string, error) { <-goOn; return text200, nil })
})

func child(*durable.Context) (string, error) { return "", nil }

// operations are what the table in docs/operations.md prices.
var operations = []priced{
	{name: "nothing", run: func(*durable.Context) error { return nil }},
	{name: "`Step`", run: func(ctx *durable.Context) error { _, err := step(ctx, "s"); return err }},
	{name: "`Step`, with `AtMostOnce`", run: func(ctx *durable.Context) error {
		_, err := durable.Step(ctx, "s", func(context.Context) (string, error) { return text200, nil }, durable.AtMostOnce())
		return err
	}},
	{name: "`Step`, second attempt after a back-off", run: func(ctx *durable.Context) error {
		_, err := durable.Step(ctx, "s", func(ctx context.Context) (string, error) {
			if info, _ := durable.StepInfoFrom(ctx); info.Attempt == 1 {
				return "", errors.New("gateway is away")
			}
			return text200, nil
		}, durable.WithRetry(durable.Retry{Initial: pause, NoJitter: true}))
		return err
	}},
	{name: "`Step`, with progress once", run: func(ctx *durable.Context) error {
		_, err := durable.Step(ctx, "s", func(ctx context.Context) (string, error) {
			err := durable.Heartbeat(ctx, 1)
			<-goOn
			return text200, err
		})
		return err
	}, outside: func(t *testing.T, b *bench, id string) {
		b.await(t, id, func(rec *durable.Record) bool {
			return slices.ContainsFunc(rec.Journal, func(e durable.Entry) bool { return e.Kind == durable.EntryProgress })
		})
		goOn <- struct{}{}
	}},
	{name: "`Wait`", run: func(ctx *durable.Context) error { return durable.Wait(ctx, "w", pause) }},
	{name: "`CreateCallback` and `Result`", run: func(ctx *durable.Context) error {
		cb, err := durable.CreateCallback[string](ctx, "cb")
		if err == nil {
			_, err = cb.Result(ctx)
		}
		return err
	}, outside: func(t *testing.T, b *bench, id string) { b.complete(t, id) }},
	{name: "`CreateCallback` and `Result`, a heartbeat", run: func(ctx *durable.Context) error {
		cb, err := durable.CreateCallback[string](ctx, "cb", durable.WithHeartbeatTimeout(time.Hour))
		if err == nil {
			_, err = cb.Result(ctx)
		}
		return err
	}, outside: func(t *testing.T, b *bench, id string) {
		if err := b.engine.HeartbeatCallback(t.Context(), b.callback(t, id)); err != nil {
			t.Error(err)
		}
		b.complete(t, id)
	}, asked: usage{requests: 1, wru: 1}},
	{name: "`WaitForCallback`", run: func(ctx *durable.Context) error {
		_, err := durable.WaitForCallback[string](ctx, "cb", func(context.Context, string) error { return nil })
		return err
	}, outside: func(t *testing.T, b *bench, id string) { b.complete(t, id) }},
	{name: "`WaitForCallback`, a reminder", run: func(ctx *durable.Context) error {
		_, err := durable.WaitForCallback[string](ctx, "cb", func(context.Context, string) error { return nil },
			durable.WithReminder(pause, func(context.Context, string) error { return nil }), durable.WithCallbackTimeout(2*pause))
		if errors.Is(err, durable.ErrCallbackTimeout) {
			return nil
		}
		return err
	}},
	{name: "`WaitForCondition`, two polls", run: func(ctx *durable.Context) error {
		_, err := durable.WaitForCondition(ctx, "c", 1, func(_ context.Context, n int) (int, bool, error) { return n + 1, n == 2, nil },
			durable.WithRetry(durable.Retry{Initial: pause, NoJitter: true}))
		return err
	}},
	{name: "`Child`", run: func(ctx *durable.Context) error { _, err := durable.Child(ctx, "c", child); return err }},
	{name: "`Parallel`, one branch", run: func(ctx *durable.Context) error {
		_, err := durable.Parallel(ctx, "p", []durable.Branch[string]{{Run: child}})
		return err
	}},
	{name: "`Map`, two items in turn", run: func(ctx *durable.Context) error { return mapOf(ctx) }},
	{name: "`Map`, two items in turn, `Flat`", run: func(ctx *durable.Context) error { return mapOf(ctx, durable.Flat()) }},
	{name: "`Go` and `Wait`", run: func(ctx *durable.Context) error { _, err := durable.Go(ctx, "g", child).Wait(ctx); return err }},
	{name: "`Go` and `Race`", run: func(ctx *durable.Context) error { _, err := durable.Race(ctx, durable.Go(ctx, "g", child)); return err }},
	{name: "`Invoke`, of one step, both executions", run: func(ctx *durable.Context) error {
		_, err := durable.Invoke(ctx, "i", invoked, text200)
		return err
	}, outside: func(t *testing.T, b *bench, id string) {
		b.await(t, id, suspended)
		goOn <- struct{}{}
	}},
	{name: "`Receive`", run: func(ctx *durable.Context) error { _, err := durable.Receive[string](ctx, "s", 0); return err },
		outside: func(t *testing.T, b *bench, id string) {
			b.await(t, id, suspended)
			if err := b.engine.Signal(t.Context(), id, "s", text200, "1"); err != nil {
				t.Error(err)
			}
		}},
	{name: "`Now`", run: func(ctx *durable.Context) error { _, err := durable.Now(ctx); return err }},
	{name: "`UUID`", run: func(ctx *durable.Context) error { _, err := durable.UUID(ctx); return err }},
	{name: "`Rand`", run: func(ctx *durable.Context) error { _, err := durable.Rand(ctx); return err }},
	{name: "`Version`", run: func(ctx *durable.Context) error { _, err := durable.Version(ctx, "v", 0, 1); return err }},
	{name: "`SetStatus`", run: func(ctx *durable.Context) error { ctx.SetStatus("charging"); return nil }},
	{name: "`ContinueAsNew`", run: func(ctx *durable.Context) error { return durable.ContinueAsNew(ctx, inputOf(0, 0)) }},
	{name: "`Park` and `Act`", run: func(ctx *durable.Context) error {
		_, err := ctx.Park("p", durable.Park{Reason: "review", Verbs: []durable.Verb{durable.VerbResume}})
		return err
	}, outside: func(t *testing.T, b *bench, id string) {
		rec := b.await(t, id, func(rec *durable.Record) bool { return rec.Status == durable.StatusParked })
		if err := b.engine.Act(t.Context(), id, rec.Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "seen"}); err != nil {
			t.Error(err)
		}
	}, asked: usage{requests: 1, rru: 1}},
	{name: "`Start`, with a delay", run: func(*durable.Context) error { return nil }, start: []durable.StartOption{durable.WithDelay(pause)}},
	{name: "`Start`, with a retention", run: func(*durable.Context) error { return nil }, start: []durable.StartOption{durable.WithRetention(time.Millisecond)}, deleted: true},
	{name: "`Wait` and `Cancel`", fails: true, run: func(ctx *durable.Context) error { return durable.Wait(ctx, "w", time.Hour) },
		outside: func(t *testing.T, b *bench, id string) {
			b.await(t, id, suspended)
			if err := b.engine.Cancel(t.Context(), id, "ada", "enough"); err != nil {
				t.Error(err)
			}
		}},
	{name: "`Wait` and `Terminate`", fails: true, run: func(ctx *durable.Context) error { return durable.Wait(ctx, "w", time.Hour) },
		outside: func(t *testing.T, b *bench, id string) {
			b.await(t, id, suspended)
			if err := b.engine.Terminate(t.Context(), id, "ada", "enough"); err != nil {
				t.Error(err)
			}
		}, asked: usage{requests: 1, rru: 1}},
	{name: "`Rerun`, from the second of two steps", run: func(ctx *durable.Context) error {
		if _, err := step(ctx, "a"); err != nil {
			return err
		}
		_, err := durable.Step(ctx, "b", func(ctx context.Context) (string, error) {
			if info, _ := durable.StepInfoFrom(ctx); !strings.Contains(info.Execution, "~") {
				return "", durable.NoEffect(errors.New("bad data"))
			}
			return text200, nil
		})
		return err
	}, outside: func(t *testing.T, b *bench, id string) {
		b.await(t, id, hasEnded)
		b.settled(t, usage{})
		b.before = b.total()
		again, err := b.engine.Rerun(t.Context(), id, "b", "ada", "data was mended")
		if err != nil {
			t.Error(err)
		}
		b.id = again
	}, asked: usage{requests: 2, rru: 2}, whole: true},
}

func mapOf(ctx *durable.Context, opts ...durable.ContextOption) error {
	_, err := durable.Map(ctx, "m", []int{1, 2}, func(*durable.Context, int, int) (string, error) { return "", nil },
		append(opts, durable.WithMaxConcurrency(1))...)
	return err
}

// inputOf is which operation is priced, after how many steps, in 200 bytes.
func inputOf(i, steps int) string { return fmt.Sprintf("%-198s", fmt.Sprint(i, steps)) }

// TestCostOfOperations prices each operation by what an execution that does
// nothing else costs more than one that does nothing, and again in one that has
// a step before; and sees that docs/operations.md says the same.
func TestCostOfOperations(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{def: durable.Define("priced", "1", func(ctx *durable.Context, in string) (string, error) {
		var i, before int
		if _, err := fmt.Sscan(in, &i, &before); err != nil {
			return "", err
		}
		if err := steps(ctx, before); err != nil {
			return "", err
		}
		if err := operations[i].run(ctx); err != nil {
			return "", err
		}
		return text200, nil
	})}
	b.world = newWorld(t, b.def, invoked)
	b.looking = b.look(t)
	var empty, stepped usage // what executions cost without the operation
	for i := range operations {
		p := &operations[i]
		alone, events := b.price(t, p, i, 0)
		behind, _ := b.price(t, p, i, 1)
		switch {
		case i == 0:
			empty, stepped = alone, behind
		case !p.whole:
			alone, behind = alone.minus(empty), behind.minus(stepped)
		}
		t.Logf("cost: %s requests=%d wru=%g rru=%g, after a step requests=%d wru=%g rru=%g", p.name, alone.requests, alone.wru, alone.rru, behind.requests, behind.wru, behind.rru)
		row := fmt.Sprintf("| %s | %s | %s | %s |\n", p.name, alone, behind, events)
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/operations.md has no row\n%s", row)
		}
	}
}

// price runs one operation, and returns what the table counted and the events.
func (b *bench) price(t *testing.T, p *priced, i, steps int) (usage, string) {
	t.Helper()
	b.id, b.before = fmt.Sprintf("order-%05d", 100*steps+i), b.total()
	if _, err := b.def.Start(t.Context(), b.engine, b.id, inputOf(i, steps), p.start...); err != nil {
		t.Fatal(err)
	}
	if p.deleted {
		b.gone(t)
		return b.total().minus(b.before), ""
	}
	if p.outside != nil {
		p.outside(t, b, b.id)
	}
	rec := b.await(t, b.id, hasEnded)
	if (rec.Status != durable.StatusSucceeded) != p.fails {
		t.Fatalf("%s: it is %v: %v", p.name, rec.Status, rec.Error)
	}
	return b.settled(t, p.asked), eventsOf(rec)
}

// settled waits until the table has counted all that records say was consumed,
// and what is in no record because it was somebody else who asked.
func (b *bench) settled(t *testing.T, asked usage) (got usage) {
	t.Helper()
	var want usage
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		rec := b.loaded(t, b.id)
		want = billOf(rec).plus(asked)
		for i := range rec.Journal {
			if e := &rec.Journal[i]; e.Type == durable.OpInvoke && e.First {
				want = want.plus(billOf(b.loaded(t, invokedBy(t, e))))
			}
		}
		if got = b.total().minus(b.before); got == want {
			return got
		}
	}
	t.Errorf("the service counted %+v, and the bill is %+v", got, want)
	return got
}

func (u usage) String() string { return fmt.Sprintf("%d / %g / %g", u.requests, u.wru, u.rru) }

func (u usage) plus(v usage) usage { return u.minus(usage{}.minus(v)) }

func billOf(rec *durable.Record) usage {
	u := rec.Usage
	return usage{int(u.Requests), float64(u.WriteUnits + u.IndexUnits), u.ReadUnits}
}

func invokedBy(t *testing.T, e *durable.Entry) string {
	t.Helper()
	var invoked struct{ ID string }
	if err := json.Unmarshal(e.Payload, &invoked); err != nil {
		t.Fatal(err)
	}
	return invoked.ID
}

func (b *bench) loaded(t *testing.T, id string) *durable.Record {
	t.Helper()
	rec, err := b.looking.Load(t.Context(), id, durable.LoadAll)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// await looks, at nobody's cost, until an execution is as wanted.
func (b *bench) await(t *testing.T, id string, is func(*durable.Record) bool) *durable.Record {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if rec := b.loaded(t, id); is(rec) {
			return rec
		}
	}
	t.Fatalf("nothing came of %s within 20 s", id)
	return nil
}

// gone waits until the execution is deleted.
func (b *bench) gone(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := b.looking.Load(t.Context(), b.id, durable.LoadHead); errors.Is(err, durable.ErrNotFound) {
			time.Sleep(100 * time.Millisecond) // for the answer to be counted
			return
		}
	}
	t.Fatalf("%s is not deleted within 20 s", b.id)
}

// callback waits until an execution waits for a callback, and returns its ID.
func (b *bench) callback(t *testing.T, id string) string {
	t.Helper()
	for e := range durable.History(b.await(t, id, suspended)) {
		if e.Type == "CallbackStarted" {
			return e.Details.CallbackID
		}
	}
	t.Fatal("there is no callback")
	return ""
}

func (b *bench) complete(t *testing.T, id string) {
	t.Helper()
	if err := b.engine.CompleteCallback(t.Context(), b.callback(t, id), text200); err != nil {
		t.Error(err)
	}
}

// eventsOf are an execution's events, but for those that each one has which
// succeeds.
func eventsOf(rec *durable.Record) string {
	var types []string
	for e := range durable.History(rec) {
		types = append(types, e.Type)
	}
	types = types[1:]
	if rec.Status == durable.StatusSucceeded {
		types = types[:len(types)-2]
	}
	return strings.Join(types, ", ")
}
