package lambdalocal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	maxPayload      = 6 << 20 // bytes, of synchronous invocations
	maxEventPayload = 1 << 20 // bytes, of asynchronous ones
)

// request is an invocation as it comes in.
type request struct {
	function      string
	payload       []byte
	clientContext string
	traceHeader   string
	limit         int
}

// admit checks a request: what it gets past here is delivered, or refused for
// lack of room only.
func (l *Lambda) admit(r request) (*function, *invocation, error) {
	fn, arn, err := l.find(r.function)
	if err != nil {
		return nil, nil, err
	}
	if len(r.payload) == 0 {
		r.payload = []byte("{}")
	}
	if len(r.payload) > r.limit {
		return nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(r.payload), r.limit)
	}
	if !json.Valid(r.payload) {
		return nil, nil, ErrPayload
	}
	t := parseTrace(r.traceHeader)
	inv := (&invocation{id: newRequestID(), arn: arn, payload: r.payload, clientContext: r.clientContext, trace: t.into(fn.hash)}).fresh()
	if fn.loops(t) {
		return fn, inv, fmt.Errorf("%w: function %s", ErrRecursive, fn.Name)
	}
	return fn, inv, nil
}

// loops says whether a chain has to stop before this function.
func (f *function) loops(t trace) bool {
	if f.RecursiveLoop == Allow || t.hops(f.hash) < hopLimit {
		return false
	}
	f.stats.add(func(n *Stats) { n.RecursiveInvocationsDropped++ })
	return true
}

// Invoke invokes a function, named as "pay", "pay:7", "pay:live" or by its ARN,
// and waits for its answer. A new chain of requests begins. What the function
// failed with is in the Result. An error means that nothing has run:
// ErrThrottled, ErrNotFound, ErrPayload, ErrTooLarge, ErrClosed, or that a
// process could not be started. When ctx ends Invoke returns its error, and
// the invocation goes on, as it does when a client of Lambda hangs up.
func (l *Lambda) Invoke(ctx context.Context, function string, payload []byte) (*Result, error) {
	return l.invoke(ctx, request{function: function, payload: payload, limit: maxPayload})
}

func (l *Lambda) invoke(ctx context.Context, r request) (*Result, error) {
	fn, inv, err := l.admit(r)
	if err != nil {
		return nil, err
	}
	return l.wait(ctx, func() (*Result, error) { return fn.run(inv) })
}

// wait runs something to its end, and returns what it came to if ctx has not
// ended by then.
func (l *Lambda) wait(ctx context.Context, run func() (*Result, error)) (*Result, error) {
	type end struct {
		result *Result
		err    error
	}
	done := make(chan end, 1)
	if err := l.begin(func() {
		r, err := run()
		done <- end{r, err}
	}); err != nil {
		return nil, err
	}
	select {
	case e := <-done:
		return e.result, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// InvokeAsync hands an event over and returns its request ID. It is delivered
// when a sandbox is free, tried again when it fails, and given up as the
// Function says. A new chain of requests begins.
func (l *Lambda) InvokeAsync(function string, payload []byte) (requestID string, err error) {
	return l.enqueue(request{function: function, payload: payload, limit: maxEventPayload})
}

func (l *Lambda) enqueue(r request) (string, error) {
	leave, err := l.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	fn, inv, err := l.admit(r)
	switch {
	case errors.Is(err, ErrRecursive): // the sender is not told
		fn.drop(inv)
	case err != nil:
		return "", err
	default:
		fn.accept(inv)
	}
	return inv.id, nil
}

// Pending is how many asynchronous events of one version of a function have
// neither succeeded nor been given up.
func (l *Lambda) Pending(function string) int {
	fn, _, err := l.find(function)
	if err != nil {
		return 0
	}
	return fn.events.count()
}

// Quiet waits until no asynchronous event of any function is pending. It says
// nothing about queues.
func (l *Lambda) Quiet(ctx context.Context) error {
	for {
		pending := 0
		l.mu.Lock()
		for _, fn := range l.functions {
			pending += fn.events.count()
		}
		l.mu.Unlock()
		if pending == 0 {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("lambdalocal: %d events are pending: %w", pending, ctx.Err())
		}
	}
}

// Retire ends the idle sandboxes of one version of a function, as Lambda does
// when it does not need them: SIGTERM, and SIGKILL 500 ms later, to one that
// has registered an extension (lambda.WithEnableSIGTERM does), SIGKILL at once
// to others. It returns when they have ended.
func (l *Lambda) Retire(ctx context.Context, function string) error {
	fn, _, err := l.find(function)
	if err != nil {
		return err
	}
	fn.retire(ctx)
	return nil
}
