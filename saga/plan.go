package saga

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// plan is what a saga declares: a tree of nodes, types erased, with the mistakes
// made so far.
type plan struct {
	name     string
	root     *block
	problems []string
	sealed   bool

	unwindTimeout time.Duration
	independent   bool
	afterPivot    string // file:line of AfterPivot; "" is a saga by itself
	onParked      func(context.Context, durable.Head)
}

// block is a sequence of nodes, or the members of a group.
type block struct {
	p     *plan
	nodes []node
}

// node is what a block holds: *step, *group, *when, *sub or *wait.
type node interface {
	// label is its name, and where it is declared.
	label() (name, at string)
}

// named is what all nodes have.
type named struct {
	name string
	at   string // file:line of the declaration
}

func (n *named) label() (name, at string) { return n.name, n.at }

// group runs its members beside each other.
type group struct {
	named
	*block
	undoTogether bool
}

// branch runs its nodes one after the other, if its condition holds; without one
// it always does.
type branch struct {
	named
	*block
	cond func(Context, any) bool
}

// sub runs another saga's plan as a part of this one.
type sub struct {
	named
	child  *plan
	input  func(Context, any) (json.RawMessage, error)
	decode func(json.RawMessage) (any, error)
	result func(Context, any) (json.RawMessage, error)
}

// wait waits.
type wait struct {
	named
	d time.Duration
}

// typed gives a block its input type back.
type typed[In any] struct{ *block }

// Scope is where steps are declared: a Builder, a Group or a Branch.
type Scope[In any] interface{ scope() typed[In] }

// caller is the file:line outside of this package that is declaring.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/clewdev/clew/saga.") || strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

func (p *plan) problem(at, format string, args ...any) {
	p.problems = append(p.problems, at+": "+fmt.Sprintf(format, args...))
}

// declare names a node of a block. After Build nothing can be added: a scope
// that a body captured is refused, loudly.
func (b *block) declare(what, name string) named {
	at := caller()
	if b.p.sealed {
		panic(fmt.Sprintf("saga: %s %q is declared at %s after Build: declare all before, none inside a body", what, name, at))
	}
	if name == "" || len(name) > 100 || strings.ContainsAny(name, "/#") {
		b.p.problem(at, "%s %q: a name has 1 to 100 bytes and neither \"/\" nor \"#\", which idempotency keys use", what, name)
	}
	return named{name, at}
}

// step declares a step.
func (b *block) step(name string, nilBody bool) *step {
	s := &step{named: b.declare("step", name)}
	b.nodes = append(b.nodes, s)
	if nilBody {
		b.p.problem(s.at, "step %q has a nil body: pass a func", name)
	}
	return s
}

func (p *plan) positive(s *step, what string, d time.Duration) {
	if d <= 0 {
		p.problem(s.at, "step %q: %s(%v): pass a duration above zero", s.name, what, d)
	}
}

func (p *plan) onlyAwait(s *step, what string) {
	if s.ask == nil {
		p.problem(s.at, "step %q: %s is for Await, which waits for somebody outside: drop the call", s.name, what)
	}
}

func (p *plan) classify(s *step, c class) {
	if p.sealed {
		panic(fmt.Sprintf("saga: step %q is classified after Build", s.name))
	}
	if s.class != unclassified {
		p.problem(s.at, "step %q is classified twice, as %v and as %v: keep one", s.name, s.class, c)
	}
	s.class = c
}

func (p *plan) irreversible(s *step, why string) {
	p.classify(s, irreversible)
	s.why = why
	if strings.TrimSpace(why) == "" {
		p.problem(s.at, "step %q is Irreversible without a reason: say why its effect may stand when the saga unwinds", s.name)
	}
}

// passed says how sure it is, at a place of the plan, that the pivot has
// happened.
type passed struct {
	sure  bool // on every way here
	maybe bool // on some
	pivot named
}

// checker finds what only the whole plan shows.
type checker struct {
	p     *plan
	names map[string]string
}

func (p *plan) check() {
	c := &checker{p: p, names: map[string]string{}}
	if len(p.root.nodes) == 0 {
		p.problem(caller(), "the saga has no steps: declare at least one")
	}
	var at passed
	if p.afterPivot != "" {
		at = passed{sure: true, maybe: true, pivot: named{"of the saga around this one", p.afterPivot}}
	}
	c.sequence(p.root, at, false)
}

// sequence checks the nodes of a block in their order.
func (c *checker) sequence(b *block, at passed, inGroup bool) passed {
	for _, n := range b.nodes {
		name, where := n.label()
		if first, taken := c.names[name]; taken {
			c.p.problem(where, "step %q has the name of the step at %s: give it another", name, first)
		}
		c.names[name] = where
		switch n := n.(type) {
		case *step:
			at = c.step(n, at, inGroup)
		case *group:
			if len(n.nodes) == 0 {
				c.p.problem(n.at, "group %q is empty: declare steps on it", n.name)
			}
			for _, member := range n.nodes {
				c.sequence(&block{p: c.p, nodes: []node{member}}, at, true)
			}
		case *branch:
			if len(n.nodes) == 0 {
				c.p.problem(n.at, "branch %q is empty: declare steps on it", n.name)
			}
			then := c.sequence(n.block, at, inGroup)
			if n.cond != nil { // it may not be taken
				then.sure = then.sure && at.sure
			}
			at = then
		case *sub:
			at = c.sub(n, at, inGroup)
		}
	}
	return at
}

// step checks one step at its place.
func (c *checker) step(s *step, at passed, inGroup bool) passed {
	p := c.p
	switch {
	case s.class == unclassified:
		p.problem(s.at, "step %q is not classified: say how it is undone with Undo, or that it is ReadOnly, Irreversible(why) or, after the pivot, Retriable", s.name)
	case s.flow != nil && len(s.settings.named()) > 0:
		p.problem(s.at, "step %q is a durable function (Run), which has no attempts: %s does nothing there; set it on the operations in the function", s.name, strings.Join(s.settings.named(), ", "))
	case s.class == readOnly && s.verify != nil:
		p.problem(s.at, "step %q is ReadOnly and has a Verify: without an effect there is nothing to verify; drop one of them", s.name)
	case s.class == pivot:
		if s.why == "" {
			p.problem(s.at, "pivot %q has no way out of doubt: give it a Verify, or ParkInDoubt", s.name)
		}
		return c.pivot(s.named, at, inGroup)
	case s.class == undoable && at.maybe:
		p.problem(s.at, "step %q can be undone but comes after the pivot %q (%s), past which nothing is undone: move it before the pivot, or make it Retriable", s.name, at.pivot.name, at.pivot.at)
	case s.class == retriable && !at.sure:
		p.problem(s.at, "step %q is Retriable but no pivot comes before it on every way here, so that the saga may still unwind: declare the Pivot first, or give the step an Undo, or make it Irreversible(why); if this saga is only ever a Sub behind the pivot of others, say so with Builder.AfterPivot", s.name)
	}
	return at
}

func (c *checker) pivot(s named, at passed, inGroup bool) passed {
	switch {
	case at.maybe:
		c.p.problem(s.at, "step %q is a second pivot after %q (%s): a saga has one point of no return; make this one Retriable, or split the saga", s.name, at.pivot.name, at.pivot.at)
	case inGroup:
		c.p.problem(s.at, "pivot %q stands in a parallel group, whose other members may still have to be undone: move it behind the group", s.name)
	}
	return passed{sure: true, maybe: true, pivot: s}
}

// sub checks a sub-saga by the steps that it is made of.
func (c *checker) sub(n *sub, at passed, inGroup bool) passed {
	if n.child == nil {
		return at
	}
	if n.child.afterPivot != "" && !at.sure {
		c.p.problem(n.at, "sub-saga %q is declared to stand AfterPivot (%s), but no pivot comes before it on every way here: move it behind the Pivot, or give its steps undos", n.name, n.child.afterPivot)
		return at
	}
	inner := &checker{p: &plan{}, names: map[string]string{}}
	then := inner.sequence(n.child.root, at, inGroup)
	for _, problem := range inner.p.problems {
		c.p.problem(n.at, "sub-saga %q does not fit here: %s", n.name, problem)
	}
	return then
}

// fingerprint digests the shape of the plan: names, classes, kinds and how they
// nest, in order, and whether an Await reminds: where the journal has each
// operation. Behind a point it digests what decides only where the way forward ends:
// which steps have a Verify, and how the saga unwinds. Executions that have not come
// there take a change of it, and all take one of other settings.
func (p *plan) fingerprint() string {
	h := sha256.New()
	p.root.digest(h)
	shape := hex.EncodeToString(h.Sum(nil)[:8])
	h.Reset()
	fmt.Fprint(h, p.independent, p.unwindTimeout > 0)
	for name, n := range steps(p.root.shape(), "") {
		if n.Verify {
			fmt.Fprintf(h, ";%d:%s", len(name), name)
		}
	}
	return durable.SagaFingerprint + shape + "." + hex.EncodeToString(h.Sum(nil)[:4])
}

// sameShape tells whether two fingerprints differ at most in what decides where the
// way forward ends.
func sameShape(a, b string) bool {
	a, _, _ = strings.Cut(a, ".")
	b, _, _ = strings.Cut(b, ".")
	return a == b
}

func (b *block) digest(h hash.Hash) {
	for _, n := range b.nodes {
		name, _ := n.label()
		fmt.Fprintf(h, "%d:%s:", len(name), name)
		switch n := n.(type) {
		case *step:
			fmt.Fprintf(h, "%v", n.class)
			if kind := n.kind(); kind != "step" {
				fmt.Fprintf(h, " %s", kind)
			}
			if n.remind != nil {
				fmt.Fprint(h, " reminds")
			}
			fmt.Fprint(h, ";")
		case *group:
			fmt.Fprint(h, "group(")
			if n.undoTogether {
				fmt.Fprint(h, "together:")
			}
			n.digest(h)
			fmt.Fprint(h, ");")
		case *branch:
			fmt.Fprint(h, "branch(")
			if n.cond != nil {
				fmt.Fprint(h, "when:")
			}
			n.digest(h)
			fmt.Fprint(h, ");")
		case *sub:
			fmt.Fprint(h, "sub(")
			n.child.root.digest(h)
			fmt.Fprint(h, ");")
		case *wait:
			fmt.Fprint(h, "wait;")
		}
	}
}
