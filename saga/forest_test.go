package saga_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/saga/sagatest"
)

var forest = flag.Int("trees", 20, "TestForest: how many sagas")

// TestForest runs sagas that chance has put together, as deep as TestShapes has
// them not: groups in branches of groups, conditions in them, sub-sagas in
// sub-sagas, approvals and durable functions on both sides of the pivot. Each runs
// many times, with up to three things going wrong wherever chance has it, and up to
// five acts of an operator.
func TestForest(t *testing.T) {
	outcomes, runs := map[string]int{}, 0
	for n := range *forest {
		seed := *seed + uint64(n)
		tr := plant(rand.New(rand.NewPCG(seed, 1)))
		for i := range 40 {
			synctest.Test(t, func(t *testing.T) {
				g := &grove{tree: tr, r: rand.New(rand.NewPCG(seed, uint64(2+i)))}
				outcome := g.run(t)
				outcomes[outcome]++
				runs++
				if len(g.wrong) > 0 {
					t.Errorf("-seed %d, run %d of %v: %s; %s; events %v; acts %v; calls: %s", seed, i, tr, strings.Join(g.wrong, "; "), outcome, g.hit, g.acts, strings.Join(g.calls, ", "))
				}
			})
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d runs of %d sagas: %v", runs, *forest, outcomes)
}

// tree is a saga that chance has put together.
type tree struct {
	nodes       []*twig
	independent bool
	deadline    bool
}

// twig is a node of a tree: its kind in one letter, and what stands in it.
type twig struct {
	kind  byte // U R I T V P: a step; A a: Await before and after; F f: Run; W: wait; G: group; B: branch; C: condition; S: sub-saga
	name  string
	nodes []*twig
	taken bool // of a condition
	also  bool // of a step: AtMostOnce; of a group: undone together
	look  bool // a Verify
}

func (tr *tree) String() string {
	return fmt.Sprintf("%s independent %v deadline %v", inShort(tr.nodes), tr.independent, tr.deadline)
}

func inShort(nodes []*twig) string {
	var words []string
	for _, n := range nodes {
		word := string(n.kind) + n.name
		if n.also {
			word += "'"
		}
		if n.look {
			word += "?"
		}
		if len(n.nodes) > 0 {
			word += "(" + inShort(n.nodes) + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// gardener makes a tree.
type gardener struct {
	r *rand.Rand
	n int
}

func plant(r *rand.Rand) *tree {
	g := &gardener{r: r}
	tr := &tree{independent: r.IntN(4) == 0, deadline: r.IntN(4) == 0}
	tr.nodes = g.several(1+r.IntN(4), 3, false)
	if r.IntN(3) > 0 {
		pivot := &twig{kind: "VP"[r.IntN(2)], name: g.name(), also: r.IntN(4) == 0}
		if r.IntN(4) == 0 {
			pivot = &twig{kind: 'S', name: g.name(), nodes: append(g.several(r.IntN(2), 1, false), pivot)}
			pivot.nodes = append(pivot.nodes, g.several(r.IntN(2), 1, true)...)
		}
		tr.nodes = append(tr.nodes, pivot)
		tr.nodes = append(tr.nodes, g.several(r.IntN(4), 2, true)...)
	}
	return tr
}

func (g *gardener) name() string {
	g.n++
	return fmt.Sprint("n", g.n)
}

func (g *gardener) several(n, depth int, after bool) (nodes []*twig) {
	for range n {
		nodes = append(nodes, g.one(depth, after))
	}
	return nodes
}

func (g *gardener) one(depth int, after bool) *twig {
	kinds := "UUUURIAFWGGCS"
	if after {
		kinds = "TTTRIafWGCS"
	}
	n := &twig{kind: kinds[g.r.IntN(len(kinds))], name: g.name()}
	if depth == 0 && strings.ContainsRune("GCS", rune(n.kind)) {
		n.kind = kinds[0]
	}
	switch n.kind {
	case 'U', 'I', 'T', 'A':
		n.also, n.look = g.r.IntN(5) == 0, g.r.IntN(3) == 0
	case 'C':
		n.taken, n.nodes = g.r.IntN(3) > 0, g.several(1+g.r.IntN(2), depth-1, after)
	case 'S':
		n.nodes = g.several(1+g.r.IntN(3), depth-1, after)
	case 'G':
		n.also = g.r.IntN(3) == 0
		for range 2 + g.r.IntN(2) {
			if g.r.IntN(2) == 0 {
				n.nodes = append(n.nodes, g.one(depth-1, after))
			} else {
				n.nodes = append(n.nodes, &twig{kind: 'B', name: g.name(), nodes: g.several(1+g.r.IntN(2), depth-1, after)})
			}
		}
	}
	return n
}

// grove is the outside of one run of a tree.
type grove struct {
	*tree
	r     *rand.Rand
	store *durabletest.Mortal
	e     *durable.Engine

	mu     sync.Mutex
	p      sagatest.Participant
	life   int
	calls  []string
	events map[int]what // by number of call
	hit    []string
	acts   []string
	busy   map[string]int
	begun  map[string]bool // forward functions
	undone []string
	wrong  []string
	calm   bool // nothing goes wrong any more
}

func (g *grove) fault(format string, args ...any) {
	g.wrong = append(g.wrong, fmt.Sprintf(format, args...))
}

func (g *grove) run(t *testing.T) (outcome string) {
	g.busy, g.begun, g.events = map[string]int{}, map[string]bool{}, map[int]what{}
	all := []what{evRejected, evFailed, evDoubt, evLost, evPanics, evStopped, evCancelled, evCrashBefore, evCrashAfter}
	for range g.r.IntN(4) {
		g.events[1+g.r.IntN(14)] = all[g.r.IntN(len(all))]
	}
	sg := g.build()
	g.store = durabletest.NewMortal()
	e, ctx, stop := running(t, g.store, durable.Options{PollMax: time.Minute}, sg)
	defer stop()
	g.e = e
	x, err := sg.Start(ctx, e, "o1", 0)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := x.Wait(ctx)
		if !errors.Is(err, durable.ErrParked) || len(g.acts) == 5 {
			break
		}
		g.act(ctx)
	}
	rec, err := g.store.Load(ctx, "o1", durable.LoadAll)
	if err != nil {
		t.Fatal(err)
	}
	if err := foretold(rec); err != nil && rec.Status != durable.StatusTerminated && !slices.Contains(g.acts, "skip") && !g.independent && !strings.Contains(g.String(), "'(") {
		g.fault("foretold: %v", err)
	}
	g.judge(rec)
	outcome = saga.StatusOf(&rec.Head).String()
	if rec.Status == durable.StatusParked {
		outcome += ", parked: " + string(rec.Park.Reason)
	}
	return outcome
}

// act is the operator's. What it states is the truth.
func (g *grove) act(ctx context.Context) {
	rec, err := g.store.Load(ctx, "o1", durable.LoadAll)
	if err != nil {
		g.fault("load: %v", err)
		return
	}
	verbs := rec.Verbs()
	d := durable.Decision{Verb: verbs[g.r.IntN(len(verbs))], Actor: "ada", Reason: "test", Force: true}
	if d.Verb == durable.VerbAbandon && g.r.IntN(3) > 0 {
		d.Verb = verbs[0]
	}
	g.mu.Lock()
	g.calm = g.calm || g.r.IntN(2) == 0
	g.mu.Unlock()
	if d.Verb == durable.VerbResolve {
		d.NoEffect = !g.p.Settle(rec.Park.Key)
		d.Output = []byte(`"v"`)
		if d.NoEffect {
			d.Output = nil
		}
		if name := rec.Park.Operation; strings.ContainsAny(kindOf(g.nodes, name[strings.LastIndexByte(name, '/')+1:]), "Ff") {
			d.NoEffect, d.Output = false, []byte(`"v"`) // what it may have done is done now
			_ = g.p.Do(rec.Park.Key+"/inner", name[strings.LastIndexByte(name, '/')+1:], "")
		}
	}
	g.acts = append(g.acts, string(d.Verb))
	if err := g.e.Act(ctx, "o1", rec.Revision, d); err != nil {
		g.fault("%s: %v", d.Verb, err)
	}
}

// kindOf is the kind of the twig of this name.
func kindOf(nodes []*twig, name string) string {
	for _, n := range nodes {
		if n.name == name {
			return string(n.kind)
		}
		if k := kindOf(n.nodes, name); k != "" {
			return k
		}
	}
	return ""
}

// judge checks the end.
func (g *grove) judge(rec *durable.Record) {
	stands := g.p.Of("o1")
	switch s := rec.Status; {
	case s == durable.StatusParked:
		if len(rec.Verbs()) < 2 {
			g.fault("parked with no way out: %v", rec.Verbs())
		}
	case s == durable.StatusSucceeded:
		g.all(g.nodes, stands)
		if len(g.undone) > 0 {
			g.fault("committed, and undone was %v", g.undone)
		}
	case s == durable.StatusTerminated:
		if !slices.Contains(g.acts, "abandon") {
			g.fault("terminated by nobody")
		}
	case s.Ended():
		g.none(g.nodes, stands, rec.Error.Message)
	default:
		g.fault("it is %v", s)
	}
}

func (g *grove) all(nodes []*twig, stands map[string]int) {
	for _, n := range nodes {
		switch {
		case n.kind == 'C' && !n.taken, n.kind == 'R', n.kind == 'W':
		case len(n.nodes) > 0:
			g.all(n.nodes, stands)
		case stands[n.name] < 1 || stands[n.name] > 1 && n.kind != 'a': // asked anew, it is another question
			g.fault("committed, and of %s there is %d", n.name, stands[n.name])
		}
	}
}

func (g *grove) none(nodes []*twig, stands map[string]int, message string) {
	for _, n := range nodes {
		_, skipped, _ := strings.Cut(message, "skipped: ")
		switch {
		case len(n.nodes) > 0:
			g.none(n.nodes, stands, message)
		case strings.ContainsRune("UAFVPTaf", rune(n.kind)) && stands[n.name] > 0 && !strings.Contains(skipped, n.name):
			g.fault("unwound, and %s stands: %s", n.name, message)
		}
	}
}

// enter notes a call, and says what is to happen in it.
func (g *grove) enter(call string) (what, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, call)
	ev := g.events[len(g.calls)]
	if g.calm {
		ev = ""
	}
	if ev != "" {
		g.hit = append(g.hit, fmt.Sprintf("%s in %s", ev, call))
	}
	return ev, g.life
}

func (g *grove) die() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.life++
	clear(g.busy)
	g.store.Kill("o1")
	return errGone
}

// forward is a body: it takes a while, does not look at its context, and acts.
func (g *grove) forward(c context.Context, n *twig, key string, asks func() error) (string, error) {
	ev, life := g.enter(n.name)
	g.mu.Lock()
	if g.busy[n.name]++; g.busy[n.name] > 1 {
		g.fault("two attempts of %s at once", n.name)
	}
	if slices.Contains(g.undone, n.name) {
		g.fault("%s begins after its undo", n.name)
	}
	g.begun[n.name] = true
	took := time.Duration(1+g.r.IntN(3000)) * time.Millisecond
	g.mu.Unlock()
	time.Sleep(took)
	g.mu.Lock()
	gone := g.life != life
	if !gone {
		g.busy[n.name]--
	}
	g.mu.Unlock()
	switch {
	case gone:
		return "", errGone
	case ev == evRejected:
		return "", saga.Reject(errDeclined)
	case ev == evFailed:
		return "", durable.Permanent(errOutage)
	case ev == evCrashBefore:
		return "", g.die()
	}
	if n.kind != 'R' {
		if err := g.p.Do(key, n.name, ""); err != nil {
			return "", err
		}
		g.mu.Lock()
		if slices.Contains(g.undone, n.name) {
			g.fault("%s acts after its undo", n.name)
		}
		g.mu.Unlock()
	}
	if err := asks(); err != nil {
		return "", err
	}
	switch ev {
	case evDoubt:
		return "", durable.Permanent(errOutage)
	case evLost:
		return "", errOutage
	case evPanics:
		panic("oops")
	case evCrashAfter:
		return "", g.die()
	case evCancelled, evStopped:
		if err := ignore(g.e.Cancel(context.WithoutCancel(c), "o1", "customer", "no more")); err != nil {
			g.mu.Lock()
			g.fault("cancel: %v", err)
			g.mu.Unlock()
		}
		if ev == evStopped {
			return "", errors.New("stopped")
		}
	}
	return "v", nil
}

func (g *grove) verify(c saga.Context, n *twig) (saga.Verdict[string], error) {
	ev, _ := g.enter("verify " + n.name)
	g.mu.Lock()
	if g.busy[n.name] > 0 {
		g.fault("%s is verified while it runs", n.name)
	}
	g.mu.Unlock()
	switch {
	case ev == evCrashBefore || ev == evCrashAfter:
		return saga.Verdict[string]{}, g.die()
	case ev == evFailed:
		return saga.Unknown[string](), nil
	case g.p.Settle(c.Key()):
		return saga.Happened("v"), nil
	}
	return saga.NoEffect[string](), nil
}

func (g *grove) undo(c saga.UndoContext, n *twig, m saga.Maybe[string]) error {
	ev, life := g.enter("undo " + n.name)
	g.mu.Lock()
	if v, ok := m.Get(); ok && v != "v" {
		g.fault("the undo of %s gets %q", n.name, v)
	}
	if !g.begun[n.name] {
		g.fault("%s is undone and never began", n.name)
	}
	for name, busy := range g.busy {
		if busy > 0 {
			g.fault("%s is undone while %s runs", n.name, name)
		}
	}
	if !slices.Contains(g.undone, n.name) {
		g.undone = append(g.undone, n.name)
	}
	for name := range g.p.Of("o1") {
		if strings.ContainsAny(kindOf(g.nodes, name), "VPTaf") {
			g.fault("%s is undone, and %s stands", n.name, name)
		}
	}
	g.mu.Unlock()
	time.Sleep(time.Second)
	g.mu.Lock()
	gone := g.life != life
	g.mu.Unlock()
	switch {
	case gone:
		return errGone
	case ev == evCrashBefore:
		return g.die()
	case ev == evFailed || ev == evRejected || ev == evDoubt:
		return durable.Permanent(errOutage)
	case ev == evPanics:
		panic("oops")
	}
	key := c.ForwardKey()
	if n.kind == 'F' {
		key += "/inner"
	}
	err := g.p.Undo(key)
	if ev == evCrashAfter {
		return g.die()
	}
	return err
}

// build declares the tree.
func (g *grove) build() *saga.Saga[int, string] {
	b := saga.New[int, string]("tree", "1")
	if g.independent {
		b.UndoIndependently()
	}
	if g.deadline {
		b.UnwindTimeout(time.Minute)
	}
	for _, n := range g.nodes {
		g.declare(b, n, false)
	}
	sg, err := b.Build(func(saga.Context, int) (string, error) { return "", nil })
	if err != nil {
		panic(fmt.Sprint(g.tree, err))
	}
	return sg
}

func (g *grove) declare(on saga.Scope[int], n *twig, past bool) {
	undo := func(c saga.UndoContext, _ int, m saga.Maybe[string]) error { return g.undo(c, n, m) }
	verify := func(c saga.Context, _ int) (saga.Verdict[string], error) { return g.verify(c, n) }
	none := func() error { return nil }
	body := func(c saga.Context, _ int) (string, error) { return g.forward(c, n, c.Key(), none) }
	switch n.kind {
	case 'W':
		saga.Wait(on, n.name, time.Minute)
	case 'G':
		in := saga.Parallel(on, n.name)
		if n.also {
			in.UndoTogether()
		}
		for _, m := range n.nodes {
			if m.kind != 'B' {
				g.declare(in, m, past)
				continue
			}
			branch := in.Branch(m.name)
			for _, inner := range m.nodes {
				g.declare(branch, inner, past)
			}
		}
	case 'C':
		in := saga.When(on, n.name, func(saga.Context, int) bool { return n.taken })
		for _, m := range n.nodes {
			g.declare(in, m, past)
		}
	case 'S':
		g.sub(on, n)
	case 'V', 'P':
		p := saga.Pivot(on, n.name, body)
		if n.also {
			p.AtMostOnce()
		}
		if n.kind == 'V' {
			p.Verify(verify)
		} else {
			p.ParkInDoubt()
		}
	case 'F', 'f':
		f := saga.Run(on, n.name, func(ctx *durable.Context, _ int) (string, error) {
			g.mu.Lock()
			g.begun[n.name] = true
			g.mu.Unlock()
			if err := durable.Wait(ctx, "first", time.Minute); err != nil {
				return "", err
			}
			return durable.Step(ctx, "inner", func(c context.Context) (string, error) {
				info, _ := durable.StepInfoFrom(c)
				return g.forward(c, n, info.Key, none)
			})
		})
		if n.kind == 'F' {
			f.Undo(undo)
		} else {
			f.Retriable()
		}
	default:
		g.leaf(on, n, body, verify, undo)
	}
}

func (g *grove) leaf(on saga.Scope[int], n *twig, body func(saga.Context, int) (string, error), verify func(saga.Context, int) (saga.Verdict[string], error), undo func(saga.UndoContext, int, saga.Maybe[string]) error) {
	f := (*saga.Forward[int, string])(nil)
	if n.kind == 'A' || n.kind == 'a' {
		f = saga.Await[string](on, n.name, func(c saga.Context, _ int, id string) error {
			_, err := g.forward(c, n, c.Key(), func() error {
				return ignore(g.e.CompleteCallback(context.WithoutCancel(c), id, "v"))
			})
			return err
		}).Timeout(time.Hour)
	} else {
		f = saga.Step(on, n.name, body)
	}
	if n.also {
		f.AtMostOnce()
	}
	if n.look {
		f.Verify(verify)
	}
	switch n.kind {
	case 'U', 'A':
		f.Undo(undo)
	case 'R':
		f.ReadOnly()
	case 'I':
		f.Irreversible("it may stand")
	case 'T', 'a':
		f.Retriable()
	}
}

// sub declares a sub-saga, by itself if it is one behind the pivot.
func (g *grove) sub(on saga.Scope[int], n *twig) {
	b := saga.New[int, string]("inner", "1")
	if kinds := inShort(n.nodes); !strings.ContainsAny(kinds, "UAFVP") && strings.ContainsAny(kinds, "Taf") {
		b.AfterPivot()
	}
	for _, m := range n.nodes {
		g.declare(b, m, false)
	}
	child, err := b.Build(func(saga.Context, int) (string, error) { return "", nil })
	if err != nil {
		panic(fmt.Sprint(inShort(n.nodes), err))
	}
	saga.Sub(on, n.name, child, func(_ saga.Context, in int) (int, error) { return in, nil })
}
