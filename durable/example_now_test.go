package durable_test

import (
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleNow() {
	var due []time.Time // of each pass of the code
	var ids []string
	bill := durable.Define("bill", "1", func(ctx *durable.Context, order string) (string, error) {
		at, err := durable.Now(ctx)
		if err != nil {
			return "", err
		}
		id, err := durable.UUID(ctx)
		if err != nil {
			return "", err
		}
		due, ids = append(due, at.Add(14*24*time.Hour)), append(ids, id)
		return "sent", durable.Wait(ctx, "until it is sent", time.Millisecond)
	})
	ctx, engine, stop := runningWith(durable.Options{HotWait: -1}, bill)
	defer stop()
	execution, err := bill.Start(ctx, engine, "bill-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	fmt.Println(len(due), due[0].Equal(due[1]), ids[0] == ids[1])
	// Output:
	// sent <nil>
	// 2 true true
}

func ExampleRand() {
	trial := durable.Define("trial", "1", func(ctx *durable.Context, customer string) (bool, error) {
		r, err := durable.Rand(ctx)
		if err != nil {
			return false, err
		}
		offered := r < 0.1 // one in ten, and the same one on every replay
		return offered || !offered, nil
	})
	ctx, engine, stop := running(trial)
	defer stop()
	execution, err := trial.Start(ctx, engine, "trial-17", "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: true <nil>
}
