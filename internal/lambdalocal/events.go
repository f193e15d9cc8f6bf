package lambdalocal

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The conditions under which an asynchronous event is given up.
const (
	RetriesExhausted    = "RetriesExhausted"
	EventAgeExceeded    = "EventAgeExceeded"
	RecursiveInvocation = "RecursiveInvocation"
)

// Failure is an asynchronous event that failed for good.
type Failure struct {
	Function, Version string
	RequestID         string
	Payload           []byte
	// Condition is why it was given up.
	Condition string
	// Attempts is how often it was delivered to a sandbox.
	Attempts int
	// Response is the last error of the function, if there was one.
	Response []byte
}

// event is an asynchronous invocation that waits or runs.
type event struct {
	inv      *invocation
	accepted time.Time
	attempts int
	response []byte
}

// backlog is a function's queue of them. It has no limit.
type backlog struct {
	mu      sync.Mutex
	waiting []*event
	open    int // waiting, running or between attempts
	more    chan struct{}
	workers bool
}

func (q *backlog) init() { q.more = make(chan struct{}, 1) }

// push adds an event; again says that it was there before.
func (q *backlog) push(e *event, again bool) {
	q.mu.Lock()
	q.waiting = append(q.waiting, e)
	if !again {
		q.open++
	}
	q.mu.Unlock()
	q.wake()
}

func (q *backlog) wake() {
	select {
	case q.more <- struct{}{}:
	default: // somebody is about to look
	}
}

func (q *backlog) done() {
	q.mu.Lock()
	q.open--
	q.mu.Unlock()
}

func (q *backlog) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

func (q *backlog) pop(ctx context.Context) *event {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			e := q.waiting[0]
			q.waiting = q.waiting[1:]
			rest := len(q.waiting)
			q.mu.Unlock()
			if rest > 0 {
				q.wake()
			}
			return e
		}
		q.mu.Unlock()
		select {
		case <-q.more:
		case <-ctx.Done():
			return nil
		}
	}
}

// accept takes an event, which is delivered as soon as a sandbox is free.
func (f *function) accept(inv *invocation) {
	f.events.mu.Lock()
	first := !f.events.workers
	f.events.workers = true
	f.events.mu.Unlock()
	if first {
		for range f.Concurrency {
			f.lambda.work.Go(f.work)
		}
	}
	e := &event{inv: inv, accepted: time.Now()}
	f.events.push(e, false)
	if d := f.lambda.dice; d.chance(f.Chaos.Duplicate) {
		f.stats.add(func(n *Stats) { n.Duplicates++ })
		again := &event{inv: inv.fresh(), accepted: e.accepted}
		f.later(d.between(0, f.Chaos.Within), func() { f.events.push(again, false) })
	}
}

// drop gives an event up that goes round in a loop.
func (f *function) drop(inv *invocation) {
	f.events.mu.Lock()
	f.events.open++
	f.events.mu.Unlock()
	f.giveUp(&event{inv: inv, accepted: time.Now()}, RecursiveInvocation)
}

// later does something after a time, unless the Lambda is closed before; and
// then what comes after in any case.
func (f *function) later(d time.Duration, do func(), after ...func()) {
	f.lambda.work.Go(func() {
		if f.lambda.sleep(d) {
			do()
		}
		for _, last := range after {
			last()
		}
	})
}

// work delivers events, one after the other.
func (f *function) work() {
	for {
		e := f.events.pop(f.lambda.ctx)
		if e == nil {
			return
		}
		f.attempt(e)
	}
}

// attempt delivers an event once, when there is room, and decides what
// becomes of it.
func (f *function) attempt(e *event) {
	r, err := f.patient(e.inv, e.accepted.Add(f.MaxEventAge))
	switch {
	case errors.Is(err, ErrClosed):
		return
	case err != nil: // most probably throttled for too long
		if !errors.Is(err, ErrThrottled) {
			f.lambda.problem("function %s: event %s: %v", f.Name, e.inv.id, err)
		}
		f.giveUp(e, EventAgeExceeded)
		return
	}
	e.attempts++
	if r.FunctionError == "" {
		f.events.done()
		return
	}
	e.response = r.Payload
	switch {
	case e.attempts > f.Retries:
		f.giveUp(e, RetriesExhausted)
	case time.Since(e.accepted) > f.MaxEventAge:
		f.giveUp(e, EventAgeExceeded)
	default:
		f.stats.add(func(n *Stats) { n.Retries++ })
		e.inv = e.inv.fresh()
		delays := f.lambda.opts.RetryDelays
		f.later(delays[min(e.attempts, len(delays))-1], func() { f.events.push(e, true) })
	}
}

// patient runs an invocation, and tries again while it is throttled.
func (f *function) patient(inv *invocation, until time.Time) (*Result, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		r, err := f.run(inv)
		if f.lambda.ctx.Err() != nil && err != nil {
			return nil, ErrClosed
		}
		if !errors.Is(err, ErrThrottled) || time.Now().After(until) {
			return r, err
		}
		if !f.lambda.sleep(f.lambda.dice.between(wait/2, wait)) {
			return nil, ErrClosed
		}
	}
}

// giveUp sends an event to where the function wants its failures.
func (f *function) giveUp(e *event, condition string) {
	defer f.events.done()
	f.stats.add(func(n *Stats) { n.DeadLetters++ })
	failure := Failure{Function: f.Name, Version: f.Version, RequestID: e.inv.id, Payload: e.inv.payload,
		Condition: condition, Attempts: e.attempts, Response: e.response}
	if f.DeadLetterQueue != "" {
		if err := f.lambda.sendFailure(f.DeadLetterQueue, failure); err != nil {
			f.lambda.problem("function %s: a failed event could not be sent to its dead-letter queue: %v", f.Name, err)
		}
	}
	if f.OnFailure != nil {
		f.OnFailure(failure)
	}
}

func newRequestID() string { return uuid.NewString() }
