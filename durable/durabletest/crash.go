// Package durabletest is the crash harness for durable code, in the virtual
// time of testing/synctest: days of retries, leases and waits take
// milliseconds, and every run is the same.
//
// CrashEverywhere runs a piece of work once without faults and then again and
// again, each time with a process that dies just before or just after one of
// its writes, or never hears the answer to it, and with pairs of such faults;
// after each run the caller's check looks at what happened outside.
package durabletest

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// World is where one run takes place. Everything in it is fresh.
type World struct {
	testing.TB
	// Store is the store behind all processes, without faults: for checks.
	Store durable.Store
	// Client belongs to a process of its own that never dies and runs
	// nothing: it cancels, completes callbacks and acts as an operator.
	Client *durable.Engine
	// Plan says which faults this run has.
	Plan string
}

// Subject is the work under test.
type Subject struct {
	// Definitions are registered with every process.
	Definitions []durable.Registrable
	// Start starts the executions. It is called again on the next process
	// when a crash made it fail, and must mean the same each time.
	Start func(ctx context.Context, e *durable.Engine) error
	// Check looks at the outside once every execution has ended or is parked.
	// It reports with the World's Errorf.
	Check func()
	// Settled, if set, is asked when every execution has ended or is parked;
	// false means that the work is not over, because somebody will act.
	Settled func() bool
	// Options configure the processes.
	Options durable.Options
	// Pairs bounds the write numbers between which pairs of crashes are
	// tried; 0 tries all.
	Pairs int
}

// Stats tell what CrashEverywhere did.
type Stats struct {
	Writes int // of the run without faults
	Runs   int
}

// CrashEverywhere runs the subject that setup makes, without faults and then
// with every fault at every write, in both ways of learning of a death, and
// with pairs of crashes in processes that follow each other. setup is called
// for every run, inside its bubble of virtual time.
func CrashEverywhere(t *testing.T, setup func(w *World) Subject) Stats {
	t.Helper()
	var stats Stats
	run := func(p plan) outcome {
		stats.Runs++
		return once(t, p, setup)
	}
	clean := run(plan{})
	stats.Writes = clean.writes
	for _, proven := range []bool{true, false} {
		for _, f := range []Fault{CrashBefore, CrashAfter, LoseAnswer} {
			for n := 1; !t.Failed() && run(plan{[]at{{n, f}}, proven}).hit; n++ {
			}
		}
	}
	limit := clean.subject.Pairs
	if limit == 0 {
		limit = math.MaxInt
	}
	crashes := []Fault{CrashBefore, CrashAfter}
	for n := 1; n <= min(stats.Writes, limit); n++ {
		for _, first := range crashes {
			for _, second := range crashes {
				for m := 1; m <= limit && !t.Failed(); m++ {
					if !run(plan{[]at{{n, first}, {m, second}}, (n+m)%2 == 0}).hit {
						break
					}
				}
			}
		}
	}
	t.Logf("crash harness: %d writes without faults, %d runs", stats.Writes, stats.Runs)
	return stats
}

// outcome of one run.
type outcome struct {
	subject Subject
	writes  int  // of the first process
	hit     bool // the last fault of the plan was met
}

// once makes one run, in a bubble of its own.
func once(t *testing.T, p plan, setup func(w *World) Subject) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		client, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := &World{TB: planned{t, p}, Store: store, Client: client, Plan: p.String()}
		o.subject = setup(w)
		var cutOff []func()
		for i := 0; ; i++ {
			f := newFaulty(store, 0, 0, p.proven)
			if i < len(p.faults) {
				f = newFaulty(store, p.faults[i].write, p.faults[i].fault, p.proven)
			}
			proc := launch(w, o.subject, f)
			survived := proc.settle()
			if i == 0 {
				o.writes = f.writes
			}
			if i == len(p.faults)-1 {
				o.hit = f.hit
			}
			if survived || p.proven {
				proc.stop()
			} else {
				cutOff = append(cutOff, proc.stop)
			}
			if survived {
				break
			}
			if p.proven {
				store.KillOwner(proc.e.ID())
			}
		}
		for _, stop := range cutOff {
			stop()
		}
		o.subject.Check()
	})
	return o
}

// planned puts the plan of the run in front of what fails.
type planned struct {
	testing.TB
	p plan
}

func (p planned) Errorf(format string, args ...any) {
	p.TB.Helper()
	p.TB.Errorf("["+p.p.String()+"] "+format, args...)
}

// process is an engine over its own view of the store.
type process struct {
	w       *World
	s       Subject
	f       *faulty
	e       *durable.Engine
	started chan error
	stop    func()
}

func launch(w *World, s Subject, f *faulty) *process {
	opts := s.Options
	opts.DrainTimeout = time.Nanosecond // the dead do not tidy up
	if opts.BaseContext == nil {
		opts.BaseContext = context.Background()
	}
	opts.BaseContext = context.WithValue(opts.BaseContext, processKey{}, f)
	e, err := durable.New(f, opts)
	if err != nil {
		w.Fatal(err)
	}
	if err := e.Register(s.Definitions...); err != nil {
		w.Fatal(err)
	}
	p := &process{w: w, s: s, f: f, e: e, started: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ran, began := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ran)
		_ = e.Run(ctx) // fails only when run twice
	}()
	synctest.Wait()
	go func() {
		defer close(began)
		p.started <- s.Start(ctx, e)
	}()
	p.stop = func() {
		cancel()
		<-began
		<-ran
	}
	return p
}

// settle waits until every execution has ended or is parked, true, or the
// process is gone, false.
func (p *process) settle() bool {
	deadline := time.Now().Add(30 * 24 * time.Hour)
	pause := time.Second
	starting := true
	for {
		select {
		case <-p.f.crashed:
			return false
		case err := <-p.started:
			starting = false
			if err != nil && p.f.alive() == nil {
				p.w.Errorf("start: %v", err)
			}
		case <-time.After(pause):
			if !starting && settled(p.w) && (p.s.Settled == nil || p.s.Settled()) {
				return true
			}
			pause = min(2*pause, time.Hour)
		}
		if time.Now().After(deadline) {
			p.w.Errorf("not settled after 30 days: %v", unsettled(p.w))
			return true
		}
	}
}

func settled(w *World) bool { return len(unsettled(w)) == 0 }

func unsettled(w *World) (ids []string) {
	page, err := w.Store.List(context.Background(), &durable.ListQuery{Limit: 1000})
	if err != nil {
		w.Errorf("list: %v", err)
	}
	for i := range page.Heads {
		h := &page.Heads[i]
		if !h.Status.Ended() && (h.Status != durable.StatusParked || !h.Due.IsZero()) {
			ids = append(ids, h.ID+" "+h.Status.String())
		}
	}
	return ids
}

// processKey finds the process in the context of a body.
type processKey struct{}

// Sleep sleeps as a call does that does not look at its context: it goes on
// past timeouts and cancels. Only the proven death of its process ends it, at
// once; then it returns false, and the caller must have no effect any more.
func Sleep(ctx context.Context, d time.Duration) bool {
	var dead <-chan struct{}
	if f, ok := ctx.Value(processKey{}).(*faulty); ok && f.proven {
		dead = f.crashed
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-dead:
		return false
	}
}
