package sagatest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

// Fault is what goes wrong in a function of a saga.
type Fault string

// The faults. Those that come once let the next attempt through.
const (
	Rejected   Fault = "rejected"    // saga.Reject, without the effect
	Failed     Fault = "failed"      // an error for good, without the effect
	Transient  Fault = "transient"   // once: an error, without the effect
	AnswerLost Fault = "answer lost" // once: the effect, and an error
	InDoubt    Fault = "in doubt"    // the effect, and an error for good
	TimedOut   Fault = "timed out"   // once: the effect, and no answer before the attempt's timeout
	Panicked   Fault = "panic"       // without the effect; parks
	Cancelled  Fault = "cancelled"   // the effect; the saga is cancelled meanwhile
	Unknown    Fault = "unknown"     // what a Verify answers

	// The process dies, once, and the next one goes on. Only Explore has these;
	// CrashEverywhere has crashes of its own, at every write.
	CrashedBefore Fault = "crash before its effect"
	CrashedAfter  Fault = "crash after its effect"
)

// once tells whether the next attempt is let through.
func (f Fault) once() bool {
	return f == Transient || f == AnswerLost || f == TimedOut || f == CrashedBefore || f == CrashedAfter
}

// Injection is a fault in one of the functions of a step.
type Injection struct {
	Step  string // after the names of the sub-sagas around it: "hotel/book"
	Kind  saga.CallKind
	Fault Fault
}

func (i Injection) String() string { return fmt.Sprintf("%s %s %s", i.Step, i.Kind, i.Fault) }

// place is a function of a step.
type place struct {
	step string
	kind saga.CallKind
}

func (i Injection) place() place { return place{i.Step, i.Kind} }

// faultsOf lists the faults of the functions of a step. A durable function
// (saga.Run) has no attempts, so nothing happens to it once.
func faultsOf(n *saga.Node, kind saga.CallKind) (faults []Fault) {
	switch kind {
	case saga.CallVerify:
		return []Fault{Unknown, Failed, Transient}
	case saga.CallUndo:
		return []Fault{Failed, InDoubt, Transient, AnswerLost, Panicked}
	}
	faults = []Fault{Rejected, Failed, Transient, AnswerLost, InDoubt, TimedOut, Panicked, Cancelled}
	if n.Kind == "run" {
		faults = slices.DeleteFunc(faults, Fault.once)
	}
	return faults
}

// crashesOf lists the crashes in the functions of a step. A Verify has no effect.
func crashesOf(kind saga.CallKind) []Fault {
	if kind == saga.CallVerify {
		return []Fault{CrashedBefore}
	}
	return []Fault{CrashedBefore, CrashedAfter}
}

// steps are the steps of a saga by the names that they have in calls.
func steps(nodes []saga.Node, prefix string) iter.Seq2[string, *saga.Node] {
	return func(yield func(string, *saga.Node) bool) { each(nodes, prefix, yield) }
}

func each(nodes []saga.Node, prefix string, yield func(string, *saga.Node) bool) bool {
	for i := range nodes {
		n, inner := &nodes[i], prefix
		if n.Kind == "sub" {
			inner += n.Name + "/"
		}
		if n.Class != "" && !yield(prefix+n.Name, n) || !each(n.Nodes, inner, yield) {
			return false
		}
	}
	return true
}

var (
	errInjected = errors.New("sagatest: injected failure")
	errGone     = errors.New("sagatest: this process is dead")
)

// injector is the interceptor of one run.
type injector struct {
	o      *options
	id     string // of the execution
	client *durable.Engine
	plan   []Injection

	mu   sync.Mutex
	hit  []bool  // which of the plan have happened
	came []place // functions in the order of their first calls
}

func newInjector(o *options, id string, client *durable.Engine, plan ...Injection) *injector {
	return &injector{o: o, id: id, client: client, plan: plan, hit: make([]bool, len(plan))}
}

// fault is what is to happen in a call.
func (i *injector) fault(c saga.Call) Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := place{c.Step, c.Kind}
	if !slices.Contains(i.came, at) {
		i.came = append(i.came, at)
	}
	for n, in := range i.plan {
		if in.place() == at && !(i.hit[n] && in.Fault.once()) {
			i.hit[n] = true
			return in.Fault
		}
	}
	return ""
}

// all tells whether all of the plan has happened.
func (i *injector) all() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !slices.Contains(i.hit, false)
}

// note adds the functions that the run came past.
func (i *injector) note(came map[place]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, at := range i.came {
		came[at] = true
	}
}

// intercept is the saga.Interceptor. A call takes a moment, in which a process
// may die: then it has no effect.
func (i *injector) intercept(ctx context.Context, c saga.Call, next func(context.Context) error) error {
	f := i.fault(c)
	if c.Attempt > 0 && !durabletest.Sleep(ctx, time.Millisecond) {
		return errGone
	}
	switch f {
	case Rejected:
		return saga.Reject(errInjected)
	case Failed:
		return durable.Permanent(errInjected)
	case Transient:
		return errInjected
	case Panicked:
		panic(errInjected)
	case Unknown:
		return nil
	case CrashedBefore:
		return i.die()
	}
	if err := i.do(ctx, c, next); err != nil {
		return err
	}
	switch f {
	case AnswerLost:
		return errInjected
	case InDoubt:
		return durable.Permanent(errInjected)
	case TimedOut:
		<-ctx.Done()
		return context.Cause(ctx)
	case Cancelled:
		return i.cancel(ctx)
	case CrashedAfter:
		return i.die()
	}
	return nil
}

// die is the death of the process that runs the saga: what the function returns
// nobody hears.
func (i *injector) die() error {
	i.client.Store().(*durabletest.Mortal).Kill(i.id)
	return errGone
}

// do calls the function, and answers what it has asked.
func (i *injector) do(ctx context.Context, c saga.Call, next func(context.Context) error) error {
	if err := next(ctx); err != nil || c.Callback == "" || c.Kind != saga.CallForward {
		return err
	}
	v, ok := i.o.answers[c.Step]
	if !ok {
		return durable.Permanent(fmt.Errorf("sagatest: step %q awaits an answer: pass Answer(%q, …)", c.Step, c.Step))
	}
	return settled(i.client.CompleteCallback(context.WithoutCancel(ctx), c.Callback, v))
}

// cancel asks the saga to stop.
func (i *injector) cancel(ctx context.Context) error {
	return settled(i.client.Cancel(context.WithoutCancel(ctx), i.id, "sagatest", "injected"))
}

// settled drops the errors of deliveries that somebody else was quicker with.
func settled(err error) error {
	for _, known := range []error{durable.ErrDelivered, durable.ErrEnded, durable.ErrNotOpen} {
		if errors.Is(err, known) {
			return nil
		}
	}
	return err
}
