package ignorederror

import (
	"context"
	"time"

	"github.com/clewdev/clew/durable"
)

func one(context.Context) (int, error) { return 1, nil }

func flagged(ctx *durable.Context) int {
	durable.Wait(ctx, "nap", time.Second)     // want `^ignored-error: the error of durable.Wait is discarded: a failure would pass for success and a cancel would not be seen; return it, or decide what it means$`
	_ = durable.Wait(ctx, "nap", time.Second) // want `ignored-error: the error of durable.Wait`
	n, _ := durable.Step(ctx, "one", one)     // want `ignored-error: the error of durable.Step`
	var m, _ = durable.Step(ctx, "one", one)  // want `ignored-error: the error of durable.Step`
	c, err := durable.CreateCallback[int](ctx, "call")
	if err != nil {
		return 0
	}
	_, _ = c.Result(ctx)              // want `ignored-error: the error of \(\*durable.Callback\).Result`
	ctx.Park("stop", durable.Park{})  // want `ignored-error: the error of \(\*durable.Context\).Park`
	durable.Go(ctx, "beside", branch) // want `^ignored-error: the future of durable.Go is discarded`
	return n + m
}

func branch(*durable.Context) (int, error) { return 1, nil }
