package saga_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/saga"
)

// The kinds of the steps of enumerated sagas, one letter each.
const (
	kindUndoable     = 'U'
	kindReadOnly     = 'R'
	kindIrreversible = 'I'
	kindVerified     = 'V' // a pivot with a Verify
	kindParking      = 'P' // a pivot that parks in doubt
	kindRetriable    = 'T'
)

// span is a run of neighbouring steps, hi excluded; one without steps is none.
type span struct{ lo, hi int }

func (s span) empty() bool       { return s.lo >= s.hi }
func (s span) has(o span) bool   { return s.lo <= o.lo && o.hi <= s.hi }
func (s span) apart(o span) bool { return s.hi <= o.lo || o.hi <= s.lo }

// shape is a saga to enumerate: the kinds of its steps in order, at most one
// group of neighbours, whose members are of one or more steps, and at most one
// sub-saga. Either may stand in the other.
type shape struct {
	kinds string
	group span
	ends  []int // of the members
	sub   span
}

// pivot is the index of the pivot, or the number of steps.
func (s *shape) pivot() int {
	if i := strings.IndexAny(s.kinds, "VP"); i >= 0 {
		return i
	}
	return len(s.kinds)
}

// sound tells whether Build accepts the shape.
func (s *shape) sound() bool {
	p := s.pivot()
	inGroup := p < len(s.kinds) && s.group.has(span{p, p + 1})
	after := s.kinds[min(p+1, len(s.kinds)):]
	return !inGroup && !strings.ContainsAny(after, "UVP") && !strings.Contains(s.kinds[:p], "T")
}

// tail is the number of steps that come after step i is over, and the group it
// is in.
func (s *shape) tail(i int) int {
	if s.inGroup(i) {
		i = s.group.hi - 1
	}
	return len(s.kinds) - 1 - i
}

// siblings tells whether two steps may run beside each other.
func (s *shape) siblings(i, j int) bool {
	if !s.inGroup(i) || !s.inGroup(j) {
		return false
	}
	member := func(i int) (m int) {
		for s.ends[m] <= i {
			m++
		}
		return m
	}
	return member(i) != member(j)
}

// String is the saga in short: U [R|(UI)] V T, the group in brackets and the
// sub-saga in parentheses.
func (s *shape) String() string {
	var b strings.Builder
	for i, k := range s.kinds {
		opens := ""
		if !s.sub.empty() && s.sub.lo == i {
			opens = "("
		}
		if !s.group.empty() && s.group.lo == i {
			if s.sub.has(s.group) {
				opens += "["
			} else {
				opens = "[" + opens
			}
		}
		b.WriteString(opens + string(k))
		closes := ""
		if !s.sub.empty() && s.sub.hi == i+1 {
			closes = ")"
		}
		for _, end := range s.ends {
			switch {
			case end != i+1:
			case end < s.group.hi:
				closes += "|"
			case s.sub.has(s.group):
				closes = "]" + closes
			default:
				closes += "]"
			}
		}
		b.WriteString(closes)
	}
	return b.String()
}

// kindsOf lists every sequence of n kinds that letters give.
func kindsOf(n int, letters string) []string {
	all := []string{""}
	for range n {
		var next []string
		for _, s := range all {
			for _, l := range letters {
				next = append(next, s+string(l))
			}
		}
		all = next
	}
	return all
}

// spansOf lists none and every span of at least least steps below n.
func spansOf(n, least int) []span {
	all := []span{{}}
	for lo := range n {
		for hi := lo + least; hi <= n; hi++ {
			all = append(all, span{lo, hi})
		}
	}
	return all
}

// layoutsOf lists every way in which n steps can have a group and a sub-saga.
func layoutsOf(n int) (all []shape) {
	for _, group := range spansOf(n, 2) {
		cuts := 1 // every way to divide the group into two members or more
		if !group.empty() {
			cuts = 1 << (group.hi - group.lo - 1)
		}
		for cut := min(cuts-1, 1); cut < cuts; cut++ {
			s := shape{group: group}
			for i := group.lo; i < group.hi-1; i++ {
				if cut&(1<<(i-group.lo)) != 0 {
					s.ends = append(s.ends, i+1)
				}
			}
			if !group.empty() {
				s.ends = append(s.ends, group.hi)
			}
			for _, sub := range spansOf(n, 1) {
				if s.sub = sub; s.nests() {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// nests tells whether the sub-saga stands around the group, beside it, or within
// a member.
func (s *shape) nests() bool {
	if s.sub.empty() || s.group.empty() || s.sub.apart(s.group) || s.sub.has(s.group) {
		return true
	}
	lo := s.group.lo
	for _, hi := range s.ends {
		if (span{lo, hi}).has(s.sub) {
			return true
		}
		lo = hi
	}
	return false
}

// shapesOf lists every sound shape of n steps.
func shapesOf(n int) (all []*shape) {
	kinds := kindsOf(n, "URIVPT")
	for _, layout := range layoutsOf(n) {
		for _, k := range kinds {
			s := layout
			if s.kinds = k; s.sound() {
				all = append(all, &s)
			}
		}
	}
	return all
}

// longest keeps the engine's own clocks out of the enumeration.
const (
	shapeTimeout   = 24 * time.Hour
	attemptTimeout = 1000 * time.Hour
)

// declaring makes a saga of a shape. Its input is the number of a trial.
type declaring struct {
	*shape
	worlds func(n int) *world
	err    error // of the sub-saga
}

// build makes the saga, whose bodies act on the world of the trial.
func (s *shape) build(worlds func(n int) *world) (*saga.Saga[int, string], error) {
	d := &declaring{shape: s, worlds: worlds}
	b := saga.New[int, string]("shape", "1").Timeout(shapeTimeout)
	d.sequence(b, span{0, len(s.kinds)}, false, false)
	sg, err := b.Build(func(saga.Context, int) (string, error) { return "done", nil })
	return sg, errors.Join(err, d.err)
}

// sequence declares the steps of a span on a scope.
func (d *declaring) sequence(on saga.Scope[int], in span, inGroup, inSub bool) {
	for i := in.lo; i < in.hi; {
		group := !inGroup && !d.group.empty() && d.group.lo == i
		sub := !inSub && !d.sub.empty() && d.sub.lo == i && !(group && !d.sub.has(d.group))
		switch {
		case sub:
			d.subSaga(on, inGroup)
			i = d.sub.hi
		case group:
			d.members(on, inSub)
			i = d.group.hi
		default:
			d.leaf(on, i)
			i++
		}
	}
}

func (d *declaring) subSaga(on saga.Scope[int], inGroup bool) {
	b := saga.New[int, string]("inner", "1")
	if d.behind(d.sub.lo) {
		b.AfterPivot()
	}
	d.sequence(b, d.sub, inGroup, true)
	child, err := b.Build(func(saga.Context, int) (string, error) { return "inner", nil })
	if err != nil {
		d.err = err
		return
	}
	saga.Sub(on, "sub", child, func(_ saga.Context, n int) (int, error) { return n, nil })
}

func (d *declaring) members(on saga.Scope[int], inSub bool) {
	g := saga.Parallel(on, "g")
	lo := d.group.lo
	for _, hi := range d.ends {
		member := span{lo, hi}
		if hi-lo == 1 || member == d.sub && !inSub {
			d.sequence(g, member, true, inSub)
		} else {
			d.sequence(g.Branch(fmt.Sprintf("b%d", lo)), member, true, inSub)
		}
		lo = hi
	}
}

// leaf declares one step.
func (d *declaring) leaf(on saga.Scope[int], i int) {
	name := fmt.Sprintf("s%d", i)
	body := func(c saga.Context, n int) (string, error) { return d.worlds(n).forward(c, i) }
	switch d.kinds[i] {
	case kindVerified:
		saga.Pivot(on, name, body).Timeout(attemptTimeout).Verify(func(c saga.Context, n int) (saga.Verdict[string], error) {
			return d.worlds(n).verify(i)
		})
		return
	case kindParking:
		saga.Pivot(on, name, body).Timeout(attemptTimeout).ParkInDoubt()
		return
	}
	f := saga.Step(on, name, body).Timeout(attemptTimeout)
	switch d.kinds[i] {
	case kindReadOnly:
		f.ReadOnly()
	case kindIrreversible:
		f.Irreversible("it may stand")
	case kindRetriable:
		f.Retriable()
	case kindUndoable:
		f.Undo(func(c saga.UndoContext, n int, m saga.Maybe[string]) error { return d.worlds(n).undo(c, i, m) })
	}
}

// TestBuildAcceptsTheSoundShapes and no others, of up to three steps.
func TestBuildAcceptsTheSoundShapes(t *testing.T) {
	accepted := 0
	for n := 1; n <= 3; n++ {
		for _, layout := range layoutsOf(n) {
			for _, kinds := range kindsOf(n, "URIVPT") {
				s := layout
				s.kinds = kinds
				_, err := s.build(nil)
				if (err == nil) != s.sound() {
					t.Errorf("%v: got %v, want it accepted: %v", &s, err, s.sound())
				}
				if err == nil {
					accepted++
				}
			}
		}
	}
	t.Logf("%d shapes of up to 3 steps are accepted", accepted)
}
