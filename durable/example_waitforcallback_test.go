package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleWaitForCallback() {
	desk := make(chan string, 1)
	refund := durable.Define("refund", "1", func(ctx *durable.Context, order string) (string, error) {
		by, err := durable.WaitForCallback[string](ctx, "approval", func(_ context.Context, callbackID string) error {
			desk <- callbackID // in earnest a mail, with the ID in its link
			return nil
		}, durable.WithCallbackTimeout(72*time.Hour), durable.WithSubmitter(durable.WithRetry(durable.Retry{MaxAttempts: 3})))
		if errors.Is(err, durable.ErrCallbackTimeout) {
			return "nobody has looked at " + order, nil
		}
		if err != nil {
			return "", err
		}
		return order + " is refunded, says " + by, nil
	})
	ctx, engine, stop := running(refund)
	defer stop()
	execution, err := refund.Start(ctx, engine, "refund-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	id := <-desk
	fmt.Println(engine.CompleteCallback(ctx, id, "Grace"))
	fmt.Println(execution.Wait(ctx))
	fmt.Println(errors.Is(engine.CompleteCallback(ctx, id, "Mallory"), durable.ErrEnded))
	// Output:
	// <nil>
	// order-17 is refunded, says Grace <nil>
	// true
}
