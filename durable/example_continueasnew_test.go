package durable_test

import (
	"context"
	"fmt"

	"github.com/clewdev/clew/durable"
)

func ExampleContinueAsNew() {
	type month struct{ Number, Paid int }
	subscription := durable.Define("subscription", "1", func(ctx *durable.Context, m month) (string, error) {
		fee, err := durable.Step(ctx, "charge", func(ctx context.Context) (int, error) {
			info, _ := durable.StepInfoFrom(ctx)
			fmt.Println("under", info.Key)
			return 10, nil
		})
		if err != nil {
			return "", err
		}
		if m.Number < 3 { // in earnest after a Wait for the next month
			return "", durable.ContinueAsNew(ctx, month{m.Number + 1, m.Paid + fee})
		}
		return fmt.Sprintf("%d paid in %d months", m.Paid+fee, m.Number), nil
	})
	ctx, engine, stop := running(subscription)
	defer stop()
	execution, err := subscription.Start(ctx, engine, "ada", month{Number: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output:
	// under ada/1/charge
	// under ada/2/charge
	// under ada/3/charge
	// 30 paid in 3 months <nil>
}
