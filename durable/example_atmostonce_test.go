package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleAtMostOnce() {
	calls := 0
	remind := durable.Define("remind", "1", func(ctx *durable.Context, phone string) (string, error) {
		_, err := durable.Step(ctx, "call", func(context.Context) (string, error) {
			calls++ // nobody wants to be called twice
			return "", errors.New("no answer, or a lost one")
		}, durable.AtMostOnce(), durable.WithRetry(durable.Retry{MaxAttempts: 1}), durable.WithTimeout(time.Minute))
		var failed *durable.StepError
		if errors.As(err, &failed) { // it failed, or was lost in a crash
			return "written to instead", nil
		}
		return "called", err
	})
	ctx, engine, stop := running(remind)
	defer stop()
	execution, err := remind.Start(ctx, engine, "remind-17", "555-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	fmt.Println(calls, "call")
	// Output:
	// written to instead <nil>
	// 1 call
}
