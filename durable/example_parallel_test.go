package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
)

func ExampleParallel() {
	check := func(ctx *durable.Context, what string, ok bool) (string, error) {
		return durable.Step(ctx, "ask", func(context.Context) (string, error) {
			if !ok {
				return "", durable.Permanent(errors.New("no " + what))
			}
			return what, nil
		})
	}
	accept := durable.Define("accept", "1", func(ctx *durable.Context, order string) (string, error) {
		checks, err := durable.Parallel(ctx, "checks", []durable.Branch[string]{
			{Name: "stock", Run: func(ctx *durable.Context) (string, error) { return check(ctx, "stock", true) }},
			{Name: "credit", Run: func(ctx *durable.Context) (string, error) { return check(ctx, "credit", false) }},
			{Name: "address", Run: func(ctx *durable.Context) (string, error) { return check(ctx, "address", true) }},
		})
		if err != nil {
			return "", err
		}
		for _, branch := range checks.Items {
			fmt.Println(branch.Name, branch.Status)
		}
		return fmt.Sprint(checks.Reason), checks.Err() // one that failed is an error only here
	})
	ctx, engine, stop := running(accept)
	defer stop()
	execution, err := accept.Start(ctx, engine, "accept-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = execution.Wait(ctx)
	fmt.Println(err)
	// Output:
	// stock SUCCEEDED
	// credit FAILED
	// address SUCCEEDED
	// child "credit": step "ask" failed after 1 attempt(s): no credit
}

func ExampleWithMinSuccessful() {
	quote := func(price int) func(*durable.Context) (int, error) {
		return func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "ask", func(ctx context.Context) (int, error) {
				if price == 0 {
					<-ctx.Done() // this carrier does not answer, and is given up
					return 0, ctx.Err()
				}
				return price, nil
			})
		}
	}
	ship := durable.Define("ship", "1", func(ctx *durable.Context, _ string) (int, error) {
		quotes, err := durable.Parallel(ctx, "quotes", []durable.Branch[int]{
			{Name: "fast", Run: quote(900)}, {Name: "silent", Run: quote(0)}, {Name: "cheap", Run: quote(400)},
		}, durable.WithMinSuccessful(2))
		if err != nil {
			return 0, err
		}
		fmt.Println(quotes.Reason, quotes.Count(durable.BranchStopped), "stopped")
		return min(quotes.Values()[0], quotes.Values()[1]), nil
	})
	ctx, engine, stop := running(ship)
	defer stop()
	execution, err := ship.Start(ctx, engine, "ship-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output:
	// MIN_SUCCESSFUL_REACHED 1 stopped
	// 400 <nil>
}
