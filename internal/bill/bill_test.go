package bill_test

import (
	"math"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/bill"
)

func TestCount(t *testing.T) {
	rec := &durable.Record{Journal: []durable.Entry{
		{Kind: durable.EntryStart, Op: 1, First: true, Type: durable.OpStep, Attempt: 1},
		{Kind: durable.EntryFailure, Op: 1, Attempt: 1, Retry: true},
		{Kind: durable.EntryStart, Op: 1, Attempt: 2},
		{Kind: durable.EntryResult, Op: 1, Attempt: 2},
		{Kind: durable.EntryStart, Op: 2, First: true, Type: durable.OpWait},
		{Kind: durable.EntrySuspended},
	}}
	rec.Usage = durable.Usage{Requests: 4, WriteUnits: 6, IndexUnits: 4, ReadUnits: 2, Bytes: 3000}
	one := bill.Of(rec)
	if one.Operations != 4 || one.Moves != 4 {
		t.Errorf("got %d operations and %d transitions, want 4: the execution, two attempts and a wait", one.Operations, one.Moves)
	}
	var two bill.Count
	two.Add(one)
	two.Add(one)
	got := two.At(bill.Listed())
	want := bill.Dollars{Clew: (20*0.625 + 4*0.125) / 1e6, DurableFunctions: 64e-6, StepFunctions: 200e-6}
	for name, pair := range map[string][2]float64{
		"clew": {got.Clew, want.Clew}, "durable functions": {got.DurableFunctions, want.DurableFunctions},
		"step functions": {got.StepFunctions, want.StepFunctions},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-12 {
			t.Errorf("%s: got %g dollars, want %g", name, pair[0], pair[1])
		}
	}
	if two.Executions != 2 || two.Requests != 8 {
		t.Errorf("got %+v, want two executions with 8 requests", two)
	}
}
