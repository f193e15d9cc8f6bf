package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleWithReminder() {
	const day = 300 * time.Millisecond // in earnest 24 hours; shorter ones pass unseen on a slow machine
	desk := make(chan string, 1)
	refund := durable.Define("refund", "1", func(ctx *durable.Context, order string) (string, error) {
		by, err := durable.WaitForCallback[string](ctx, "approval", func(_ context.Context, callbackID string) error {
			desk <- callbackID
			return nil
		}, durable.WithCallbackTimeout(3*day), durable.WithReminder(day, func(ctx context.Context, callbackID string) error {
			info, _ := durable.StepInfoFrom(ctx)
			fmt.Println("still waiting:", info.Key)
			return nil
		}))
		if errors.Is(err, durable.ErrCallbackTimeout) {
			return "nobody has looked at " + order, nil
		}
		return by, err
	})
	ctx, engine, stop := running(refund)
	defer stop()
	execution, err := refund.Start(ctx, engine, "refund-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	id := <-desk
	fmt.Println(execution.Wait(ctx))
	fmt.Println(errors.Is(engine.CompleteCallback(ctx, id, "Grace"), durable.ErrEnded))
	// Output:
	// still waiting: refund-17/1/approval/reminders/reminder
	// still waiting: refund-17/1/approval/reminders/reminder#2
	// nobody has looked at order-17 <nil>
	// true
}
