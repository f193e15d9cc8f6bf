package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/bill"
)

func (t *tool) cost() *cobra.Command {
	var definition string
	var since time.Duration
	prices := bill.Listed()
	cmd := &cobra.Command{
		Use: "cost [ID]", Short: "Tell what an execution has consumed, or all of a definition, in dollars", Args: cobra.MaximumNArgs(1),
		Long: "Tell what an execution has consumed of its store, or all executions of a definition that the store still has,\n" +
			"in dollars for given prices, beside what the same executions would cost on Lambda durable functions (per\n" +
			"operation) and Step Functions Standard (per state transition). Storage, compute and polls are not in it.\n" +
			"The default prices are those of us-east-1, " + bill.PricedOn + ". With --definition every execution is read whole.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && definition == "":
				rec, err := t.store.Load(cmd.Context(), args[0], durable.LoadAll)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				return t.costs(args[0], bill.Of(rec), prices)
			case len(args) == 0 && definition != "":
				sum, err := t.sum(cmd.Context(), definition, since)
				if err != nil {
					return err
				}
				return t.costs(definition, sum, prices)
			}
			return errors.New("cost of what? name an ID, or pass --definition NAME")
		},
	}
	cmd.Flags().StringVar(&definition, "definition", "", "all executions of this definition")
	cmd.Flags().DurationVar(&since, "since", 0, "with --definition: only those created within this time, for example 24h")
	cmd.Flags().Float64Var(&prices.WriteUnits, "write-price", prices.WriteUnits, "dollars per million write units")
	cmd.Flags().Float64Var(&prices.ReadUnits, "read-price", prices.ReadUnits, "dollars per million read units")
	cmd.Flags().Float64Var(&prices.Operations, "operation-price", prices.Operations, "dollars per million operations of Lambda durable functions")
	cmd.Flags().Float64Var(&prices.Moves, "transition-price", prices.Moves, "dollars per million state transitions of Step Functions Standard")
	return cmd
}

// sum counts all executions of a definition.
func (t *tool) sum(ctx context.Context, definition string, since time.Duration) (sum bill.Count, err error) {
	err = t.each(ctx, &durable.ListQuery{Definition: definition, Limit: 500}, func(h *durable.Head) error {
		if since > 0 && time.Since(h.Created) > since {
			return nil
		}
		rec, err := t.store.Load(ctx, h.ID, durable.LoadAll)
		if errors.Is(err, durable.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.ID, err)
		}
		sum.Add(bill.Of(rec))
		return nil
	})
	if err == nil && sum.Executions == 0 {
		err = fmt.Errorf("there is no execution of %q: clew ls shows what there is", definition)
	}
	return sum, err
}

// each calls f with every head that a query finds.
func (t *tool) each(ctx context.Context, q *durable.ListQuery, f func(*durable.Head) error) error {
	for {
		page, err := t.store.List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Heads {
			if err := f(&page.Heads[i]); err != nil {
				return err
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

// costs prints a bill.
func (t *tool) costs(of string, c bill.Count, p bill.Prices) error {
	d := c.At(p)
	if t.json {
		return t.print(struct {
			Of string `json:"of"`
			bill.Count
			Dollars bill.Dollars `json:"dollars"`
		}{of, c, d})
	}
	if c.Usage == (durable.Usage{}) {
		fmt.Fprintln(t.out, "This store keeps no bill: DynamoDB does. The others' columns hold all the same.")
	}
	w := t.table("", "TOTAL", "PER EXECUTION")
	n := float64(c.Executions)
	row := func(name string, total float64) { w.AppendRow([]any{name, short(total), short(total / n)}) }
	w.AppendRow([]any{"executions", c.Executions, ""})
	row("requests", float64(c.Requests))
	row("write units, table", float64(c.WriteUnits))
	row("write units, indexes", float64(c.IndexUnits))
	row("read units", c.ReadUnits)
	row("bytes written", float64(c.Bytes))
	w.AppendSeparator()
	money := func(name string, total float64) {
		w.AppendRow([]any{name, fmt.Sprintf("$%.6f", total), fmt.Sprintf("$%.2f per million", total/n*1e6)})
	}
	money("clew", d.Clew)
	money(fmt.Sprintf("Lambda durable functions, %d operations", c.Operations), d.DurableFunctions)
	money(fmt.Sprintf("Step Functions Standard, about %d transitions", c.Moves), d.StepFunctions)
	w.Render()
	return nil
}

func short(v float64) string { return fmt.Sprintf("%.6g", v) }
