// Bench measures sagas on the embedded store beside the raw store: the same
// writes in the same file without the engine, in the same run, round by round
// in turn. It prints a table.
//
//	make bench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/sqlite"
)

const steps = 5

func main() {
	n := flag.Int("n", 4000, "sagas per round at -flight in flight; a tenth of it one after the other")
	rounds := flag.Int("rounds", 5, "rounds")
	flight := flag.Int("flight", 64, "sagas in flight")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the sagas in flight to this file")
	flag.Parse()
	err := run(*n, *rounds, *flight, *profile)
	if err == nil {
		err = long(*rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// side is one thing that is measured: a way to do one saga's writes.
type side struct {
	name string
	do   func(ctx context.Context, id string) error
	took []time.Duration // one after the other
	rate []float64       // per second, in flight
}

func run(n, rounds, flight int, profile string) error {
	dir, err := os.MkdirTemp("", "clew-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	raw, closeRaw, err := rawSide(filepath.Join(dir, "raw.db"))
	if err != nil {
		return err
	}
	defer closeRaw()
	clew, closeClew, err := clewSide(filepath.Join(dir, "clew.db"), flight)
	if err != nil {
		return err
	}
	defer closeClew()
	var cpu *os.File
	if profile != "" {
		if cpu, err = os.Create(profile); err != nil {
			return err
		}
		defer cpu.Close()
	}
	for round := range rounds {
		for _, s := range []*side{raw, clew} {
			if err := s.sequence(ctx, n/10, round); err != nil {
				return err
			}
			if cpu != nil && s == clew && round == 1 {
				if err := pprof.StartCPUProfile(cpu); err != nil {
					return err
				}
			}
			if err := s.inFlight(ctx, n, flight, round); err != nil {
				return err
			}
			if s == clew {
				pprof.StopCPUProfile()
			}
		}
	}
	show(raw, clew, n, rounds, flight)
	return nil
}

// sequence does n sagas one after the other.
func (s *side) sequence(ctx context.Context, n, round int) error {
	for i := range n {
		start := time.Now()
		if err := s.do(ctx, fmt.Sprintf("seq-%d-%d", round, i)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.took = append(s.took, time.Since(start))
	}
	return nil
}

// inFlight does n sagas, so many at a time.
func (s *side) inFlight(ctx context.Context, n, flight, round int) error {
	ids := make(chan string, flight)
	errs := make(chan error, flight)
	var wg sync.WaitGroup
	start := time.Now()
	for range flight {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for id := range ids {
				if err := s.do(ctx, id); err != nil {
					select {
					case errs <- fmt.Errorf("%s: %w", s.name, err):
					default:
					}
				}
			}
		}()
	}
	for i := range n {
		ids <- "par-" + strconv.Itoa(round) + "-" + strconv.Itoa(i)
	}
	close(ids)
	wg.Wait()
	s.rate = append(s.rate, float64(n)/time.Since(start).Seconds())
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// rawSide writes what a saga of five steps writes, straight to the store.
func rawSide(path string) (*side, func(), error) {
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return &side{name: "raw store, same writes", do: func(ctx context.Context, id string) error {
		now := time.Now()
		start := func(i int) durable.Entry {
			return durable.Entry{Kind: durable.EntryStart, Op: int64(i), First: true, Pos: int64(i), Type: durable.OpStep,
				Name: "step " + strconv.Itoa(i), Attempt: 1, Epoch: 1, Timeout: durable.DefaultTimeout, At: now}
		}
		err := db.Create(ctx, &durable.Create{
			Identity: durable.Identity{ID: id, Definition: "bench", Version: "1", Fingerprint: "0123456789abcdef", Input: []byte("1"), Digest: make([]byte, 32), Created: now},
			Owner:    id, Now: now,
			First: &durable.Commit{ID: id, Epoch: 1, Seq: 1, Now: now, Status: durable.StatusRunning, Detail: "running/none", Lease: now.Add(30 * time.Second), Entries: []durable.Entry{start(1)}},
		})
		for i := 1; i <= steps && err == nil; i++ {
			c := &durable.Commit{ID: id, Epoch: 1, Seq: int64(i) + 1, Now: now, Status: durable.StatusRunning, Detail: "running/none", Progress: true,
				Entries: []durable.Entry{{Kind: durable.EntryResult, Op: int64(i), At: now, Attempt: 1, Payload: []byte(strconv.Itoa(i))}}}
			if i < steps {
				c.Entries = append(c.Entries, start(i+1))
			} else {
				c.Status, c.Detail, c.Result, c.IfSeen = durable.StatusSucceeded, "committed/none", []byte("15"), true
			}
			_, err = db.Commit(ctx, c)
		}
		return err
	}}, func() { _ = db.Close() }, nil
}

// clewSide runs the saga.
func clewSide(path string, flight int) (*side, func(), error) {
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	b := saga.New[int, int]("bench", "1")
	var outs [steps]saga.Output[int]
	for i := range steps {
		outs[i] = saga.Step(b, "step "+strconv.Itoa(i+1), func(saga.Context, int) (int, error) { return i + 1, nil }).
			Undo(func(saga.UndoContext, int, saga.Maybe[int]) error { return nil })
	}
	sg, err := b.Build(func(c saga.Context, _ int) (int, error) {
		sum := 0
		for _, o := range outs {
			sum += o.Of(c)
		}
		return sum, nil
	})
	if err != nil {
		return nil, nil, err
	}
	e, err := durable.New(db, durable.Options{Concurrency: flight})
	if err != nil {
		return nil, nil, err
	}
	if err := e.Register(sg); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	time.Sleep(50 * time.Millisecond) // until it runs: before, sagas would only be queued
	return &side{name: "saga of 5 steps", do: func(ctx context.Context, id string) error {
			x, err := sg.Start(ctx, e, id, 1)
			if err != nil {
				return err
			}
			sum, err := x.Wait(ctx)
			if err == nil && sum != 15 {
				err = fmt.Errorf("got %d, want 15", sum)
			}
			return err
		}}, func() {
			cancel()
			<-done
			_ = db.Close()
		}, nil
}

func show(raw, clew *side, n, rounds, flight int) {
	t := table.NewWriter()
	t.SetOutputMirror(os.Stdout)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = 0
	t.SetTitle("SQLite, full fsync, 6 writes per saga; %d cores; %d rounds of %d one after the other and %d with %d in flight, in turn",
		runtime.NumCPU(), rounds, n/10, n, flight)
	t.AppendHeader(table.Row{"", "one after the other, p50", "p99", strconv.Itoa(flight) + " in flight, median", "worst round", "best round"})
	for _, s := range []*side{raw, clew} {
		t.AppendRow(table.Row{s.name, ms(quantile(s.took, 0.5)), ms(quantile(s.took, 0.99)), rate(quantile(s.rate, 0.5)), rate(slices.Min(s.rate)), rate(slices.Max(s.rate))})
	}
	t.AppendRow(table.Row{"saga / raw",
		ratio(float64(quantile(clew.took, 0.5)), float64(quantile(raw.took, 0.5))), ratio(float64(quantile(clew.took, 0.99)), float64(quantile(raw.took, 0.99))),
		ratio(quantile(clew.rate, 0.5), quantile(raw.rate, 0.5)), ratio(slices.Min(clew.rate), slices.Min(raw.rate)), ratio(slices.Max(clew.rate), slices.Max(raw.rate))})
	t.Render()
}

func quantile[T time.Duration | float64](v []T, q float64) T {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
func rate(r float64) string     { return fmt.Sprintf("%.0f/s", r) }
func ratio(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
