package saga_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/store/sqlite"
)

const benchSteps = 5

// fiveSteps is a saga, and the same steps without one, with and without a Stack.
func fiveSteps() (sg *saga.Saga[int, int], plain, stacked *durable.Definition[int, int]) {
	b := saga.New[int, int]("saga", "1")
	var outs [benchSteps]saga.Output[int]
	for i := range outs {
		outs[i] = saga.Step(b, "step "+strconv.Itoa(i), func(c saga.Context, _ int) (int, error) { return i, work(c.Key()) }).
			Undo(func(saga.UndoContext, int, saga.Maybe[int]) error { return nil })
	}
	sg, err := b.Build(func(c saga.Context, _ int) (sum int, err error) {
		for _, o := range outs {
			sum += o.Of(c)
		}
		return sum, nil
	})
	if err != nil {
		panic(err)
	}
	steps := func(ctx *durable.Context, register func(name string) error) (sum int, err error) {
		for i := range benchSteps {
			name := "step " + strconv.Itoa(i)
			if err := register(name); err != nil {
				return 0, err
			}
			v, err := durable.Step(ctx, name, func(c context.Context) (int, error) {
				info, _ := durable.StepInfoFrom(c)
				return i, work(info.Key)
			})
			if err != nil {
				return 0, err
			}
			sum += v
		}
		return sum, nil
	}
	plain = durable.Define("plain", "1", func(ctx *durable.Context, _ int) (int, error) {
		return steps(ctx, func(string) error { return nil })
	})
	stacked = durable.Define("stacked", "1", func(ctx *durable.Context, _ int) (int, error) {
		undos := saga.NewStack(ctx)
		sum, err := steps(ctx, func(name string) error {
			return undos.Register(name, func(saga.UndoContext) error { return nil })
		})
		undos.Release()
		return sum, err
	})
	return sg, plain, stacked
}

// work stands for a call to a participant, which needs the key.
func work(key string) error {
	if key == "" {
		return errors.New("no key")
	}
	return nil
}

// counting counts the writes of each execution.
type counting struct {
	durable.Store
	mu     sync.Mutex
	writes map[string]int // by ID
}

func (c *counting) count(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes[id]++
}

func (c *counting) Create(ctx context.Context, a *durable.Create) error {
	c.count(a.Identity.ID)
	return c.Store.Create(ctx, a)
}

func (c *counting) Claim(ctx context.Context, a *durable.Claim) (*durable.Record, error) {
	c.count(a.ID)
	return c.Store.Claim(ctx, a)
}

func (c *counting) Commit(ctx context.Context, a *durable.Commit) (durable.Receipt, error) {
	c.count(a.ID)
	return c.Store.Commit(ctx, a)
}

func (c *counting) Deliver(ctx context.Context, a *durable.Delivery) error {
	c.count(a.ID)
	return c.Store.Deliver(ctx, a)
}

// TestNoExtraWriteOnTheHappyPath: a saga that commits writes what its steps
// would write without it, and a Stack adds nothing either.
func TestNoExtraWriteOnTheHappyPath(t *testing.T) {
	store := &counting{Store: mem.New(), writes: map[string]int{}}
	sg, plain, stacked := fiveSteps()
	e, stop := engine(t, store, sg, plain, stacked)
	defer stop()
	for _, def := range []*durable.Definition[int, int]{sg.Definition, plain, stacked} {
		runOne(t, e, def, def.Name())
	}
	stop()
	want := map[string]int{"saga": benchSteps + 1, "plain": benchSteps + 1, "stacked": benchSteps + 1}
	if fmt.Sprint(store.writes) != fmt.Sprint(want) {
		t.Errorf("got %v writes, want %v", store.writes, want)
	}
}

// engine serves definitions until stop.
func engine(t testing.TB, store durable.Store, defs ...durable.Registrable) (e *durable.Engine, stop func()) {
	t.Helper()
	e, err := durable.New(store, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(defs...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	time.Sleep(50 * time.Millisecond) // until it runs: before, executions are only queued
	return e, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func runOne(t testing.TB, e *durable.Engine, def *durable.Definition[int, int], id string) {
	x, err := def.Start(t.Context(), e, id, 1)
	if err == nil {
		var sum int
		if sum, err = x.Wait(t.Context()); err == nil && sum != 10 {
			err = errors.New("wrong sum")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkOverhead runs a saga of five steps, the same steps without one, and
// the same with a Stack, in turns, and reports the medians and what is added.
//
//	go test -run - -bench Overhead -benchtime 3000x ./saga
func BenchmarkOverhead(b *testing.B) {
	b.Run("mem", func(b *testing.B) { overhead(b, mem.New()) })
	b.Run("sqlite", func(b *testing.B) {
		db, err := sqlite.Open(filepath.Join(b.TempDir(), "bench.db"), sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		overhead(b, db)
	})
}

func overhead(b *testing.B, store durable.Store) {
	sg, plain, stacked := fiveSteps()
	e, stop := engine(b, store, sg, plain, stacked)
	defer stop()
	defs := []*durable.Definition[int, int]{plain, sg.Definition, stacked}
	took := make([][]time.Duration, len(defs))
	for n := 0; b.Loop(); n++ {
		for i := range defs {
			which := (i + n) % len(defs) // none is always the first
			began := time.Now()
			runOne(b, e, defs[which], fmt.Sprintf("%s-%d-%d", defs[which].Name(), b.N, n))
			took[which] = append(took[which], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds()) / 1000
	}
	base := median(took[0])
	b.ReportMetric(base, "µs/plain")
	for i, name := range []string{"saga", "stack"} {
		b.ReportMetric(median(took[i+1]), "µs/"+name)
		b.ReportMetric(100*(median(took[i+1])/base-1), "%/"+name)
	}
}
