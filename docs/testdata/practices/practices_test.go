package practices

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/store/mem"
)

func TestShopCrashes(t *testing.T) {
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		var mu sync.Mutex
		charged := map[string]int{} // what the gateway has booked, by key
		charge = func(_ context.Context, key string, amount int) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			charged[key] = amount
			return "receipt-of-" + key, nil
		}
		return durabletest.Subject{
			Definitions: []durable.Registrable{Shop}, Pairs: 4, Options: durable.Options{PollMax: time.Hour},
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := Shop.Start(ctx, e, "order-17", Order{ID: "order-17", Lines: map[string]int{"cup": 2, "plate": 1}, Amount: 4200})
				return err
			},
			Check: func() {
				head, err := w.Store.Load(w.Context(), "order-17", durable.LoadHead)
				if err != nil || head.Status != durable.StatusSucceeded {
					w.Errorf("got %v, %v, want it to have succeeded", head, err)
				}
				if len(charged) != 2 { // two charges, whatever has crashed
					w.Errorf("charged under %v, want two keys", charged)
				}
			},
		}
	})
}

// Below: what is said to go wrong does.

// started runs a handler, with no wait in memory, until the test ends it.
func started(t *testing.T, handler func(*durable.Context, int) (string, error)) (e *durable.Engine, x *durable.Execution[string], stop func()) {
	t.Helper()
	def := durable.Define("d", "1", handler)
	e, err := durable.New(mem.New(), durable.Options{HotWait: -1})
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Run(ctx)
	}()
	if x, err = def.Start(t.Context(), e, "x", 1); err != nil {
		t.Fatal(err)
	}
	return e, x, func() { cancel(); <-ended }
}

func suspends(t *testing.T, e *durable.Engine) {
	t.Helper()
	for range 1000 {
		if rec, err := e.Store().Load(t.Context(), "x", durable.LoadHead); err == nil && rec.Status == durable.StatusSuspended {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it is not suspended")
}

func TestGoroutinesOfItsOwn(t *testing.T) {
	went := make(chan string, 10)
	e, _, stop := started(t, func(ctx *durable.Context, _ int) (string, error) {
		return "", goroutinesOfItsOwn(ctx, "order-17", func(answer string) { went <- answer })
	})
	defer stop()
	suspends(t, e)
	if answer := <-went; answer != "" {
		t.Errorf("got %q, want it to have gone on without an answer", answer)
	}
}

func TestLocks(t *testing.T) {
	for name, handler := range map[string]func(*durable.Context) error{"held": lockHeld, "released": lockReleased} {
		e, _, stop := started(t, func(ctx *durable.Context, _ int) (string, error) { return "", handler(ctx) })
		suspends(t, e)
		stop() // the code of the activation has returned
		free := till.TryLock()
		till.Unlock() // one way or the other it is locked here
		if free != (name == "released") {
			t.Errorf("%s: the lock is free: %v", name, free)
		}
	}
}

func TestOnceBurnt(t *testing.T) {
	_, x, stop := started(t, func(ctx *durable.Context, _ int) (string, error) {
		_, err := onceBurnt(ctx)
		return "", err
	})
	defer stop()
	_, err := x.Wait(t.Context())
	if !errors.Is(err, durable.ErrParked) || !strings.Contains(err.Error(), "nondeterminism") || rate != 0 {
		t.Errorf("got %v and rate %d, want it parked and no rate", err, rate)
	}
}

func TestFedByABranch(t *testing.T) {
	labels, passed := make(chan string, 1), make(chan string, 100)
	_, x, stop := started(t, func(ctx *durable.Context, _ int) (string, error) {
		return "", fedByABranch(ctx, labels, func(what string) { passed <- what })
	})
	defer stop()
	for _, want := range []string{"asks", "has it", "asks"} { // the last one on the replay
		if got := <-passed; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	select {
	case got := <-passed:
		t.Errorf("got %q on the replay, want it to wait for ever", got)
	case <-time.After(300 * time.Millisecond):
	}
	labels <- "fed by hand"
	if _, err := x.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
