package capturedhandle

import (
	"context"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func use(ctx context.Context) error { return ctx.Err() }

type runner struct{ ctx *durable.Context }

func bodies(ctx *durable.Context, n int) (int, error) {
	wait := func() error { return durable.Wait(ctx, "nap", time.Second) }
	r := &runner{ctx}
	return durable.Step(ctx, "outer", func(c context.Context) (int, error) {
		if err := wait(); err != nil { // want `captured-handle: wait uses the handle ctx of the code around the body of step "outer"`
			return 0, err
		}
		if err := durable.Wait(r.ctx, "nap", time.Second); err != nil { // want `captured-handle: durable.Wait is called inside the body of step "outer", with the captured handle r.ctx`
			return 0, err
		}
		if err := use(ctx); err != nil { // want `^captured-handle: ctx is captured by the body of step "outer", where its operations return ErrNested: use the context that the body is given, and call operations outside of it$`
			return 0, err
		}
		return durable.Step(ctx, "inner", func(context.Context) (int, error) { return n, nil }) // want `^captured-handle: durable.Step is called inside the body of step "outer", with the captured handle ctx, and returns ErrNested: call it before or after the step$`
	})
}

func named(ctx *durable.Context) error {
	body := func(context.Context) (int, error) {
		return 0, use(ctx) // want `captured-handle: ctx is captured by the body of step "named"`
	}
	_, err := durable.Step(ctx, "named", body)
	return err
}

func branches(ctx *durable.Context) error {
	_, err := durable.Child(ctx, "child", func(c *durable.Context) (int, error) {
		return 0, durable.Wait(ctx, "nap", time.Second) // want `^captured-handle: ctx belongs to the code around the branch "child", which has a handle of its own: use its parameter$`
	})
	if err != nil {
		return err
	}
	f := durable.Go(ctx, "beside", func(*durable.Context) (int, error) {
		return 0, durable.Wait(ctx, "nap", time.Second) // want `captured-handle: ctx belongs to the code around the branch "beside"`
	})
	_, err = durable.Parallel(ctx, "all", []durable.Branch[int]{
		{Name: "one", Run: func(c *durable.Context) (int, error) { return f.Wait(ctx) }}, // want `captured-handle: ctx belongs to the code around the branch "one"`
	})
	if err != nil {
		return err
	}
	_, err = durable.Map(ctx, "each", []int{1}, func(c *durable.Context, n, i int) (int, error) {
		ctx.SetStatus("at work") // want `captured-handle: ctx belongs to the code around the branch "each"`
		return n, nil
	})
	return err
}

func declaring() {
	b := saga.New[int, int]("s", "1")
	saga.Step(b, "one", func(c saga.Context, n int) (int, error) {
		saga.Do(b, "two", func(saga.Context, int) error { return nil }).ReadOnly() // want `^captured-handle: b is captured by the body of step "one": declaring there panics, which parks; declare everything before Build$`
		return n, nil
	}).ReadOnly()
}

func running(ctx *durable.Context) {
	b := saga.New[int, int]("s", "1")
	saga.Run(b, "one", func(c *durable.Context, n int) (int, error) {
		saga.Wait(b, "two", time.Second)                  // want `^captured-handle: b is captured by the body of step "one": declaring there panics`
		return n, durable.Wait(ctx, "three", time.Second) // want `^captured-handle: ctx belongs to the code around the body of step "one", which has a handle of its own: use its parameter$`
	}).ReadOnly()
}

func undoing(ctx *durable.Context) error {
	undos := saga.NewStack(ctx)
	return undos.Register("flight", func(saga.UndoContext) error {
		return durable.Wait(ctx, "nap", time.Second) // want `^captured-handle: durable.Wait is called inside the undo of step "flight", with the captured handle ctx, and returns ErrNested`
	})
}

func capturedStack(ctx *durable.Context) error {
	undos := saga.NewStack(ctx)
	_, err := durable.Step(ctx, "flight", func(context.Context) (int, error) {
		return 1, undos.Register("flight", func(saga.UndoContext) error { return nil }) // want `^captured-handle: undos belongs to the handle that it was made for, and is captured by the body of step "flight", where it refuses: register before, and unwind after$`
	})
	if err == nil {
		_, err = durable.Child(ctx, "beside", func(*durable.Context) (int, error) {
			return 0, undos.Unwind(context.Canceled) // want `captured-handle: undos belongs to the handle that it was made for, and is captured by the branch "beside"`
		})
	}
	return err
}
