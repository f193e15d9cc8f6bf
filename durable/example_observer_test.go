package durable_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/clewdev/clew/durable"
)

// retries is an Observer that counts attempts which follow another.
type retries struct{ n atomic.Int64 }

func (r *retries) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if o.Kind == durable.ObserveAttemptStart && o.Attempt > 1 {
		r.n.Add(1)
	}
	return ctx
}

func ExampleObserver() {
	failures := 2
	order := durable.Define("order", "1", func(ctx *durable.Context, _ string) (string, error) {
		return durable.Step(ctx, "charge", func(context.Context) (string, error) {
			if failures--; failures >= 0 {
				return "", errors.New("gateway is away")
			}
			return "charged", nil
		}, durable.WithRetry(durable.Retry{Initial: time.Millisecond}))
	})
	var r retries
	ctx, engine, stop := runningWith(durable.Options{Observer: &r}, order)
	defer stop()
	execution, err := order.Start(ctx, engine, "order-17", "cup")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	fmt.Println(r.n.Load(), "retries")
	// Output:
	// charged <nil>
	// 2 retries
}
