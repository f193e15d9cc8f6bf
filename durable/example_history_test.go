package durable_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleHistory() {
	order := durable.Define("order", "1", func(ctx *durable.Context, _ string) (string, error) {
		if _, err := durable.Step(ctx, "charge", func(context.Context) (int, error) { return 4200, nil }); err != nil {
			return "", err
		}
		return "shipped", durable.Wait(ctx, "cooling off", time.Millisecond)
	})
	ctx, engine, stop := runningWith(durable.Options{HotWait: -1}, order)
	defer stop()
	execution, err := order.Start(ctx, engine, "order-17", "cup")
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := execution.Wait(ctx); err != nil {
		fmt.Println(err)
		return
	}
	record, err := engine.Store().Load(ctx, "order-17", durable.LoadAll)
	if err != nil {
		fmt.Println(err)
		return
	}
	for event := range durable.History(record) {
		fmt.Println(event.ID, event.Type)
	}
	// Output:
	// 1 ExecutionStarted
	// 2 StepStarted
	// 3 StepSucceeded
	// 4 WaitStarted
	// 5 InvocationCompleted
	// 6 WaitSucceeded
	// 7 InvocationCompleted
	// 8 ExecutionSucceeded
}
