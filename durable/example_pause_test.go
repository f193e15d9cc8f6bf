package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// While a participant is down, a definition starts nothing.
func ExampleEngine_Pause() {
	ctx := context.Background()
	order := durable.Define("order", "1", func(*durable.Context, int) (int, error) { return 0, nil })
	engine, _ := durable.New(mem.New(), durable.Options{})
	_ = engine.Register(order)

	err := engine.Pause(ctx, durable.Pause{
		Definition: "order", Starts: true, Unwinding: true,
		Actor: "ada", Reason: "the warehouse is down",
	})
	fmt.Println(err)

	_, err = order.Start(ctx, engine, "o1", 1)
	var paused *durable.PausedError
	fmt.Println(errors.As(err, &paused), paused.Pause.Actor, paused.Pause.Reason)

	fmt.Println(engine.Continue(ctx, "order", "ada", "it is back"))
	_, err = order.Start(ctx, engine, "o1", 1)
	fmt.Println(err)
	// Output:
	// <nil>
	// true ada the warehouse is down
	// <nil>
	// <nil>
}
