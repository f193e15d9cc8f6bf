package sagatest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

// Run is one execution that has ended or is parked. Its Errorf and Error say
// which one it was.
type Run struct {
	testing.TB
	ID       string // of the execution
	Head     durable.Head
	Status   saga.Status
	Injected []Injection
	Plan     string // the crashes, if there are any
}

// Errorf implements testing.TB.
func (r *Run) Errorf(format string, args ...any) {
	r.TB.Helper()
	r.TB.Errorf("["+strings.ReplaceAll(r.String(), "%", "%%")+"] "+format, args...)
}

// Error implements testing.TB.
func (r *Run) Error(args ...any) {
	r.TB.Helper()
	r.Errorf("%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

// String says what was done to the run.
func (r *Run) String() string {
	var parts []string
	for _, in := range r.Injected {
		parts = append(parts, in.String())
	}
	if r.Plan != "" {
		parts = append(parts, r.Plan)
	}
	if len(parts) == 0 {
		return "without failures"
	}
	return strings.Join(parts, ", ")
}

// Outcome is the status on both axes, with why it is parked, if it is.
func (r *Run) Outcome() string {
	if r.Head.Status == durable.StatusParked {
		return r.Status.String() + ", parked: " + string(r.Head.Park.Reason)
	}
	return r.Status.String()
}

// Option sets how the functions of this package run a saga.
type Option func(*options)

type options struct {
	answers map[string]any
	engine  durable.Options
	pairs   int
}

func optionsOf(opts []Option) *options {
	o := &options{answers: map[string]any{}, pairs: 3}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Answer is what an Await gets for an answer, as soon as it has asked. Steps of
// sub-sagas are named after them: "hotel/approve".
func Answer(step string, v any) Option { return func(o *options) { o.answers[step] = v } }

// WithOptions configures the engines that run the saga.
func WithOptions(e durable.Options) Option { return func(o *options) { o.engine = e } }

var runs atomic.Int64

// newID is the ID of a run's execution: every one in this process has its own,
// so that its keys are new to the participants.
func newID() string { return fmt.Sprintf("run-%d", runs.Add(1)) }

// once makes one run in a bubble of its own, to its end or until it parks.
// around is its interceptor.
func once[In, Out any](t *testing.T, sg *saga.Saga[In, Out], input In, o *options, id string, around func(client *durable.Engine) saga.Interceptor) (head durable.Head) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, err := durable.New(durabletest.NewMortal(), o.engine)
		if err != nil {
			t.Fatal(err)
		}
		own := sg.Intercept(around(e))
		if err := e.Register(own); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			_ = e.Run(ctx) // fails only when run twice
		}()
		defer func() {
			stop()
			<-ran
		}()
		x, err := own.Start(ctx, e, id, input)
		if err != nil {
			t.Fatalf("start: %v", err)
		}
		_, _ = x.Wait(ctx) // the head says what it came to
		rec, err := e.Store().Load(ctx, id, durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		head = rec.Head
	})
	return head
}
