package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/sqlite"
)

// recorder keeps the commits that go through it, so that a plain loop can make
// the same ones again, and the time at which the last claim began.
type recorder struct {
	durable.Store
	mu      sync.Mutex
	create  *durable.Create
	commits []*durable.Commit
	claimed time.Time
}

func (r *recorder) Create(ctx context.Context, c *durable.Create) error {
	own := *c
	r.mu.Lock()
	r.create = &own
	r.mu.Unlock()
	return r.Store.Create(ctx, c)
}

func (r *recorder) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	own := *c
	r.mu.Lock()
	r.commits = append(r.commits, &own)
	r.mu.Unlock()
	return r.Store.Commit(ctx, c)
}

func (r *recorder) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	r.mu.Lock()
	r.claimed = time.Now()
	r.mu.Unlock()
	return r.Store.Claim(ctx, c)
}

// again makes the recorded writes in a file of their own.
func (r *recorder) again(ctx context.Context, path string) (time.Duration, error) {
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	start := time.Now()
	if err := db.Create(ctx, r.create); err != nil {
		return 0, err
	}
	for _, c := range r.commits {
		if c == r.create.First {
			continue
		}
		if _, err := db.Commit(ctx, c); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// longRun is one execution of a handler, in a file of its own.
func longRun(ctx context.Context, path string, opts durable.Options, handler func(*durable.Context, int) (int, error)) (*recorder, time.Duration, error) {
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, 0, err
	}
	defer db.Close()
	r := &recorder{Store: db}
	e, err := durable.New(r, opts)
	if err != nil {
		return nil, 0, err
	}
	def := durable.Define("long", "1", handler)
	if err := e.Register(def); err != nil {
		return nil, 0, err
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- e.Run(run) }()
	defer func() { stop(); <-done }()
	time.Sleep(50 * time.Millisecond) // until it runs
	start := time.Now()
	x, err := def.Start(ctx, e, "x", 1)
	if err != nil {
		return nil, 0, err
	}
	if _, err = x.Wait(ctx); err != nil {
		return nil, 0, err
	}
	return r, time.Since(start), nil
}

func manySteps(ctx *durable.Context, n int) error {
	for i := range n {
		if _, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return i, nil }); err != nil {
			return err
		}
	}
	return nil
}

// long measures executions with many operations.
func long(rounds int) error {
	dir, err := os.MkdirTemp("", "clew-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	var stepsTook, stepsRaw, mapTook, mapRaw, replay []time.Duration
	var heap uint64
	for round := range rounds {
		at := func(name string) string { return filepath.Join(dir, name+strconv.Itoa(round)+".db") }
		r, took, err := longRun(ctx, at("steps"), durable.Options{}, func(c *durable.Context, _ int) (int, error) { return 0, manySteps(c, 3000) })
		if err != nil {
			return err
		}
		raw, err := r.again(ctx, at("steps-raw"))
		if err != nil {
			return err
		}
		stepsTook, stepsRaw = append(stepsTook, took), append(stepsRaw, raw)

		peak := watchHeap()
		r, took, err = longRun(ctx, at("map"), durable.Options{}, mapped)
		heap = max(heap, peak())
		if err != nil {
			return err
		}
		if raw, err = r.again(ctx, at("map-raw")); err != nil {
			return err
		}
		mapTook, mapRaw = append(mapTook, took), append(mapRaw, raw)
		if took, err = resumed(ctx, at("resume")); err != nil {
			return err
		}
		replay = append(replay, took)
	}
	t := table.NewWriter()
	t.SetOutputMirror(os.Stdout)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = 0
	t.SetTitle("One execution, SQLite with full fsync; %d cores; medians of %d rounds, in turn", runtime.NumCPU(), rounds)
	t.AppendHeader(table.Row{"", "clew", "a loop of the same commits", "clew / loop"})
	steps, loop := quantile(stepsTook, 0.5), quantile(stepsRaw, 0.5)
	t.AppendRow(table.Row{"3,000 steps, one after the other", rate(3000 / steps.Seconds()), rate(3000 / loop.Seconds()), ratio(float64(steps), float64(loop))})
	items, loop := quantile(mapTook, 0.5), quantile(mapRaw, 0.5)
	t.AppendRow(table.Row{"Map of 10,000 items, flat, 100 at once", items.Round(time.Millisecond), loop.Round(time.Millisecond), ratio(float64(items), float64(loop))})
	t.AppendRow(table.Row{"  most memory above what was there before", fmt.Sprintf("%.1f MB", float64(heap)/1e6), "", ""})
	t.AppendRow(table.Row{"claimed and replayed behind step 10,000", ms(quantile(replay, 0.5)), "", ""})
	t.Render()
	return nil
}

func mapped(c *durable.Context, _ int) (int, error) {
	b, err := durable.Map(c, "m", make([]int, 10_000), func(c *durable.Context, _, i int) (int, error) {
		return durable.Step(c, "s", func(context.Context) (int, error) { return i, nil })
	}, durable.Flat(), durable.WithMaxConcurrency(100))
	if err != nil {
		return 0, err
	}
	return b.Count(durable.BranchSucceeded), nil
}

// watchHeap returns a func that returns the most memory that was in use since,
// above what was at the beginning.
func watchHeap() func() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, peak := m.HeapInuse, uint64(0)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var m runtime.MemStats
		for !stop.Load() {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse-min(before, m.HeapInuse))
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() uint64 {
		stop.Store(true)
		<-done
		return peak
	}
}

// resumed is how long it takes from the claim of an execution until its code
// has come past 10,000 recorded steps.
func resumed(ctx context.Context, path string) (time.Duration, error) {
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	r := &recorder{Store: db}
	var past atomic.Int64
	handler := func(c *durable.Context, _ int) (int, error) {
		if err := manySteps(c, 10_000); err != nil {
			return 0, err
		}
		past.Store(time.Now().UnixNano()) //clewvet:ignore nondeterminism the benchmark measures itself and decides nothing by it
		_, err := durable.Receive[int](c, "go", 0)
		return 0, err
	}
	def := durable.Define("long", "1", handler)
	process := func(then func(e *durable.Engine) error) error {
		e, err := durable.New(r, durable.Options{})
		if err != nil {
			return err
		}
		if err := e.Register(def); err != nil {
			return err
		}
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- e.Run(run) }()
		defer func() { stop(); <-done }()
		time.Sleep(50 * time.Millisecond)
		return then(e)
	}
	err = process(func(e *durable.Engine) error {
		if _, err := def.Start(ctx, e, "x", 1); err != nil {
			return err
		}
		for {
			rec, err := db.Load(ctx, "x", durable.LoadHead)
			if err != nil || rec.Status == durable.StatusSuspended {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err != nil {
		return 0, err
	}
	var took time.Duration
	err = process(func(e *durable.Engine) error {
		if err := e.Signal(ctx, "x", "go", 1, ""); err != nil {
			return err
		}
		_, err := def.Attach(e, "x").Wait(ctx)
		took = time.Unix(0, past.Load()).Sub(r.claimed)
		return err
	})
	return took, err
}
