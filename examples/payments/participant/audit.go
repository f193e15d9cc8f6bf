package participant

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Report is what the participants' files say about a run.
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
	// trace. It is more than was asked when the files hold another run, or when
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
// the participants' files beside the saga database path. It only reads.
// Participants may be running, but each file is read at a moment of its own, so
// only a report on a quiet world is exact: see Running.Close and WaitIdle.
func Audit(path string, orders int) (Report, error) {
	b := newOrderBook(orders)
	var r Report
	for _, role := range roles {
		if err := b.read(Path(path, role), role, &r); err != nil {
			return Report{}, fmt.Errorf("participant: audit: %w", err)
		}
	}
	b.report(&r)
	return r, nil
}

// read adds what one file says.
func (b *orderBook) read(path string, role Role, r *Report) error {
	conn, err := openForReading(path)
	if err != nil {
		return err
	}
	defer conn.Close()
	// One transaction, so that the tables are seen at the same moment.
	if err := sqlitex.ExecuteTransient(conn, "BEGIN", nil); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := b.readEffects(conn); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if role == Ledger {
		if err := b.readPostings(conn); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := b.readMisuses(conn); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := readCalls(conn, r); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func openForReading(path string) (*sqlite.Conn, error) {
	// SQLite says "unable to open" of a file that is not there.
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	conn.SetBusyTimeout(5 * time.Second)
	return conn, nil
}

func (b *orderBook) readEffects(conn *sqlite.Conn) error {
	const query = `
		SELECT order_id, kind,
			sum(act = 'applied'), sum(act = 'reversed'),
			ifnull(max(CASE WHEN act = 'applied' THEN amount_cents END), 0)
		FROM effects GROUP BY order_id, kind, key ORDER BY order_id`
	return each(conn, query, func(s *sqlite.Stmt) error {
		kind := slices.Index(forwardKinds[:], s.ColumnText(1))
		if kind < 0 {
			return fmt.Errorf("effect of unknown kind %q", s.ColumnText(1))
		}
		b.of(s.ColumnText(0)).addEffect(kind, s.ColumnInt(2), s.ColumnInt(3), s.ColumnInt64(4))
		return nil
	})
}

func (b *orderBook) readPostings(conn *sqlite.Conn) error {
	const query = `
		SELECT order_id, sum(debit_cents), sum(credit_cents),
			sum(CASE WHEN account = 'revenue' THEN credit_cents - debit_cents ELSE 0 END)
		FROM postings GROUP BY order_id`
	return each(conn, query, func(s *sqlite.Stmt) error {
		o := b.of(s.ColumnText(0))
		o.debits, o.credits, o.revenue = s.ColumnInt64(1), s.ColumnInt64(2), s.ColumnInt64(3)
		return nil
	})
}

// readMisuses finds the order of a misused key by the key's first, right use.
func (b *orderBook) readMisuses(conn *sqlite.Conn) error {
	const query = `
		SELECT ifnull(keys.order_id, ''), calls.kind, calls.key
		FROM calls LEFT JOIN keys USING (key) WHERE calls.outcome = 'key_misuse'`
	return each(conn, query, func(s *sqlite.Stmt) error {
		b.misuses = append(b.misuses, misused{s.ColumnText(0),
			fmt.Sprintf("%s misused the key %q", s.ColumnText(1), s.ColumnText(2))})
		return nil
	})
}

// readCalls adds up the log of one participant.
func readCalls(conn *sqlite.Conn, r *Report) error {
	const repeats = `
		SELECT ifnull(sum(n - 1), 0) FROM
			(SELECT count(*) AS n FROM calls WHERE kind NOT LIKE 'verify%' AND kind <> 'check_address' AND key <> '' GROUP BY key)`
	const sums = `
		SELECT ifnull(sum(fault <> ''), 0), ifnull(sum(kind LIKE 'verify%'), 0),
			ifnull(sum(outcome = 'key_misuse'), 0), ifnull(sum(outcome = 'held'), 0) FROM calls`
	err := each(conn, repeats, func(s *sqlite.Stmt) error {
		r.RepeatedCalls += s.ColumnInt(0)
		return nil
	})
	if err != nil {
		return err
	}
	return each(conn, sums, func(s *sqlite.Stmt) error {
		r.Faults += s.ColumnInt(0)
		r.Verified += s.ColumnInt(1)
		r.KeyMisuses += s.ColumnInt(2)
		r.Held += s.ColumnInt(3)
		return nil
	})
}

func each(conn *sqlite.Conn, query string, row func(*sqlite.Stmt) error) error {
	return sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: row})
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
