package saga_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// TestIntercept: every function of a saga is called through its interceptor,
// which may fail it before or after, and the saga without it is as it was.
func TestIntercept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		client, err := durable.New(mem.New(), durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		approve := func(id string) error { return client.CompleteCallback(context.Background(), id, "yes") }
		plain := s.tree(client, func(id string) error { return approve(id) })
		var mu sync.Mutex // members of the group call beside each other
		var calls []string
		sg := plain.Intercept(func(ctx context.Context, c saga.Call, next func(context.Context) error) error {
			mu.Lock()
			calls = append(calls, fmt.Sprintf("%s %s %s %d %s %v", c.Kind, c.Step, c.Key, c.Attempt, c.ForwardKey, c.Known))
			mu.Unlock()
			err := next(ctx)
			if c.Step == "capture" && c.Kind == saga.CallForward {
				s.mu.Lock()
				s.stands["capture"] = 0 // so that Verify finds no effect
				s.mu.Unlock()
				return durable.Permanent(errOutage)
			}
			return err
		})
		store := mem.New()
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		approve = func(id string) error { return e.CompleteCallback(ctx, id, "yes") }
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		var failed *durable.Error
		if _, err := x.Wait(ctx); !errors.As(err, &failed) || s.verdict(treeSteps...) != "none" {
			t.Errorf("got %v, standing %s; want all undone", err, s.verdict(treeSteps...))
		}
		for _, want := range []string{
			"forward first o1/1/first 1  false",
			"forward inside/inner a o1/1/book/inside/inside/#1/inner a 1  false",
			"forward approval o1/1/approval 1  false",
			"forward flow  0  false",
			"verify capture o1/1/capture 1  false",
			"undo inside/inner a o1/1/book/inside/inside/#1/inner a/undo 1 o1/1/book/inside/inside/#1/inner a true",
			"undo approval o1/1/approval/undo 1 o1/1/approval true",
			"undo flow o1/1/flow/undo 1 o1/1/flow true",
		} {
			if !slices.Contains(calls, want) {
				t.Errorf("no call %q among %q", want, calls)
			}
		}
		if plain.Shape().Fingerprint != sg.Shape().Fingerprint {
			t.Error("it has another fingerprint")
		}
	})
}
