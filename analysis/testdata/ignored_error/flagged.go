package ignorederror

import (
	"context"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
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

func stack(ctx *durable.Context) error {
	undos := saga.NewStack(ctx)
	undos.Register("one", func(saga.UndoContext) error { return nil })     // want `^ignored-error: the error of \(\*saga.Stack\).Register is discarded`
	_ = undos.Register("one", func(saga.UndoContext) error { return nil }) // want `ignored-error: the error of \(\*saga.Stack\).Register`
	_, err := durable.Step(ctx, "one", one)
	if err != nil {
		undos.Unwind(err) // want `ignored-error: the error of \(\*saga.Stack\).Unwind`
	}
	return err
}

func helper(ctx *durable.Context) error { return durable.Wait(ctx, "nap", time.Second) }

type service struct{}

func (service) charge(*durable.Context, int) (string, error) { return "", nil }

func helpers(ctx *durable.Context, s service, given func(*durable.Context) error) {
	helper(ctx)               // want `^ignored-error: the error of helper is discarded`
	id, _ := s.charge(ctx, 1) // want `ignored-error: the error of s.charge`
	_ = given(ctx)            // want `ignored-error: the error of given`
	ctx.SetStatus(id)
}

func branch(*durable.Context) (int, error) { return 1, nil }
