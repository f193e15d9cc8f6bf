package participant

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"
)

// craft writes effects as no right participant and saga would.
type craft struct {
	t     *testing.T
	path  string
	books map[Role]*book
}

func newCraft(t *testing.T) *craft {
	c := &craft{t: t, path: tempPath(t), books: map[Role]*book{}}
	for _, role := range roles {
		b, err := openBook(Path(c.path, role), role, faults{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.conn.Close() })
		c.books[role] = b
	}
	return c
}

// add appends effects of an order, each such as "capture", "-capture" for its
// reversal, or "capture#2" under another key.
func (c *craft) add(order string, effects ...string) {
	c.t.Helper()
	for _, name := range effects {
		name, reversed := strings.CutPrefix(name, "-")
		kind, _, _ := strings.Cut(name, "#")
		e := effect{order: order, kind: kind, act: outcomeApplied, key: order + name, amount: 100}
		if reversed {
			e.act = outcomeReversed
		}
		b := c.books[services[kind].role]
		wantNil(c.t, b.appendEffect(e))
		if kind == "receipt" {
			wantNil(c.t, b.post(name, &request{Order: order, AmountCents: e.amount}))
		}
	}
}

func (c *craft) exec(role Role, query string) {
	c.t.Helper()
	wantNil(c.t, sqlitex.ExecuteTransient(c.books[role].conn, query, nil))
}

var wholeOrder = []string{"authorize", "reserve", "screen", "capture", "ship", "receipt"}

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
			c := newCraft(t)
			c.add(OrderID(1), test.effects...)
			c.add(OrderID(2), wholeOrder...)
			want := test.want
			want.Orders, want.Committed = 2, want.Committed+1
			checkAudit(t, c.path, 2, want, test.problem)
		})
	}
}

// checkAudit compares the report; problem is in the first detail, or empty when
// there must be none.
func checkAudit(t *testing.T, path string, orders int, want Report, problem string) {
	t.Helper()
	got, err := Audit(path, orders)
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
	c := newCraft(t)
	c.add(OrderID(1), "authorize", "reserve", "screen", "capture", "ship")
	c.add(OrderID(2), wholeOrder...)
	c.add(OrderID(2), "-capture")
	// Together the two balance, each alone does not.
	checkAudit(t, c.path, 2, Report{Orders: 2, Parked: 2, MissingUndos: 3, LedgerImbalanceCents: 200},
		"captured 100 cents, but revenue is 0")

	c = newCraft(t)
	c.add(OrderID(1), wholeOrder...)
	c.exec(Ledger, `UPDATE postings SET debit_cents = 93 WHERE account = 'cash'`)
	checkAudit(t, c.path, 1, Report{Orders: 1, Committed: 1, LedgerImbalanceCents: 7},
		"debits are 93 cents, but credits 100")

	c = newCraft(t)
	c.add(OrderID(1), wholeOrder...)
	c.exec(Ledger, `UPDATE postings SET account = 'cash'`) // credited to the wrong account
	checkAudit(t, c.path, 1, Report{Orders: 1, Committed: 1, LedgerImbalanceCents: 100},
		"captured 100 cents, but revenue is 0")
}

func TestAuditOfStrangers(t *testing.T) {
	c := newCraft(t)
	c.add("order-1", "authorize") // mangled
	checkAudit(t, c.path, 1, Report{Orders: 2, Undone: 1, Parked: 1, MissingUndos: 1},
		"not an order of this run")
}

func TestAuditOfCalls(t *testing.T) {
	c := newCraft(t)
	log := func(role Role, key string, n int64, kind, outcome, fault string) {
		wantNil(t, c.books[role].logCall(&call{key: key, n: n, kind: kind, fault: fault}, answer{outcome: outcome}))
	}
	wantNil(t, c.books[Gateway].insertKey(keyRow{key: "a", kind: "authorize", order: OrderID(1)}))
	log(Gateway, "a", 1, "authorize", outcomeNone, unavailable)
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
	checkAudit(t, c.path, 1, Report{Orders: 1, Undone: 1, RepeatedCalls: 3, Faults: 3, Verified: 2, KeyMisuses: 1, Held: 1},
		`authorize misused the key "a"`)
}

func TestAuditWithoutFiles(t *testing.T) {
	_, err := Audit(tempPath(t), 1)
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
