package durable_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
)

// TestCrashHeartbeats: a callback lives as long as heartbeats come, and not
// much longer, whatever dies in between.
func TestCrashHeartbeats(t *testing.T) {
	everywhere(t, func(w *durabletest.World, c *tally) func(*durable.Context, int) (string, error) {
		var last atomic.Int64 // heartbeat that was accepted
		return func(ctx *durable.Context, _ int) (string, error) {
			cb, err := durable.CreateCallback[string](ctx, "cb", durable.WithHeartbeatTimeout(time.Minute), durable.WithCallbackTimeout(time.Hour))
			if err != nil {
				return "", err
			}
			_, err = durable.Step(ctx, "ask", func(context.Context) (int, error) {
				if c.add("ask") > 1 {
					return 0, nil
				}
				var beat func()
				beat = func() {
					if w.Client.HeartbeatCallback(context.Background(), cb.ID()) != nil {
						c.add("refused")
						return
					}
					last.Store(time.Now().UnixNano())
					if c.add("beat") < 5 {
						time.AfterFunc(50*time.Second, beat)
					}
				}
				beat() // here, because a process may take longer than a minute to get so far
				return 0, nil
			})
			if err != nil {
				return "", err
			}
			_, err = cb.Result(ctx)
			if !errors.Is(err, durable.ErrCallbackHeartbeat) {
				return "", err
			}
			if silence := time.Since(time.Unix(0, last.Load())); last.Load() > 0 && silence < time.Minute || last.Load() > 0 && silence > 10*time.Minute {
				w.Errorf("timed out after %v without a heartbeat", silence)
			}
			return "silent", nil
		}
	}, func(w *durabletest.World, c *tally, h *durable.Head) {
		succeeded(w, h, `"silent"`)
		if c.get("beat") < 5 && c.get("refused") == 0 || c.get("beat") > 1 && c.get("refused") > 0 {
			w.Errorf("%d heartbeats were accepted and %d refused", c.get("beat"), c.get("refused"))
		}
	})
}

func TestHeartbeatsThatComeTooLate(t *testing.T) {
	ids := make(chan string, 1)
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		cb, err := durable.CreateCallback[int](ctx, "cb", durable.WithHeartbeatTimeout(time.Minute))
		if err != nil {
			return 0, err
		}
		if _, err := cb.Result(ctx); !errors.Is(err, durable.ErrCallbackHeartbeat) {
			t.Errorf("got %v, want ErrCallbackHeartbeat", err)
		}
		ids <- cb.ID()
		return durable.Step(ctx, "late", func(c context.Context) (int, error) {
			if err := engineFor.Load().HeartbeatCallback(c, cb.ID()); !errors.Is(err, durable.ErrNotOpen) {
				t.Errorf("after the timeout: got %v, want ErrNotOpen", err)
			}
			return 1, nil
		})
	}, func(w *world, _ *durable.Execution[int], out int, err error) {
		if out != 1 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
		if err := w.e.HeartbeatCallback(context.Background(), <-ids); !errors.Is(err, durable.ErrEnded) {
			t.Errorf("after the end: got %v, want ErrEnded", err)
		}
		for _, id := range []string{"", "rubbish", "%%%"} {
			if err := w.e.HeartbeatCallback(context.Background(), id); !errors.Is(err, durable.ErrNotOpen) {
				t.Errorf("callback ID %q: got %v, want ErrNotOpen", id, err)
			}
		}
	})
}
