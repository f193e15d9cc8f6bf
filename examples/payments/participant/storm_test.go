package participant

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// buyer drives orders by hand as a right saga would, through participants that
// fail often, on two sets in turn.
type buyer struct {
	t                 *testing.T
	clients           [2]*Client
	committed, undone atomic.Int64
}

// Every order ends whole or without a trace, whatever arrives late.
func TestStorm(t *testing.T) {
	const callers, orders = 64, 2
	path := tempPath(t)
	cfg := Config{Path: path, FaultRate: 0.3, Seed: 3, MinDelay: 20 * time.Millisecond, MaxDelay: 200 * time.Millisecond}
	one, two := start(t, cfg), start(t, cfg)
	b := &buyer{t: t, clients: [2]*Client{one.Client(), two.Client()}}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range orders {
				b.buy(OrderID(caller*orders + i + 1))
			}
		})
	}
	wg.Wait()
	closeWorld(t, one)
	closeWorld(t, two)

	got, err := Audit(t.Context(), Files(path), callers*orders)
	wantNil(t, err)
	if got.RepeatedCalls == 0 || got.Faults == 0 || b.committed.Load() == 0 || b.undone.Load() == 0 {
		t.Errorf("no storm: %+v", got)
	}
	want := Report{Orders: callers * orders, Committed: int(b.committed.Load()), Undone: int(b.undone.Load()),
		RepeatedCalls: got.RepeatedCalls, Faults: got.Faults, Verified: got.Verified}
	checkAudit(t, Files(path), callers*orders, want, "")
}

func (b *buyer) buy(order string) {
	b.insist(func(ctx context.Context, c *Client) error {
		_, err := c.Authorize(ctx, order+"/authorize", 1, order, "tok_visa", 100)
		return err
	})
	// A reservation that fails once is given up, in doubt.
	_, err := b.clients[0].Reserve(b.patience(0), order+"/reserve", 1, order, "sku_book", 1)
	if err == nil { // the same
		_, err = b.clients[1].Screen(b.patience(0), order+"/screen", 1, order, "tok_visa", 100)
	}
	if err != nil || !b.capture(order) {
		b.unwind(order)
		b.undone.Add(1)
		return
	}
	b.insist(func(ctx context.Context, c *Client) error {
		_, err := c.Ship(ctx, order+"/ship", 1, order, "res")
		return err
	})
	b.insist(func(ctx context.Context, c *Client) error {
		_, err := c.Receipt(ctx, order+"/receipt", 1, order, 100)
		return err
	})
	b.committed.Add(1)
}

// capture tries once, and asks when it does not know.
func (b *buyer) capture(order string) (happened bool) {
	_, err := b.clients[1].Capture(b.patience(0), order+"/capture", 1, order, "auth", 100)
	if err == nil {
		return true
	}
	b.insist(func(ctx context.Context, c *Client) (err error) {
		_, happened, err = c.VerifyCapture(ctx, order+"/capture", 1)
		return err
	})
	return happened
}

func (b *buyer) unwind(order string) {
	b.insist(func(ctx context.Context, c *Client) error {
		return c.Dismiss(ctx, order+"/dismiss", 1, order+"/screen")
	})
	b.insist(func(ctx context.Context, c *Client) error {
		return c.Release(ctx, order+"/release", 1, order+"/reserve")
	})
	b.insist(func(ctx context.Context, c *Client) error {
		return c.Void(ctx, order+"/void", 1, order+"/authorize")
	})
}

// insist repeats a call under its key until it is answered.
func (b *buyer) insist(call func(context.Context, *Client) error) {
	for attempt := 0; ; attempt++ {
		err := call(b.patience(attempt), b.clients[attempt%2])
		if _, rejected := errors.AsType[*Rejected](err); rejected {
			b.t.Error(err)
		} else if err != nil {
			continue
		}
		return
	}
}

// patience is shorter than most delays at first, and grows so that a slow
// machine gets through, too.
func (b *buyer) patience(attempt int) context.Context {
	return timeout(b.t, time.Duration(attempt+1)*50*time.Millisecond)
}
