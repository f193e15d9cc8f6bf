package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleInvoke() {
	ship := durable.Define("ship", "2", func(ctx *durable.Context, order string) (string, error) {
		return durable.Step(ctx, "label", func(context.Context) (string, error) { return "label-of-" + order, nil })
	})
	fulfil := durable.Define("fulfil", "1", func(ctx *durable.Context, order string) (string, error) {
		label, err := durable.Invoke(ctx, "ship", ship, order, durable.WithInvokeTimeout(48*time.Hour))
		var failed *durable.InvokeError
		switch {
		case errors.Is(err, durable.ErrInvokeTimeout):
			return "not shipped in two days", nil
		case errors.As(err, &failed):
			return "see " + failed.Execution, err
		}
		return label, err
	})
	ctx, engine, stop := running(fulfil, ship)
	defer stop()
	execution, err := fulfil.Start(ctx, engine, "fulfil-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: label-of-order-17 <nil>
}
