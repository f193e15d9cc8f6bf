package effectsindefer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/clewdev/clew/durable"
)

func passed(ctx *durable.Context, mu *sync.Mutex, wg *sync.WaitGroup, f *os.File) (err error) {
	mu.Lock()
	defer mu.Unlock()
	defer wg.Done()
	defer f.Close()
	_, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if err != nil { // cleaning, words, and errors that are made of others
			cancel()
			mu.Unlock()
			slog.Info("failed", "err", err.Error())
			err = fmt.Errorf("paying: %w", err)
		}
		if closed := f.Close(); closed != nil {
			fmt.Println(closed) // the error is the deferred function's own
		}
	}()
	return pay(ctx)
}

// In a body no wait comes between, so its deferred functions are as ever.
func body(ctx *durable.Context) error {
	_, err := durable.Step(ctx, "pay", func(context.Context) (n int, err error) {
		defer func() {
			if err != nil {
				_ = refund(1)
			}
		}()
		return 1, refund(0)
	})
	return err
}

// unwinding is how it is done: on the way out, in a step.
func unwinding(ctx *durable.Context) error {
	err := pay(ctx)
	if err == nil {
		return nil
	}
	_, undone := durable.Step(ctx.Unwinding(), "refund", func(context.Context) (int, error) { return 0, refund(1) })
	if undone != nil {
		return undone
	}
	return err
}
