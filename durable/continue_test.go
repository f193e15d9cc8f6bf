package durable_test

import (
	"errors"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// TestContinueAsNewWithNothingToWrite: a run whose results have all been written when
// it ends, because its code took its time, goes on as the next one, once.
func TestContinueAsNewWithNothingToWrite(t *testing.T) {
	runs := 0
	bubble(t, durable.Options{HotWait: -1}, func(ctx *durable.Context, n int) (int, error) {
		if runs++; runs > 10 {
			return n, errors.New("the next run does not begin")
		}
		if _, err := step(ctx, "s", n); err != nil || n > 100 {
			return n, err
		}
		time.Sleep(100 * time.Millisecond) // longer than a result may stay unwritten
		return 0, durable.ContinueAsNew(ctx, n+101)
	}, func(_ *world, _ *durable.Execution[int], out int, err error) {
		if err != nil || out <= 100 || runs != 2 {
			t.Errorf("got %d, %v, after %d runs of the code; want the input of the second run, nil, 2", out, err, runs)
		}
	})
}
