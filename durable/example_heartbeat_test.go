package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleHeartbeat() {
	pages := []string{"a", "b", "c", "d"}
	full := true // the disk, at the first attempt
	backup := durable.Define("backup", "1", func(ctx *durable.Context, _ string) (string, error) {
		return durable.Step(ctx, "copy", func(ctx context.Context) (string, error) {
			from, _ := durable.Progress[int](ctx)
			fmt.Println("from page", from)
			for n := from; n < len(pages); n++ {
				if n == 2 && full {
					full = false
					return "", errors.New("disk is full")
				}
				if err := durable.Heartbeat(ctx, n+1); err != nil {
					return "", err // nobody counts on this attempt any more
				}
			}
			return "copied", nil
		}, durable.WithTimeout(time.Hour), durable.WithHeartbeat(time.Minute),
			durable.WithRetry(durable.Retry{Initial: time.Millisecond}))
	})
	ctx, engine, stop := running(backup)
	defer stop()
	execution, err := backup.Start(ctx, engine, "backup-17", "books")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output:
	// from page 0
	// from page 2
	// copied <nil>
}
