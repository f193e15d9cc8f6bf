package sagatest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/clewdev/clew/saga"
)

// Coverage is what Explore has reached.
type Coverage struct {
	places []place // in the order of their declarations
	faults map[place][]Fault
	ran    []*explored // whose faults have all happened
}

func newCoverage(s saga.Shape) *Coverage {
	c := &Coverage{faults: map[place][]Fault{}}
	for name, n := range steps(s.Nodes, "") {
		kinds := []saga.CallKind{saga.CallForward}
		if n.Verify {
			kinds = append(kinds, saga.CallVerify)
		}
		if n.Class == "undoable" {
			kinds = append(kinds, saga.CallUndo)
		}
		for _, kind := range kinds {
			at := place{name, kind}
			c.places = append(c.places, at)
			c.faults[at] = append(faultsOf(n, kind), crashesOf(kind)...)
		}
	}
	return c
}

func (c *Coverage) add(e *explored) { c.ran = append(c.ran, e) }

// Runs is how many runs there were in which all injected faults happened.
func (c *Coverage) Runs() int { return len(c.ran) }

// Outcomes lists what the saga came to when this happened: alone, if it can, else
// after any other fault; sorted. It is empty if it was never reached.
func (c *Coverage) Outcomes(in Injection) []string {
	alone, after := map[string]bool{}, map[string]bool{}
	for _, e := range c.ran {
		switch n := len(e.plan); {
		case n == 0 || e.plan[n-1] != in:
		case n == 1:
			alone[e.outcome] = true
		default:
			after[e.outcome] = true
		}
	}
	if len(alone) == 0 {
		alone = after
	}
	return slices.Sorted(maps.Keys(alone))
}

// Unreached lists the faults that never happened, because the saga did not come
// past their functions with this input.
func (c *Coverage) Unreached() (unreached []Injection) {
	for _, at := range c.places {
		for _, f := range c.faults[at] {
			if in := (Injection{at.step, at.kind, f}); len(c.Outcomes(in)) == 0 {
				unreached = append(unreached, in)
			}
		}
	}
	return unreached
}

// pairs counts the pairs of faults, in different functions in either order or in
// one function one after the other, and of those the ones that happened in one run.
func (c *Coverage) pairs() (all, reached int) {
	n := 0
	for _, at := range c.places {
		all += n * len(c.faults[at])
		n += len(c.faults[at])
		for _, f := range c.faults[at] {
			if f.once() {
				all += len(c.faults[at])
			}
		}
	}
	for _, e := range c.ran {
		if len(e.plan) == 2 {
			reached++
		}
	}
	return all, reached
}

// comes tells whether any run came past a function.
func (c *Coverage) comes(at place) bool {
	return slices.ContainsFunc(c.ran, func(e *explored) bool { return slices.Contains(e.came, at) })
}

// missing lists the steps that no run with this fault as its first came to, of
// those that others did.
func (c *Coverage) missing(in Injection) (missing []string) {
	came, happened := map[place]bool{}, false
	for _, e := range c.ran {
		if len(e.plan) > 0 && e.plan[0] == in {
			happened = true
			for _, at := range e.came {
				came[at] = true
			}
		}
	}
	for _, at := range c.places {
		if happened && at.kind == saga.CallForward && !came[at] && c.comes(at) {
			missing = append(missing, at.step)
		}
	}
	return missing
}

func (p place) String() string {
	if p.kind == saga.CallForward {
		return p.step
	}
	return string(p.kind) + " " + p.step
}

// String is the coverage as a table: a line for each function and fault, with
// what the saga came to, and the steps that it does not come to any more,
// whatever second fault there is.
func (c *Coverage) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "function\tfault\tthe saga is\tdoes not come to")
	for _, e := range c.ran {
		if len(e.plan) == 0 {
			fmt.Fprintf(w, "\tnone\t%s\t\n", e.outcome)
		}
	}
	for _, at := range c.places {
		if !c.comes(at) {
			fmt.Fprintf(w, "%s\tany\tNEVER REACHED\t\n", at)
			continue
		}
		for _, f := range c.faults[at] {
			in := Injection{at.step, at.kind, f}
			outcomes := strings.Join(c.Outcomes(in), "; ")
			if outcomes == "" {
				outcomes = "NEVER REACHED"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", at, f, outcomes, strings.Join(c.missing(in), ", "))
		}
	}
	w.Flush() // a Builder takes everything
	all, reached := c.pairs()
	fmt.Fprintf(&b, "%d runs; of %d pairs of faults %d come together in one run\n", c.Runs(), all, reached)
	return b.String()
}
