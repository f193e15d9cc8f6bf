package participant

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The kinds of effects, in the order of the saga. Their indexes are those of
// tally.kinds.
const (
	authorize = iota
	reserve
	screen
	capture
	ship
	receipt
)

var forwardKinds = [...]string{"authorize", "reserve", "screen", "capture", "ship", "receipt"}

// The classes of orders.
const (
	classCommitted = "committed"
	classUndone    = "undone"
	classParked    = "parked"
)

// orderBook gathers what the books say, by order.
type orderBook struct {
	asked   int
	orders  map[string]*tally
	misuses []misused
}

type misused struct{ order, problem string }

// tally is all about one order.
type tally struct {
	expected                 bool
	kinds                    [len(forwardKinds)]kindTally
	captured                 int64 // what stands
	debits, credits, revenue int64
}

// kindTally is about the effects of one kind of one order.
type kindTally struct {
	keys     []keyTally
	applied  int // ever
	standing int
	excess   int // reversals without an effect to reverse
}

// keyTally is about the effects under one key.
type keyTally struct {
	key               string
	applied, reversed int
	amount            int64
}

func newOrderBook(orders int) *orderBook {
	b := &orderBook{asked: orders, orders: make(map[string]*tally, orders)}
	for n := range orders {
		b.of(OrderID(n + 1)).expected = true
	}
	return b
}

func (b *orderBook) of(order string) *tally {
	t := b.orders[order]
	if t == nil {
		t = &tally{expected: b.asked == 0}
		b.orders[order] = t
	}
	return t
}

// addEffect adds an effect, or a reversal. Rows come in no order.
func (t *tally) addEffect(kind int, e effect) {
	k := &t.kinds[kind]
	i := slices.IndexFunc(k.keys, func(kt keyTally) bool { return kt.key == e.key })
	if i < 0 {
		i = len(k.keys)
		k.keys = append(k.keys, keyTally{key: e.key})
	}
	switch under := &k.keys[i]; e.act {
	case outcomeApplied:
		under.applied++
		under.amount = max(under.amount, e.amount)
	case outcomeReversed:
		under.reversed++
	}
}

// settle sums up what stands, once all is known.
func (t *tally) settle() {
	for i := range t.kinds {
		k := &t.kinds[i]
		for _, under := range k.keys {
			standing := max(0, under.applied-under.reversed)
			k.applied += under.applied
			k.standing += standing
			k.excess += max(0, under.reversed-under.applied)
			if i == capture {
				t.captured += int64(standing) * under.amount
			}
		}
	}
}

func (t *tally) class() string {
	committed, undone := true, true
	for _, k := range t.kinds {
		committed = committed && k.standing == 1 && k.excess == 0
		undone = undone && k.standing == 0 && k.excess == 0
	}
	switch {
	case committed:
		return classCommitted
	case undone:
		return classUndone
	}
	return classParked
}

func (t *tally) duplicates() int {
	n := 0
	for _, k := range t.kinds {
		n += max(0, k.applied-1) + k.excess
	}
	return n
}

func (t *tally) missingUndos() int {
	if t.kinds[capture].standing > 0 {
		return 0
	}
	return t.kinds[authorize].standing + t.kinds[reserve].standing + t.kinds[screen].standing
}

func (t *tally) imbalance() int64 {
	return distance(t.captured, t.revenue) + distance(t.debits, t.credits)
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// report classifies and sums up.
func (b *orderBook) report(r *Report) {
	misuses := make(map[string][]string)
	for _, m := range b.misuses {
		misuses[m.order] = append(misuses[m.order], m.problem)
		if m.order != "" {
			b.of(m.order)
		}
	}
	r.Orders = len(b.orders)
	for _, order := range slices.Sorted(maps.Keys(b.orders)) {
		t := b.orders[order]
		t.settle()
		class := t.class()
		switch class {
		case classCommitted:
			r.Committed++
		case classUndone:
			r.Undone++
		default:
			r.Parked++
		}
		r.DuplicateEffects += t.duplicates()
		r.MissingUndos += t.missingUndos()
		r.LedgerImbalanceCents += t.imbalance()
		if problems := append(t.problems(class), misuses[order]...); len(problems) > 0 {
			r.Details = append(r.Details, Detail{Order: order, Class: class, Problems: problems})
		}
	}
	if problems := misuses[""]; len(problems) > 0 {
		r.Details = append(r.Details, Detail{Order: "(no order)", Problems: problems})
	}
}

// problems says in words what is wrong with an order.
func (t *tally) problems(class string) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if !t.expected {
		add("not an order of this run")
	}
	if class == classParked {
		add("incomplete: %s", t.standing())
	}
	for i, k := range t.kinds {
		if k.applied > 1 {
			add("%s was applied %d times", forwardKinds[i], k.applied)
		}
		if k.excess > 0 {
			add("%s was reversed %d times too often", forwardKinds[i], k.excess)
		}
	}
	if n := t.missingUndos(); n > 0 {
		add("not captured, yet %d holds stand", n)
	}
	if t.captured != t.revenue {
		add("captured %d cents, but revenue is %d", t.captured, t.revenue)
	}
	if t.debits != t.credits {
		add("debits are %d cents, but credits %d", t.debits, t.credits)
	}
	return list
}

// standing names the kinds with standing effects.
func (t *tally) standing() string {
	var names []string
	for i, k := range t.kinds {
		if k.standing > 0 {
			names = append(names, forwardKinds[i])
		}
	}
	if len(names) == 0 {
		return "nothing stands"
	}
	return strings.Join(names, ", ") + " stand"
}
