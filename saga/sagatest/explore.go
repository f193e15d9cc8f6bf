package sagatest

import (
	"slices"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// Explore runs the saga with every fault in every function that it comes past, a
// crash of its process before and after the function's effect among them, and with
// every second fault in every function that it comes past then, or in the next
// attempt of the same. It logs the Coverage: for each function and fault what the saga came to, and what was
// never reached. audit, if it is not nil, looks at what stands after each run.
func Explore[In, Out any](t *testing.T, sg *saga.Saga[In, Out], input In, audit func(*Run), opts ...Option) *Coverage {
	t.Helper()
	x := &exploration[In, Out]{t: t, sg: sg, input: input, audit: audit, o: optionsOf(opts), cov: newCoverage(sg.Shape())}
	base := x.run()
	var singles []*explored
	for _, next := range x.cov.further(base) {
		singles = append(singles, x.run(next...))
	}
	for _, single := range singles {
		for _, next := range x.cov.further(single) {
			x.run(next...)
		}
	}
	t.Log("\n" + x.cov.String())
	return x.cov
}

type exploration[In, Out any] struct {
	t     *testing.T
	sg    *saga.Saga[In, Out]
	input In
	audit func(*Run)
	o     *options
	cov   *Coverage
}

// explored is a run that was made.
type explored struct {
	plan    []Injection
	came    []place // functions that it came past, in the order of their first calls
	outcome string
}

func (x *exploration[In, Out]) run(plan ...Injection) *explored {
	id := newID()
	var in *injector
	head := once(x.t, x.sg, x.input, x.o, id, func(client *durable.Engine) saga.Interceptor {
		in = newInjector(x.o, id, client, plan...)
		return in.intercept
	})
	r := &Run{TB: x.t, ID: id, Head: head, Status: saga.StatusOf(&head), Injected: plan}
	if x.audit != nil {
		x.audit(r)
	}
	e := &explored{plan: plan, came: in.came, outcome: r.Outcome()}
	if in.all() {
		x.cov.add(e)
	}
	return e
}

// further lists the plans that add a fault to that of a run, at every function
// that it came past after its last one, and at that one if it is called again.
func (c *Coverage) further(e *explored) (plans [][]Injection) {
	from := 0
	if n := len(e.plan); n > 0 {
		if from = slices.Index(e.came, e.plan[n-1].place()); !e.plan[n-1].Fault.once() {
			from++
		}
	}
	for _, at := range e.came[from:] {
		for _, f := range c.faults[at] {
			plans = append(plans, append(slices.Clone(e.plan), Injection{at.step, at.kind, f}))
		}
	}
	return plans
}
