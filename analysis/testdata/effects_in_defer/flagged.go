package effectsindefer

import (
	"context"
	"errors"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func refund(int) error { return nil }

func tidy(ctx *durable.Context) {}

func pay(ctx *durable.Context) error { return durable.Wait(ctx, "nap", time.Second) }

func operations(ctx *durable.Context) (err error) {
	defer tidy(ctx) // want `^effects-in-defer: tidy in a deferred function: deferred functions run at every suspension, where operations do nothing and return ErrSuspended; call it on the way out of the handler$`
	defer func() {
		_, err = durable.Step(ctx, "undo", func(context.Context) (int, error) { // want `effects-in-defer: durable.Step in a deferred function`
			return 0, refund(1)
		})
	}()
	return pay(ctx)
}

func failures(ctx *durable.Context) (err error) {
	defer func() {
		if err != nil {
			_ = refund(1) // want `^effects-in-defer: refund in a deferred function, when something seems to have failed: deferred functions run at every suspension, with the error of an operation that was handled long ago; do it on the way out of the handler, in a step$`
		}
	}()
	done := false
	defer func() {
		if !done {
			_ = refund(2) // want `effects-in-defer: refund`
		}
	}()
	cleanup := func() {
		if err == nil {
			return
		}
		_ = refund(3) // want `effects-in-defer: refund`
	}
	defer cleanup()
	defer func() {
		if errors.Is(err, durable.ErrCancelled) {
			_ = refund(4) // want `effects-in-defer: refund`
		} else if err == nil {
			done = true
		} else {
			_ = refund(5) // want `effects-in-defer: refund`
		}
	}()
	err = pay(ctx)
	done = err == nil
	return err
}

func stack(ctx *durable.Context) (err error) {
	undos := saga.NewStack(ctx)
	defer undos.Unwind(err) // want `^effects-in-defer: undos.Unwind in a deferred function`
	defer func() {
		if err != nil {
			err = undos.Unwind(err) // want `^effects-in-defer: undos.Unwind in a deferred function: deferred functions run at every suspension, where operations do nothing`
		}
	}()
	return pay(ctx)
}
