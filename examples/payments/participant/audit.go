package participant

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Report is what the participants' books say about a run.
//
// An effect stands when it was applied and not reversed. Every order belongs to
// one of three classes:
//
//   - committed: exactly one authorization, reservation, screening, capture,
//     shipment and receipt stand. The first three count as well: a voided authorization under
//     a capture means that a saga went past its pivot and unwound.
//   - undone: nothing stands and nothing was reversed more often than applied.
//     An order that was refused, or never began, is undone.
//   - parked: neither. Something stands, and the order is not complete. With a
//     right engine these are the sagas that wait for an operator, and only
//     those; whoever has the saga store should compare.
//
// The classes add up to Orders. The counts are over all orders, whatever their
// class; a right engine leaves DuplicateEffects at zero always, and the others
// of the second group at zero unless a saga is parked.
type Report struct {
	// Orders counts those the audit was asked about and any others that left a
	// trace. It is more than was asked when the books hold another run, or when
	// an order ID was mangled on its way, which must not pass for an order that
	// never began.
	Orders    int `json:"orders"`
	Committed int `json:"committed"`
	Undone    int `json:"undone"`
	Parked    int `json:"parked"`

	// DuplicateEffects counts effects beyond the first of an order and kind,
	// reversed or not, and reversals of an effect beyond the first. Reversals
	// are counted by effect and not by order, because undoing a duplicate is
	// right.
	DuplicateEffects int `json:"duplicate_effects"`
	// MissingUndos counts standing authorizations, reservations and screenings
	// of orders without a standing capture: those orders go no further, yet hold
	// a customer's money, or stock, or a slot. (With a capture, an order is past its pivot
	// and keeps them.)
	MissingUndos int `json:"missing_undos"`
	// RepeatedCalls counts forward and undo calls beyond the first with their
	// key, including those turned away. It is no fault: it is to be compared
	// with Faults and with the crashes of the run, which explain repeats.
	// Verifications and address checks repeat no effect and are left out.
	RepeatedCalls int `json:"repeated_calls"`
	// LedgerImbalanceCents is the difference between what stands captured and
	// what the ledger has as revenue, plus the difference between its debits
	// and credits; both summed by order, so that an excess on one order does
	// not hide a lack on another.
	LedgerImbalanceCents int64 `json:"ledger_imbalance_cents"`

	// For people, who get more than the sums.
	Details    []Detail `json:"-"`
	Faults     int      `json:"-"` // calls that met an injected fault
	Verified   int      `json:"-"` // verifications
	KeyMisuses int      `json:"-"` // calls that used a key for something else
	Held       int      `json:"-"` // delayed calls not done; the audit came too early, or their holder was killed
}

// Detail says what is wrong with one order.
type Detail struct {
	Order    string
	Class    string // committed, undone or parked
	Problems []string
}

// OrderID is the ID of the n-th order of a run, counting from 1.
func OrderID(n int) string { return fmt.Sprintf("order-%06d", n) }

// Audit reports on the orders OrderID(1) to OrderID(orders), from nothing but
// the participants' books; with orders 0, on every order that had an effect. It
// only reads. Participants may be working, but books are not read at one moment
// (Files: each file is), so only a report on a quiet world is exact: see
// Running.Close and WaitIdle. The error says which books could not be read.
func Audit(ctx context.Context, books Books, orders int) (Report, error) {
	a := &auditor{book: newOrderBook(orders), seen: make(map[roleKey]bool)}
	err := books.read(ctx, a)
	if err == nil {
		err = a.findMisused(ctx, books)
	}
	if err != nil {
		return Report{}, fmt.Errorf("participant: audit: %w", err)
	}
	a.book.report(&a.report)
	return a.report, nil
}

// roleKey is a key: two participants may know the same one.
type roleKey struct {
	role Role
	key  string
}

// auditor adds up the rows of books.
type auditor struct {
	book    *orderBook
	report  Report
	seen    map[roleKey]bool // keys of forward and undo calls
	misused []misusedKey
}

type misusedKey struct {
	roleKey
	kind string // of the call that misused it
}

func (a *auditor) effect(_ Role, e effect) error {
	kind := slices.Index(forwardKinds[:], e.kind)
	if kind < 0 {
		return fmt.Errorf("effect of unknown kind %q", e.kind)
	}
	a.book.of(e.order).addEffect(kind, e)
	return nil
}

func (a *auditor) posting(p posting) {
	o := a.book.of(p.order)
	o.debits += p.debit
	o.credits += p.credit
	if p.account == accountRevenue {
		o.revenue += p.credit - p.debit
	}
}

func (a *auditor) call(role Role, c callRow) {
	act := services[c.kind].act // of unknown kinds: forward
	r := &a.report
	if key := (roleKey{role, c.key}); act != verify && act != look && c.key != "" {
		if a.seen[key] {
			r.RepeatedCalls++
		}
		a.seen[key] = true
	}
	if c.fault != "" {
		r.Faults++
	}
	if act == verify {
		r.Verified++
	}
	switch c.outcome {
	case outcomeHeld:
		r.Held++
	case outcomeKeyMisuse:
		r.KeyMisuses++
		a.misused = append(a.misused, misusedKey{roleKey{role, c.key}, c.kind})
	}
}

// findMisused finds the order of a misused key by the key's first, right use.
func (a *auditor) findMisused(ctx context.Context, books Books) error {
	for _, m := range a.misused {
		order, err := books.orderOf(ctx, m.role, m.key)
		if err != nil {
			return err
		}
		a.book.misuses = append(a.book.misuses, misused{order, fmt.Sprintf("%s misused the key %q", m.kind, m.key)})
	}
	return nil
}

// String is the report as lines of text, without the details.
func (r Report) String() string {
	var b strings.Builder
	line := func(name string, value int64) { fmt.Fprintf(&b, "%-24s %d\n", name, value) }
	line("orders", int64(r.Orders))
	line("committed", int64(r.Committed))
	line("undone", int64(r.Undone))
	line("parked", int64(r.Parked))
	line("duplicate effects", int64(r.DuplicateEffects))
	line("missing undos", int64(r.MissingUndos))
	line("repeated calls", int64(r.RepeatedCalls))
	line("injected faults", int64(r.Faults))
	line("ledger imbalance, cents", r.LedgerImbalanceCents)
	return b.String()
}
