package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/saga"
)

// books stand in for the participants where time is virtual and HTTP cannot
// be. They keep the participants' rules: keys are idempotent, undos and
// verifications leave tombstones.
type books struct {
	mu      sync.Mutex
	applied map[string]int    // effects by kind, over all keys
	results map[string]string // by key
	dead    map[string]bool   // keys with a tombstone
	undone  map[string]bool   // forward keys
	hook    map[string]func(ctx context.Context) error
}

func newBooks() *books {
	return &books{applied: map[string]int{}, results: map[string]string{}, dead: map[string]bool{}, undone: map[string]bool{}, hook: map[string]func(context.Context) error{}}
}

// forward applies an effect once per key, then runs the hook of its kind.
func (b *books) forward(ctx context.Context, kind, key string) (string, error) {
	if !durabletest.Sleep(ctx, 10*time.Millisecond) {
		return "", ctx.Err()
	}
	b.mu.Lock()
	if b.dead[key] {
		b.mu.Unlock()
		return "", &participant.Rejected{Call: kind, Code: "tombstone", Message: "undone before"}
	}
	if b.results[key] == "" {
		b.applied[kind]++
		b.results[key] = fmt.Sprintf("%s-%d", kind, b.applied[kind])
	}
	id := b.results[key]
	b.mu.Unlock()
	if hook := b.hook[kind]; hook != nil {
		return id, hook(ctx)
	}
	return id, nil
}

func (b *books) reverse(kind, forwardKey string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead[forwardKey] = true
	if b.results[forwardKey] != "" && !b.undone[forwardKey] {
		b.undone[forwardKey] = true
		b.applied[kind]--
	}
	return nil
}

func (b *books) Authorize(ctx context.Context, key string, _ int, _, card string, _ int64) (string, error) {
	if card == "tok_declined" {
		return "", &participant.Rejected{Call: "authorize", Code: participant.CodeDeclined, Message: "declined"}
	}
	return b.forward(ctx, "authorize", key)
}

func (b *books) Void(_ context.Context, _ string, _ int, forwardKey string) error {
	return b.reverse("authorize", forwardKey)
}

func (b *books) Reserve(ctx context.Context, key string, _ int, _, _ string, _ int) (string, error) {
	return b.forward(ctx, "reserve", key)
}

func (b *books) Release(_ context.Context, _ string, _ int, forwardKey string) error {
	return b.reverse("reserve", forwardKey)
}

func (b *books) Screen(ctx context.Context, key string, _ int, _, card string, _ int64) (string, error) {
	if card == participant.RiskyCard {
		return "", &participant.Rejected{Call: "screen", Code: participant.CodeRisky, Message: "risky"}
	}
	return b.forward(ctx, "screen", key)
}

func (b *books) Dismiss(_ context.Context, _ string, _ int, forwardKey string) error {
	return b.reverse("screen", forwardKey)
}

func (b *books) CheckAddress(ctx context.Context, _ string, _ int, _, address string) (string, error) {
	if !durabletest.Sleep(ctx, 15*time.Millisecond) { // longer than the score takes
		return "", ctx.Err()
	}
	if address == participant.NoAddress {
		return "", &participant.Rejected{Call: "check_address", Code: participant.CodeNoAddress, Message: "no such address"}
	}
	return address, nil
}

func (b *books) Capture(ctx context.Context, key string, _ int, _, _ string, _ int64) (string, error) {
	return b.forward(ctx, "capture", key)
}

func (b *books) VerifyCapture(_ context.Context, key string, _ int) (string, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.results[key]
	b.dead[key] = b.dead[key] || id == ""
	return id, id != "", nil
}

func (b *books) Ship(ctx context.Context, key string, _ int, _, _ string) (string, error) {
	return b.forward(ctx, "ship", key)
}

func (b *books) Receipt(ctx context.Context, key string, _ int, _ string, _ int64) (string, error) {
	return b.forward(ctx, "receipt", key)
}

// want says how the one order must end.
type want struct {
	status string
	all    bool // every effect exactly once; else none
}

func crashEverywhere(t *testing.T, o Order, prepare func(*durabletest.World, *books), want want) {
	t.Helper()
	stats := durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		b := newBooks()
		prepare(w, b)
		sg, err := payment(b, "2", attemptTimeout, 0)
		if err != nil {
			w.Fatal(err)
		}
		return durabletest.Subject{
			Definitions: []durable.Registrable{sg}, Pairs: 10,
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := sg.Start(ctx, e, o.ID, o)
				return err
			},
			Check: func() {
				rec, err := w.Store.Load(w.Context(), o.ID, durable.LoadHead)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				if st := saga.StatusOf(&rec.Head).String(); st != want.status {
					w.Errorf("status %s, want %s (%v)", st, want.status, rec.Error)
				}
				for _, kind := range []string{"authorize", "reserve", "screen", "capture", "ship", "receipt"} {
					if n := b.applied[kind]; want.all && n != 1 || !want.all && n != 0 {
						w.Errorf("%s stands %d times", kind, n)
					}
				}
			},
		}
	})
	if stats.Runs < 50 {
		t.Errorf("only %d runs: the harness met hardly any write", stats.Runs)
	}
}

func TestCrashEverywhereCommitted(t *testing.T) {
	crashEverywhere(t, newOrder(1, 1, shares{}), func(*durabletest.World, *books) {}, want{"committed/none", true})
}

func TestCrashEverywhereRejected(t *testing.T) {
	crashEverywhere(t, newOrder(1, 1, shares{}), func(_ *durabletest.World, b *books) {
		b.hook["capture"] = func(context.Context) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.applied["capture"] = 0 // refused: no effect after all
			for key := range b.results {
				if b.results[key] == "capture-1" {
					delete(b.results, key)
				}
			}
			return &participant.Rejected{Call: "capture", Code: "expired", Message: "authorization expired"}
		}
	}, want{"rejected/complete", false})
}

func TestCrashEverywhereCancelled(t *testing.T) {
	o := newOrder(1, 1, shares{})
	crashEverywhere(t, o, func(w *durabletest.World, b *books) {
		b.hook["reserve"] = func(context.Context) error {
			err := w.Client.Cancel(w.Context(), o.ID, "customer", "changed my mind")
			if err != nil && !errors.Is(err, durable.ErrDelivered) {
				w.Errorf("cancel: %v", err)
			}
			return nil
		}
	}, want{"cancelled/complete", false})
}

// TestCrashEverywhereInTheGroup: one of the two checks refuses while the other
// one runs, or has succeeded.
func TestCrashEverywhereInTheGroup(t *testing.T) {
	for name, s := range map[string]shares{"fraud": {fraud: 1}, "address": {nowhere: 1}} {
		t.Run(name, func(t *testing.T) {
			crashEverywhere(t, newOrder(1, 1, s), func(*durabletest.World, *books) {}, want{"rejected/complete", false})
		})
	}
}

func TestCrashEverywhereCaptureReplyLost(t *testing.T) {
	crashEverywhere(t, newOrder(1, 1, shares{}), func(_ *durabletest.World, b *books) {
		b.hook["capture"] = func(context.Context) error { return errors.New("reply lost") }
	}, want{"committed/none", true})
}
