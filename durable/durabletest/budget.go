package durabletest

import (
	"context"
	"fmt"
	"testing"

	"github.com/clewdev/clew/durable"
)

// Budget is the most that an execution may consume; zero fields are not
// limited.
type Budget struct {
	Requests   int64
	WriteUnits int64 // of the table and its indexes together
	ReadUnits  float64
}

// WithinBudget fails the test unless an execution that has ended consumed no
// more than its budget, and prints its bill. It is for stores that bill, which
// of ours is store/dynamo; on another it fails too, because nothing would be
// tested.
//
// What an execution consumes is the same each time, unless requests are
// repeated or deliveries race, so a budget may be exact.
func WithinBudget(tb testing.TB, store durable.Store, id string, b Budget) {
	tb.Helper()
	rec, err := store.Load(context.Background(), id, durable.LoadHead)
	if err != nil {
		tb.Errorf("the bill of %q: %v", id, err)
		return
	}
	u := rec.Usage
	switch {
	case !rec.Status.Ended():
		tb.Errorf("the bill of %q: it is %v, want it to have ended", id, rec.Status)
		return
	case u == (durable.Usage{}):
		tb.Errorf("the bill of %q: this store keeps none: test budgets on store/dynamo", id)
		return
	}
	over := func(what string, got, most float64) {
		if most != 0 && got > most {
			tb.Errorf("%q is over its budget of %g %s: %s", id, most, what, printed(u))
		}
	}
	over("requests", float64(u.Requests), float64(b.Requests))
	over("write units", float64(u.WriteUnits+u.IndexUnits), float64(b.WriteUnits))
	over("read units", u.ReadUnits, b.ReadUnits)
}

func printed(u durable.Usage) string {
	return fmt.Sprintf("%d requests, %d write units (%d of the table, %d of indexes), %g read units, %d bytes written",
		u.Requests, u.WriteUnits+u.IndexUnits, u.WriteUnits, u.IndexUnits, u.ReadUnits, u.Bytes)
}
