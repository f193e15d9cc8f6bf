package participant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// craft writes rows as no right participant and saga would.
type craft struct {
	t     *testing.T
	books Books
	// write runs a transaction on the books of a participant.
	write func(role Role, rows func(book) error) error
	calls int
}

// crafts makes one for each kind of books.
var crafts = []struct {
	name string
	open func(*testing.T) *craft
}{{"files", craftFiles}, {"table", craftTable}}

func craftFiles(t *testing.T) *craft {
	path := tempPath(t)
	books := map[Role]*sqliteBook{}
	for _, role := range roles {
		b, err := openBook(Path(path, role))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.conn.Close() })
		books[role] = b
	}
	return &craft{t: t, books: Files(path), write: func(role Role, rows func(book) error) error { return rows(books[role]) }}
}

func craftTable(t *testing.T) *craft {
	client, name := newTable(t)
	on := &table{client: client, name: name}
	return &craft{t: t, books: on, write: func(role Role, rows func(book) error) error {
		b := newTableBook(t.Context(), on, role)
		return errors.Join(rows(b), b.commit())
	}}
}

// add appends effects of an order, each such as "capture", "-capture" for its
// reversal, or "capture#2" under another key. Each is what one call claims.
func (c *craft) add(order string, effects ...string) {
	c.t.Helper()
	for _, name := range effects {
		name, reversed := strings.CutPrefix(name, "-")
		kind, _, _ := strings.Cut(name, "#")
		e := effect{order: order, kind: kind, act: outcomeApplied, key: order + name, amount: 100}
		if reversed {
			e.act = outcomeReversed
		}
		c.row(services[kind].role, kind, func(b book) error {
			if kind == "receipt" {
				return errors.Join(b.appendEffect(e), postSale(b, name, order, e.amount))
			}
			return b.appendEffect(e)
		})
	}
}

// row writes rows in a call of their own.
func (c *craft) row(role Role, kind string, rows func(book) error) {
	c.t.Helper()
	c.calls++
	made := &call{key: fmt.Sprint("crafted-", c.calls), kind: kind, n: 1}
	wantNil(c.t, c.write(role, func(b book) error { return errors.Join(rows(b), b.logCall(made, answer{outcome: outcomeApplied})) }))
}

func (c *craft) post(p posting) {
	c.t.Helper()
	c.row(Ledger, "receipt", func(b book) error { return b.appendPosting(p) })
}

var wholeOrder = []string{"authorize", "reserve", "screen", "capture", "ship", "receipt"}

// onBothCrafts runs a test on both kinds of books.
func onBothCrafts(t *testing.T, test func(*testing.T, func() *craft)) {
	for _, kind := range crafts {
		t.Run(kind.name, func(t *testing.T) { test(t, func() *craft { return kind.open(t) }) })
	}
}

// Each case has one order, and a second one that is in order.
func TestAuditFinds(t *testing.T) {
	without := func(missing ...string) []string {
		return slices.DeleteFunc(slices.Clone(wholeOrder), func(s string) bool { return slices.Contains(missing, s) })
	}
	with := func(more ...string) []string { return append(slices.Clone(wholeOrder), more...) }
	committed := func(r Report) Report { r.Committed++; return r }
	undone := func(r Report) Report { r.Undone++; return r }
	parked := func(r Report) Report { r.Parked++; return r }
	for _, test := range []struct {
		name    string
		effects []string
		want    Report // of the first order
		problem string
	}{
		{"nothing", nil, undone(Report{}), ""},
		{"whole", wholeOrder, committed(Report{}), ""},
		{"unwound", []string{"authorize", "reserve", "screen", "-screen", "-reserve", "-authorize"}, undone(Report{}), ""},
		{"captured twice", with("capture#2"), parked(Report{DuplicateEffects: 1, LedgerImbalanceCents: 100}), "capture was applied 2 times"},
		{"shipped twice", with("ship#2"), parked(Report{DuplicateEffects: 1}), "ship was applied 2 times"},
		{"authorized thrice, mended", with("authorize#2", "-authorize", "authorize#3", "-authorize#2"),
			committed(Report{DuplicateEffects: 2}), "authorize was applied 3 times"},
		{"same key twice", with("reserve"), parked(Report{DuplicateEffects: 1}), "reserve was applied 2 times"},
		{"undone twice", []string{"authorize", "-authorize", "-authorize"}, parked(Report{DuplicateEffects: 1}), "authorize was reversed 1 times too often"},
		{"undone the wrong one", []string{"reserve", "-reserve#2"},
			parked(Report{DuplicateEffects: 1, MissingUndos: 1}), "reserve was reversed 1 times too often"},
		{"authorize left", []string{"authorize", "reserve", "-reserve"}, parked(Report{MissingUndos: 1}), "incomplete: authorize stand"},
		{"both left", []string{"authorize", "reserve"}, parked(Report{MissingUndos: 2}), "not captured, yet 2 holds stand"},
		{"screening left", []string{"screen"}, parked(Report{MissingUndos: 1}), "incomplete: screen stand"},
		{"never screened", without("screen"), parked(Report{}), "incomplete: authorize, reserve, capture, ship, receipt stand"},
		{"shipped unpaid", without("capture", "receipt"), parked(Report{MissingUndos: 3}), "incomplete: authorize, reserve, screen, ship stand"},
		{"stuck after pivot", without("ship", "receipt"), parked(Report{LedgerImbalanceCents: 100}), "captured 100 cents, but revenue is 0"},
		{"receipt missing", without("receipt"), parked(Report{LedgerImbalanceCents: 100}), "captured 100 cents, but revenue is 0"},
		{"receipt for nothing", []string{"receipt"}, parked(Report{LedgerImbalanceCents: 100}), "captured 0 cents, but revenue is 100"},
		{"unwound past the pivot", with("-authorize"), parked(Report{}), "incomplete: reserve, screen, capture, ship, receipt stand"},
		{"reversal alone", []string{"-ship"}, parked(Report{DuplicateEffects: 1}), "incomplete: nothing stands"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBothCrafts(t, func(t *testing.T, newCraft func() *craft) {
				c := newCraft()
				c.add(OrderID(1), test.effects...)
				c.add(OrderID(2), wholeOrder...)
				want := test.want
				want.Orders, want.Committed = 2, want.Committed+1
				checkAudit(t, c.books, 2, want, test.problem)
			})
		})
	}
}

// checkAudit compares the report; problem is in the first detail, or empty when
// there must be none.
func checkAudit(t *testing.T, books Books, orders int, want Report, problem string) {
	t.Helper()
	got, err := Audit(t.Context(), books, orders)
	wantNil(t, err)
	details := got.Details
	got.Details = nil
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("got\n%#v, want\n%#v", got, want)
	}
	if problem == "" && len(details) > 0 || problem != "" && (len(details) == 0 || !slices.Contains(details[0].Problems, problem)) {
		t.Errorf("got details %q, want %q", details, problem)
	}
}

func TestAuditOfMoney(t *testing.T) {
	onBothCrafts(t, func(t *testing.T, newCraft func() *craft) {
		c := newCraft()
		c.add(OrderID(1), "authorize", "reserve", "screen", "capture", "ship")
		c.add(OrderID(2), wholeOrder...)
		c.add(OrderID(2), "-capture")
		// Together the two balance, each alone does not.
		checkAudit(t, c.books, 2, Report{Orders: 2, Parked: 2, MissingUndos: 3, LedgerImbalanceCents: 200},
			"captured 100 cents, but revenue is 0")

		c = newCraft()
		c.add(OrderID(1), wholeOrder...)
		c.post(posting{order: OrderID(1), account: accountCash, credit: 7})
		checkAudit(t, c.books, 1, Report{Orders: 1, Committed: 1, LedgerImbalanceCents: 7},
			"debits are 100 cents, but credits 107")

		c = newCraft()
		c.add(OrderID(1), wholeOrder...)
		c.post(posting{order: OrderID(1), account: accountRevenue, debit: 100}) // it was the wrong account
		c.post(posting{order: OrderID(1), account: accountCash, credit: 100})
		checkAudit(t, c.books, 1, Report{Orders: 1, Committed: 1, LedgerImbalanceCents: 100},
			"captured 100 cents, but revenue is 0")
	})
}

func TestAuditOfStrangers(t *testing.T) {
	onBothCrafts(t, func(t *testing.T, newCraft func() *craft) {
		c := newCraft()
		c.add("order-1", "authorize") // mangled
		checkAudit(t, c.books, 1, Report{Orders: 2, Undone: 1, Parked: 1, MissingUndos: 1},
			"not an order of this run")
		// Who asks about all orders knows no strangers.
		checkAudit(t, c.books, 0, Report{Orders: 1, Parked: 1, MissingUndos: 1}, "incomplete: authorize stand")
	})
	c := craftFiles(t)
	c.add("order-1", wholeOrder...)
	checkAudit(t, c.books, 0, Report{Orders: 1, Committed: 1}, "")
}

func TestAuditOfCalls(t *testing.T) {
	onBothCrafts(t, func(t *testing.T, newCraft func() *craft) {
		c := newCraft()
		log := func(role Role, key string, n int64, kind, outcome, fault string) {
			t.Helper()
			wantNil(t, c.write(role, func(b book) error {
				return b.logCall(&call{key: key, n: n, kind: kind, fault: fault}, answer{outcome: outcome})
			}))
		}
		wantNil(t, c.write(Gateway, func(b book) error {
			return errors.Join(b.insertKey(keyRow{key: "a", kind: "authorize", order: OrderID(1), state: stateApplied}),
				b.logCall(&call{key: "a", n: 1, kind: "authorize", fault: unavailable}, answer{outcome: outcomeNone}))
		}))
		log(Gateway, "a", 2, "authorize", outcomeRefused, "")
		log(Gateway, "a", 3, "authorize", outcomeKeyMisuse, "")
		log(Gateway, "v", 1, "void", outcomeNothing, lostReply)
		log(Gateway, "v", 2, "void", outcomeRepeated, "")
		log(Gateway, "c", 1, "capture", outcomeHeld, delayed)
		log(Gateway, "c", 2, "verify_capture", outcomeNoEffect, "")
		log(Gateway, "c", 3, "verify_capture", outcomeNoEffect, "")
		log(Warehouse, "a", 1, "reserve", outcomeRefused, "") // another participant, another key
		log(Warehouse, "", 1, "reserve", outcomeMalformed, "")
		log(Warehouse, "", 2, "reserve", outcomeMalformed, "")
		log(Screening, "q", 1, "check_address", outcomeLooked, "") // asked twice, which repeats no effect
		log(Screening, "q", 2, "check_address", outcomeLooked, "")
		checkAudit(t, c.books, 1, Report{Orders: 1, Undone: 1, RepeatedCalls: 3, Faults: 3, Verified: 2, KeyMisuses: 1, Held: 1},
			`authorize misused the key "a"`)
	})
}

func TestAuditWithoutFiles(t *testing.T) {
	_, err := Audit(t.Context(), Files(tempPath(t)), 1)
	if err == nil || !strings.Contains(err.Error(), "payments.gateway.db") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// The names in the report's JSON are what scripts read.
func TestReportJSON(t *testing.T) {
	got, err := json.Marshal(Report{1, 2, 3, 4, 5, 6, 7, 8, []Detail{{}}, 9, 9, 9, 9})
	wantNil(t, err)
	const want = `{"orders":1,"committed":2,"undone":3,"parked":4,"duplicate_effects":5,` +
		`"missing_undos":6,"repeated_calls":7,"ledger_imbalance_cents":8}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
