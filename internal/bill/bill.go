// Package bill turns what executions consumed into money, beside what the same
// executions would cost as managed workflows.
package bill

import "github.com/clewdev/clew/durable"

// Prices are in dollars per million.
type Prices struct {
	WriteUnits float64 // DynamoDB on demand, tables and indexes alike
	ReadUnits  float64
	Operations float64 // AWS Lambda durable functions
	Moves      float64 // state transitions of Step Functions Standard
}

// Listed are the prices in us-east-1 as of PricedOn, without free tiers,
// storage and compute.
func Listed() Prices {
	return Prices{WriteUnits: 0.625, ReadUnits: 0.125, Operations: 8, Moves: 25}
}

// PricedOn is when the listed prices held.
const PricedOn = "2026-11"

// Count is what executions consumed, and what others would have counted.
type Count struct {
	Executions int64 `json:"executions"`
	durable.Usage
	// Operations is how Lambda durable functions meter: the execution, and
	// each attempt of a step, each wait, callback and child context.
	Operations int64 `json:"operations"`
	// Moves is about how Step Functions Standard meters: the start, and each
	// state entered, retries included.
	Moves int64 `json:"transitions"`
}

// Of counts one execution, whole.
func Of(rec *durable.Record) Count {
	c := Count{Executions: 1, Usage: rec.Usage, Operations: 1, Moves: 1}
	for i := range rec.Journal {
		// An attempt that was lost is started again under its number, and
		// there too it would be metered again.
		if e := &rec.Journal[i]; e.Kind == durable.EntryStart && e.Op != 0 {
			c.Operations++
			c.Moves++
		}
	}
	return c
}

// Add adds what another count has.
func (c *Count) Add(d Count) {
	c.Executions += d.Executions
	c.Usage.Add(d.Usage)
	c.Operations += d.Operations
	c.Moves += d.Moves
}

// Dollars is a count in money.
type Dollars struct {
	Clew             float64 `json:"clew"`
	DurableFunctions float64 `json:"lambda_durable_functions"`
	StepFunctions    float64 `json:"step_functions_standard"`
}

// At is the count at these prices.
func (c *Count) At(p Prices) Dollars {
	const million = 1e6
	return Dollars{
		Clew:             (float64(c.WriteUnits+c.IndexUnits)*p.WriteUnits + c.ReadUnits*p.ReadUnits) / million,
		DurableFunctions: float64(c.Operations) * p.Operations / million,
		StepFunctions:    float64(c.Moves) * p.Moves / million,
	}
}
