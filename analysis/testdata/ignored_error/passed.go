package ignorederror

import (
	"time"

	"github.com/clewdev/clew/durable"
)

func passed(ctx *durable.Context) (int, error) {
	if err := durable.Wait(ctx, "nap", time.Second); err != nil {
		return 0, err
	}
	_, err := durable.Step(ctx, "one", one) // the result may go
	if err != nil {
		return 0, err
	}
	ctx.SetStatus("on its way")
	f := durable.Go(ctx, "beside", branch)
	return f.Wait(ctx)
}
