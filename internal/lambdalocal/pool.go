package lambdalocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// settleWait bounds how long a caller waits for a sandbox that has answered
// and is about to be free. Without it, whoever invokes a function in turns
// would have two sandboxes, or be throttled where one is allowed.
const settleWait = time.Second

// function is a Function that was created: its sandboxes and its events.
type function struct {
	Function
	lambda *Lambda
	hash   string // in lineages
	logs   string // directory
	stats  statistics
	events backlog

	mu      sync.Mutex
	started int
	all     map[*sandbox]bool
	idle    []*sandbox // frozen; the last one was used last
	leaving int        // answered, and not free yet
	waiting int        // callers that wait for those
	changed chan struct{}
}

func newFunction(l *Lambda, f Function) (*function, error) {
	fn := &function{Function: f, lambda: l, hash: lineageHash(f.Name), logs: filepath.Join(l.dir, f.Name),
		all: map[*sandbox]bool{}, changed: make(chan struct{})}
	fn.events.init()
	return fn, os.MkdirAll(fn.logs, 0o700)
}

// notify wakes those that wait for a change. mu is held.
func (f *function) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// acquire returns a warm sandbox, or a new one, or ErrThrottled.
func (f *function) acquire() (s *sandbox, cold bool, err error) {
	patience := time.NewTimer(settleWait)
	defer patience.Stop()
	for impatient := false; ; {
		f.mu.Lock()
		if n := len(f.idle); n > 0 {
			s, f.idle = f.idle[n-1], f.idle[:n-1]
			f.mu.Unlock()
			return s, false, nil
		}
		if f.leaving <= f.waiting || impatient {
			defer f.mu.Unlock()
			if len(f.all) < f.Concurrency {
				s, err := f.add()
				return s, true, err
			}
			return nil, false, f.throttled()
		}
		f.waiting++
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-patience.C:
			impatient = true
		case <-f.lambda.ctx.Done():
			impatient = true
		}
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}
}

func (f *function) throttled() error {
	f.stats.add(func(n *Stats) { n.Throttles++ })
	return fmt.Errorf("%w: function %s has %d sandboxes, all busy", ErrThrottled, f.Name, f.Concurrency)
}

// add starts a sandbox. mu is held.
func (f *function) add() (*sandbox, error) {
	if f.lambda.ctx.Err() != nil {
		return nil, ErrClosed
	}
	f.started++
	s := &sandbox{fn: f, id: fmt.Sprintf("%s-%s-%03d", f.Name, f.Version, f.started),
		deliver: make(chan *invocation), ready: make(chan struct{}), exited: make(chan struct{})}
	if err := s.start(); err != nil {
		return nil, err
	}
	f.all[s] = true
	return s, nil
}

// remove takes a sandbox whose process has ended out of the pool.
func (f *function) remove(s *sandbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, s)
	f.idle = slices.DeleteFunc(f.idle, func(other *sandbox) bool { return other == s })
	f.notify()
}

// release gives a sandbox back, frozen, or only notes that it has ended.
func (f *function) release(s *sandbox, alive bool) {
	if alive {
		s.freeze()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaving--
	if alive && f.all[s] {
		f.idle = append(f.idle, s)
	}
	f.notify()
}

// run delivers an invocation to a sandbox, and returns what came of it. The
// sandbox may not be free yet then.
func (f *function) run(inv *invocation) (*Result, error) {
	for {
		s, cold, err := f.acquire()
		if err != nil {
			return nil, err
		}
		r := &Result{RequestID: inv.id, Version: f.Version, ColdStart: cold}
		timeout := f.Timeout
		if cold {
			var failure *reply
			if s, timeout, failure, err = f.warmUp(s); err != nil {
				return nil, err
			} else if failure != nil {
				r.Sandbox, r.Payload, r.FunctionError = s.id, failure.payload, "Unhandled"
				f.stats.record(r)
				return r, nil
			}
			r.InitDuration = s.readyAt.Sub(s.started)
		}
		from := s.logSize()
		rep, err := s.serve(inv, timeout)
		if errors.Is(err, errGone) && !cold {
			inv = inv.fresh()
			continue // it ended while it was frozen: another one takes over
		} else if err != nil {
			rep = s.cut(inv, timeout)
		}
		f.finish(s, inv, rep, r, from)
		return r, nil
	}
}

// warmUp waits for a new sandbox, and starts another one in its place if that
// does not come up; the invocation's time runs then.
func (f *function) warmUp(s *sandbox) (*sandbox, time.Duration, *reply, error) {
	if s.awaitReady(f.InitTimeout) == nil {
		return s, f.Timeout, nil, nil
	}
	begin := time.Now()
	f.mu.Lock()
	s, err := f.add()
	f.mu.Unlock()
	if err != nil {
		return nil, 0, nil, err
	}
	if failure := s.awaitReady(f.Timeout); failure != nil {
		return s, 0, failure, nil
	}
	return s, f.Timeout - time.Since(begin), nil, nil
}

// finish writes down what an invocation came to, and sees to it that the
// sandbox becomes free.
func (f *function) finish(s *sandbox, inv *invocation, rep reply, r *Result, from int64) {
	r.Payload, r.Sandbox = rep.payload, s.id
	if rep.failed {
		r.FunctionError = "Unhandled"
	}
	r.Duration, r.MaxRSS = time.Since(inv.delivered), maxRSS(s.cmd.Process.Pid)
	f.stats.record(r)
	s.logf("END RequestId: %s", inv.id)
	s.logf("REPORT RequestId: %s\tDuration: %.2f ms\tMemory Size: %d MB\tMax Memory Used: %d MB%s", inv.id,
		float64(r.Duration.Microseconds())/1000, f.MemoryMB, r.MaxRSS>>20, initReport(r))
	r.LogTail = s.tail(from)
	f.mu.Lock()
	f.leaving++
	f.mu.Unlock()
	f.lambda.work.Go(func() { f.release(s, s.settle(inv)) })
}

func initReport(r *Result) string {
	if !r.ColdStart {
		return ""
	}
	return fmt.Sprintf("\tInit Duration: %.2f ms", float64(r.InitDuration.Microseconds())/1000)
}

// retire ends the sandboxes that are idle.
func (f *function) retire(ctx context.Context) {
	f.mu.Lock()
	idle := f.idle
	f.idle = nil
	f.mu.Unlock()
	var all sync.WaitGroup
	for _, s := range idle {
		all.Go(func() { s.end(ctx) })
	}
	all.Wait()
}

// close ends all sandboxes.
func (f *function) close() {
	f.mu.Lock()
	var all sync.WaitGroup
	for s := range f.all {
		all.Go(func() { s.end(context.Background()) })
	}
	f.idle = nil
	f.mu.Unlock()
	all.Wait()
}
