package participant

import "time"

// States of a key.
const (
	stateApplied   = "applied"   // a forward effect stands
	stateReversed  = "reversed"  // it stood, and was undone
	stateRefused   = "refused"   // a forward had a business refusal
	stateTombstone = "tombstone" // the forward never came and may not come now
	stateUndone    = "undone"    // the key of an undo, which is done
)

// Accounts of the ledger.
const (
	accountCash    = "cash"
	accountRevenue = "revenue"
)

// book is one transaction on what a participant keeps: what was read in it is
// still so when it commits, and what was written in it stays as a whole or not
// at all. An error of any method means that it must not commit.
type book interface {
	// nextCall numbers the calls with a key, the first one 1.
	nextCall(key string) (int64, error)
	// lookup returns nil when the key is unknown.
	lookup(key string) (*keyRow, error)
	// insertKey writes down a key that lookup did not know.
	insertKey(keyRow) error
	// markReversed changes the state of a key that lookup found applied.
	markReversed(key string) error
	appendEffect(effect) error
	appendPosting(posting) error
	// logCall writes down a call that nextCall numbered, relogCall what became
	// of one that was held.
	logCall(*call, answer) error
	relogCall(*call, answer) error
}

// keyRow is what is known about a key.
type keyRow struct {
	key, kind, order, input, state string
	status                         int
	body                           []byte
}

// effect is a row of the append-only evidence: an effect, or its reversal.
type effect struct {
	at        time.Time
	order     string
	kind, key string // of the forward call
	act       string // applied or reversed
	id        string
	amount    int64
}

// posting is one side of an entry in the ledger.
type posting struct {
	entry, order, account string
	debit, credit         int64 // cents
}

// callRow is a line of the log of calls.
type callRow struct {
	key     string
	n       int64 // 1 for the first call with the key
	kind    string
	attempt int
	at, due time.Time // due: when a delayed call is to be done
	outcome string
	fault   string
}

// rowOf is the line in the log for a call and what became of it.
func rowOf(c *call, a answer) callRow {
	return callRow{key: c.key, n: c.n, kind: c.kind, attempt: c.attempt, at: c.at, due: c.at.Add(a.hold),
		outcome: a.outcome, fault: c.fault}
}
