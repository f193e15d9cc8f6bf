package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SubtypeGroup marks the contexts of Group.
const SubtypeGroup = "Group"

// stopper lets a group ask its branches to stop. Guarded by the activation's
// mutex.
type stopper struct {
	up  *stopper
	err error // why, once they are to
}

// asked returns why the code below is to stop, or nil. a.mu is held.
func (s *stopper) asked() error {
	for ; s != nil; s = s.up {
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// Group runs n branches beside each other and returns their errors, by index. It
// is for layers that keep what they know of a handler's operations in memory, as
// package saga does: on every replay, also after its end, the branches' code
// runs again, over what the journal has of it. Nothing but errors comes out.
//
// Once a branch has failed the others are asked to stop, as a cancel of the
// execution would: their operations answer ErrCancelled, and the contexts of
// running bodies end. How each operation ended that has started is recorded, and
// Group returns after all code has. label names a branch, for paths; "" is its
// number. Of the options only WithContextSubtype counts.
func Group(ctx *Context, name string, n int, label func(i int) string, run func(ctx *Context, i int) error, opts ...ContextOption) ([]error, error) {
	o := contextOptionsOf(append([]ContextOption{WithContextSubtype(SubtypeGroup)}, opts...))
	k, err := ctx.begin(OpContext, o.subtype, name, 0)
	if err != nil {
		return nil, err
	}
	defer k.end()
	a := ctx.a
	a.mu.Lock()
	if k.op == nil && k.c.reached() != nil {
		k.recordCancelled()
	}
	labels := labelsFor(n, label)
	if k.op == nil {
		e := k.entry(EntryStart)
		e.Payload = labels.stored()
		k.record(e)
	}
	never := k.op.end == EntryCancel // before it began: it ends as a result or failure else
	a.mu.Unlock()
	if never {
		a.mu.Lock()
		defer a.mu.Unlock()
		return nil, a.stopped(k.op)
	}
	g := &group{k: k, stop: &stopper{up: ctx.stop}, errs: make([]error, n), run: run}
	g.start(labels)
	return g.errs, g.close()
}

// group is a Group on its way.
type group struct {
	k    *call
	stop *stopper
	errs []error
	run  func(ctx *Context, i int) error
	left int // branches whose code runs; guarded by the activation's mutex
}

// branchLabels are the names of a group's branches. They are recorded with its
// start, so that the journal alone tells keys.
type branchLabels []string

func labelsFor(n int, label func(i int) string) branchLabels {
	labels := make(branchLabels, n)
	for i := range labels {
		labels[i] = label(i)
	}
	return labels
}

// stored is nil if all branches go by their numbers.
func (l branchLabels) stored() []byte {
	if !slices.ContainsFunc(l, func(name string) bool { return name != "" }) {
		return nil
	}
	b, err := json.Marshal(l)
	if err != nil { // strings always encode
		return nil
	}
	return b
}

// start runs the branches, and returns when none of their code runs any more.
func (g *group) start(labels branchLabels) {
	c := g.k.c
	g.left = len(labels)
	kids := make([]*strand, len(labels))
	for i := range labels {
		in := *c
		in.stop = g.stop
		in.scope = c.a.newScope(scopeID{parent: g.k.op.num, branch: int64(i + 1)}, g.k.path+"/"+labelOf(labels, i+1)+"/")
		kids[i] = c.st.spawn(func(kid *strand) {
			in.st, kid.ofGroup = kid, true
			g.branch(&in, i)
		})
	}
	c.st.await(func() bool { return g.left == 0 }, time.Time{})
	c.st.rest()
	defer c.st.resume()
	join(kids)
}

// branch runs one branch, and asks the others to stop if it fails.
func (g *group) branch(in *Context, i int) {
	a := in.a
	err := g.run(in, i)
	in.st.joinStarted(in.scope)
	if bug := a.unconsumed(in.scope); bug != nil && !in.st.over() {
		in.st.parkAndExit(a.bug(ParkNondeterminism, in.scope.path, bug))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g.errs[i] = err
	g.left--
	if err != nil && g.stop.err == nil && !errors.Is(err, ErrSuspended) {
		g.stop.err = fmt.Errorf("%w: another branch of %q has failed", ErrCancelled, g.k.name)
		a.reachBodies()
	}
	a.wakeReady()
}

// close records that the group has ended, if it is not recorded yet. It returns
// an error only when the activation is over for this code.
func (g *group) close() error {
	k, a := g.k, g.k.c.a
	k.freeInside()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.halted != nil || k.c.st.stopped {
		return ErrSuspended
	}
	if k.op.done {
		return nil
	}
	e := k.entry(EntryResult)
	for _, err := range g.errs {
		if err != nil && (e.Kind == EntryResult || !errors.Is(err, ErrCancelled)) {
			e.Kind, e.Error = EntryFailure, toStored(err)
		}
	}
	k.record(e)
	return nil
}
