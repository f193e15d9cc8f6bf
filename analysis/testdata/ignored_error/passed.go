package ignorederror

import (
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
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

func stackPassed(ctx *durable.Context) error {
	undos := saga.NewStack(ctx)
	err := undos.Register("one", func(saga.UndoContext) error { return nil })
	if err == nil {
		_, err = durable.Step(ctx, "one", one)
	}
	if err != nil {
		return undos.Unwind(err)
	}
	undos.Release()
	return nil
}

func note(*durable.Context) {}

func helpersPassed(ctx *durable.Context) error {
	note(ctx)
	_ = len(ctx.ExecutionID())
	return stackPassed(ctx)
}
