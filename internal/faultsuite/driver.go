package faultsuite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/faultproxy"
)

// plan is how large a run is and what happens in it.
type plan struct {
	Executions int
	Processes  int
	Engines    int // in each process
	Rates      map[faultproxy.Fault]float64
	Late       [2]time.Duration
	Target     func(action string, body []byte) faultproxy.Fault
	Lease      time.Duration
	Skew       time.Duration
	KillEvery  time.Duration // a process is killed or frozen about that often; 0 is never
	Limit      time.Duration // for all executions to end
	Binary     string        // of the workers
}

// run is a plan being carried out.
type run struct {
	plan        plan
	dir         string
	table       string
	endpoint    string // of the server
	proxy       *faultproxy.Proxy
	direct      durable.Store
	participant participant

	mu        sync.Mutex
	samples   map[string][]history
	cancelled map[string]bool
	disowned  []string // deliveries that were refused because of themselves
	helped    int      // verbs given to parked executions
	kills     int
	freezes   int
	restarts  int // processes that ended by themselves
	took      time.Duration
}

func (r *run) sampled(id string) []history { return r.samples[id] }
func (r *run) wasCancelled(id string) bool { return r.cancelled[id] }
func (r *run) count(n *int)                { r.mu.Lock(); *n++; r.mu.Unlock() }

func (r *run) disown(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disowned = append(r.disowned, fmt.Sprintf(format, args...))
}

func newRun(p plan, dir, table, endpoint string) *run {
	return &run{plan: p, dir: dir, table: table, endpoint: endpoint,
		participant: participant{filepath.Join(dir, "effects")}, samples: map[string][]history{}, cancelled: map[string]bool{}}
}

// carryOut runs the plan until every execution has ended, or its limit.
func (r *run) carryOut(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.participant.dir, 0o755); err != nil {
		return err
	}
	if r.direct, err = openStore(ctx, r.endpoint, r.table); err != nil {
		return err
	}
	r.proxy, err = faultproxy.Start(r.endpoint, faultproxy.Plan{Rates: r.plan.Rates, Late: r.plan.Late, Target: r.plan.Target})
	if err != nil {
		return err
	}
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, r.plan.Limit)
	var wg sync.WaitGroup
	for n := range r.plan.Processes {
		wg.Go(func() { r.keep(ctx, n) })
	}
	wg.Go(func() { r.operate(ctx) })
	wg.Go(func() { r.sample(ctx) })
	err = r.wait(ctx)
	r.took = time.Since(began)
	stop()
	wg.Wait()
	return errors.Join(err, r.proxy.Close())
}

// keep runs worker process n, kills and freezes it, and starts it again.
func (r *run) keep(ctx context.Context, n int) {
	for ctx.Err() == nil {
		c := config{
			Endpoint: r.proxy.URL(), Direct: r.endpoint, Table: r.table, Evidence: r.participant.dir,
			Acks: filepath.Join(r.dir, fmt.Sprintf("acks-%d", n)), Engines: r.plan.Engines, First: n * r.plan.Engines,
			Of: r.plan.Processes * r.plan.Engines, Executions: r.plan.Executions, Lease: r.plan.Lease, Skew: r.plan.Skew,
		}
		raw, err := json.Marshal(c)
		if err != nil {
			panic(err)
		}
		cmd := exec.Command(r.plan.Binary)
		cmd.Env = append(os.Environ(), workerVar+"="+string(raw))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = cmd.Wait() }()
		r.torment(ctx, cmd.Process, ended)
	}
}

// torment freezes a process now and then, and kills it in the end.
func (r *run) torment(ctx context.Context, p *os.Process, ended chan struct{}) {
	for {
		pause := r.plan.Limit
		if every := r.plan.KillEvery * time.Duration(r.plan.Processes); every > 0 {
			pause = every/2 + rand.N(every)
		}
		select {
		case <-ended: // opening its stores met too many faults
			r.count(&r.restarts)
			return
		case <-ctx.Done():
		case <-time.After(pause):
			if rand.N(2) == 0 {
				r.count(&r.freezes)
				_ = p.Signal(syscall.SIGSTOP)
				time.Sleep(100*time.Millisecond + rand.N(150*time.Millisecond))
				_ = p.Signal(syscall.SIGCONT)
				continue
			}
			r.count(&r.kills)
		}
		_ = p.Kill()
		<-ended
		return
	}
}

// operate is the world outside: it completes callbacks, cancels some
// executions, and helps what has parked, all through the proxy.
func (r *run) operate(ctx context.Context) {
	var engine *durable.Engine
	for engine == nil {
		store, err := openStore(ctx, r.proxy.URL(), r.table)
		if err == nil {
			engine, err = durable.New(&postman{store, r.disown}, options(r.plan.Lease))
		}
		if err != nil && ctx.Err() != nil {
			return
		}
	}
	for seen := map[string]bool{}; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		for n := range r.plan.Executions {
			r.answer(ctx, engine, executionID(n), seen)
			if id := executionID(n); n%7 == 3 && !r.cancelled[id] && rand.N(20) == 0 && engine.Cancel(ctx, id, "driver", "enough") == nil {
				r.mu.Lock()
				r.cancelled[id] = true
				r.mu.Unlock()
			}
		}
		r.help(ctx, engine)
	}
}

// answer completes the callback of an execution that has asked.
func (r *run) answer(ctx context.Context, engine *durable.Engine, id string, seen map[string]bool) {
	effects, err := r.participant.effects(id)
	if err != nil || seen[id] {
		return
	}
	for _, e := range effects {
		if e.what == "ask" {
			err := engine.CompleteCallback(ctx, e.key, "yes")
			seen[id] = err == nil || errors.Is(err, durable.ErrDelivered) || errors.Is(err, durable.ErrEnded) || errors.Is(err, durable.ErrNotOpen)
			return
		}
	}
}

// help retries what has parked because attempts were lost too often.
func (r *run) help(ctx context.Context, engine *durable.Engine) {
	page, err := r.direct.List(ctx, &durable.ListQuery{Statuses: []durable.Status{durable.StatusParked}})
	if err != nil {
		return
	}
	for i := range page.Heads {
		h := &page.Heads[i]
		for _, verb := range h.Park.Verbs {
			if verb == durable.VerbRetry || verb == durable.VerbResume {
				if engine.Act(ctx, h.ID, h.Revision, durable.Decision{Verb: verb, Actor: "driver", Reason: "faults"}) == nil {
					r.count(&r.helped)
				}
				break
			}
		}
	}
}

// sample reads journals while they grow.
func (r *run) sample(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(15 * time.Millisecond) {
		id := executionID(rand.N(r.plan.Executions))
		rec, err := r.direct.Load(ctx, id, durable.LoadAll)
		if err != nil {
			continue // not started yet, or damaged, which the check finds
		}
		r.mu.Lock()
		r.samples[id] = append(r.samples[id], historyOf(rec.Journal))
		r.mu.Unlock()
	}
}

// wait returns when every execution has ended.
func (r *run) wait(ctx context.Context) error {
	left := map[string]bool{}
	for n := range r.plan.Executions {
		left[executionID(n)] = true
	}
	for len(left) > 0 {
		for id := range left {
			if rec, err := r.direct.Load(ctx, id, durable.LoadHead); err == nil && rec.Status.Ended() {
				delete(left, id)
			}
		}
		select {
		case <-ctx.Done():
			return nil // the check names them
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}
