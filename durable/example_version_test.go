package durable_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleVersion() {
	deployed := false // the build that checks for fraud
	order := durable.Define("order", "1", func(ctx *durable.Context, id string) (string, error) {
		took := "as ever"
		if deployed { // in earnest the build itself is what differs
			v, err := durable.Version(ctx, "fraud check", 0, 1)
			if err != nil {
				return "", err
			}
			if v >= 1 {
				took, err = durable.Step(ctx, "fraud", func(context.Context) (string, error) { return "checked", nil })
				if err != nil {
					return "", err
				}
			}
		}
		if _, err := durable.Step(ctx, "charge", func(context.Context) (int, error) { return 4200, nil }); err != nil {
			return "", err
		}
		return took, durable.Wait(ctx, "parcel", 50*time.Millisecond)
	})
	ctx, engine, stop := runningWith(durable.Options{HotWait: -1}, order)
	defer stop()
	before, err := order.Start(ctx, engine, "order-1", "before the deploy")
	if err != nil {
		fmt.Println(err)
		return
	}
	for status := durable.StatusRunning; status != durable.StatusSuspended; {
		record, err := engine.Store().Load(ctx, "order-1", durable.LoadHead)
		if err != nil {
			fmt.Println(err)
			return
		}
		status = record.Status
	}
	deployed = true
	after, err := order.Start(ctx, engine, "order-2", "after it")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(before.Wait(ctx))
	fmt.Println(after.Wait(ctx))
	// Output:
	// as ever <nil>
	// checked <nil>
}
