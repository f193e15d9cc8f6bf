package capturedhandle

import (
	"context"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func passed(ctx *durable.Context, n int) (int, error) {
	wait := func() error { return durable.Wait(ctx, "nap", time.Second) } // no body: the handler's own code
	if err := wait(); err != nil {
		return 0, err
	}
	nap := func(ctx *durable.Context) error { return durable.Wait(ctx, "nap", time.Second) }
	return durable.Child(ctx, "child", func(ctx *durable.Context) (int, error) {
		if err := nap(ctx); err != nil {
			return 0, err
		}
		return durable.Step(ctx, "step", func(c context.Context) (int, error) {
			return len(ctx.ExecutionID()), use(c) // the ID is the same everywhere
		})
	})
}

// A func that takes a context is no body unless an operation gets it.
func adapter(ctx *durable.Context) error {
	each := func(_ context.Context, name string) error { return durable.Wait(ctx, name, time.Second) }
	return each(ctx, "nap")
}

func sagas(ctx *durable.Context) (*saga.Saga[int, int], error) {
	b := saga.New[int, int]("s", "1")
	one := saga.Step(b, "one", func(c saga.Context, n int) (int, error) { return n, use(c) }).ReadOnly()
	return b.Build(func(c saga.Context, n int) (int, error) { return one.Of(c), nil })
}

func runningWell() {
	b := saga.New[int, int]("s", "1")
	saga.Run(b, "one", func(ctx *durable.Context, n int) (int, error) {
		undos := saga.NewStack(ctx)
		if err := undos.Register("two", func(c saga.UndoContext) error { return use(c) }); err != nil {
			return 0, undos.Unwind(err)
		}
		undos.Release()
		return n, durable.Wait(ctx, "nap", time.Second)
	}).ReadOnly()
}
