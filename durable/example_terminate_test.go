package durable_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleEngine_Terminate() {
	order := durable.Define("order", "1", func(ctx *durable.Context, _ string) (string, error) {
		err := durable.Wait(ctx, "parcel", 24*time.Hour)
		if errors.Is(err, durable.ErrCancelled) {
			fmt.Println("a cancel would get here, and undo") // a termination does not
		}
		return "", err
	})
	ctx, engine, stop := running(order)
	defer stop()
	execution, err := order.Start(ctx, engine, "order-17", "cup")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(engine.Terminate(ctx, "order-17", "ada", "a test order"))
	_, err = execution.Wait(ctx)
	fmt.Println(errors.Is(err, durable.ErrTerminated), errors.Is(err, durable.ErrCancelled))
	// Output:
	// <nil>
	// true false
}
