package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/saga"
)

// Order is the input of the saga.
type Order struct {
	ID          string `json:"id"`
	Card        string `json:"card"`
	AmountCents int64  `json:"amount_cents"`
	SKU         string `json:"sku"`
	Qty         int    `json:"qty"`
}

// Receipt is what a paid order ends with.
type Receipt struct {
	Order    string `json:"order"`
	Capture  string `json:"capture"`
	Tracking string `json:"tracking"`
	Entry    string `json:"entry"`
}

// newOrder makes the n-th order of a run. It depends on its arguments alone,
// so that a second run means the same orders.
func newOrder(n int, seed uint64, decline float64) Order {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	o := Order{
		ID: participant.OrderID(n), Card: "tok_visa",
		AmountCents: 100 + r.Int64N(50_000), SKU: fmt.Sprintf("sku-%d", r.IntN(20)), Qty: 1 + r.IntN(3),
	}
	if r.Float64() < decline {
		o.Card = "tok_declined"
	}
	return o
}

// attemptTimeout is short: the participants are on this machine, and those
// that delay a request are to be given up on.
const attemptTimeout = time.Second

// participants is what the saga needs of the outside; *participant.Client
// brings it over HTTP.
type participants interface {
	Authorize(ctx context.Context, key string, attempt int, order, card string, amountCents int64) (string, error)
	Void(ctx context.Context, key string, attempt int, forwardKey string) error
	Reserve(ctx context.Context, key string, attempt int, order, sku string, qty int) (string, error)
	Release(ctx context.Context, key string, attempt int, forwardKey string) error
	Capture(ctx context.Context, key string, attempt int, order, authorization string, amountCents int64) (string, error)
	VerifyCapture(ctx context.Context, key string, attempt int) (capture string, happened bool, err error)
	Ship(ctx context.Context, key string, attempt int, order, reservation string) (string, error)
	Receipt(ctx context.Context, key string, attempt int, order string, amountCents int64) (string, error)
}

// payment declares the saga: authorize the card, reserve the stock, capture
// the money, which is the point of no return, ship, and send the receipt.
func payment(c participants, stepDelay time.Duration) (*saga.Saga[Order, Receipt], error) {
	retry := durable.Retry{MaxAttempts: 8, Initial: 50 * time.Millisecond, Max: 2 * time.Second}
	undo := []saga.UndoOption{saga.UndoTimeout(attemptTimeout), saga.UndoRetry(durable.Retry{Initial: 50 * time.Millisecond, Max: 2 * time.Second})}
	pause := func(ctx context.Context) error {
		select {
		case <-time.After(stepDelay):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	b := saga.New[Order, Receipt]("payment", "1")
	authorized := saga.Step(b, "authorize", func(ctx saga.Context, o Order) (string, error) {
		if err := pause(ctx); err != nil {
			return "", err
		}
		return verdictOf(c.Authorize(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.Card, o.AmountCents))
	}).Retry(retry).Timeout(attemptTimeout+stepDelay).Undo(func(ctx saga.UndoContext, _ Order, _ saga.Maybe[string]) error {
		return c.Void(ctx, ctx.Key(), ctx.Attempt(), ctx.ForwardKey())
	}, undo...)
	reserved := saga.Step(b, "reserve", func(ctx saga.Context, o Order) (string, error) {
		if err := pause(ctx); err != nil {
			return "", err
		}
		return verdictOf(c.Reserve(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.SKU, o.Qty))
	}).Retry(retry).Timeout(attemptTimeout+stepDelay).Undo(func(ctx saga.UndoContext, _ Order, _ saga.Maybe[string]) error {
		return c.Release(ctx, ctx.Key(), ctx.Attempt(), ctx.ForwardKey())
	}, undo...)
	captured := saga.Pivot(b, "capture", func(ctx saga.Context, o Order) (string, error) {
		if err := pause(ctx); err != nil {
			return "", err
		}
		return verdictOf(c.Capture(ctx, ctx.Key(), ctx.Attempt(), o.ID, authorized.Of(ctx), o.AmountCents))
	}).Retry(retry).Timeout(attemptTimeout + stepDelay).Verify(func(ctx saga.Context, _ Order) (saga.Verdict[string], error) {
		capture, happened, err := c.VerifyCapture(ctx, ctx.Key(), ctx.Attempt())
		switch {
		case err != nil:
			return saga.Unknown[string](), err // asked again
		case happened:
			return saga.Happened(capture), nil
		}
		return saga.NoEffect[string](), nil // the gateway refuses the key from now on
	})
	shipped := saga.Step(b, "ship", func(ctx saga.Context, o Order) (string, error) {
		if err := pause(ctx); err != nil {
			return "", err
		}
		return verdictOf(c.Ship(ctx, ctx.Key(), ctx.Attempt(), o.ID, reserved.Of(ctx)))
	}).Retry(retryForever()).Timeout(attemptTimeout + stepDelay).Retriable()
	posted := saga.Step(b, "receipt", func(ctx saga.Context, o Order) (string, error) {
		if err := pause(ctx); err != nil {
			return "", err
		}
		return verdictOf(c.Receipt(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.AmountCents))
	}).Retry(retryForever()).Timeout(attemptTimeout + stepDelay).Retriable()
	return b.Build(func(ctx saga.Context, o Order) (Receipt, error) {
		return Receipt{Order: o.ID, Capture: captured.Of(ctx), Tracking: shipped.Of(ctx), Entry: posted.Of(ctx)}, nil
	})
}

// retryForever begins quickly, for a demonstration on one machine, and keeps
// the default of steps after the pivot in all else: 24 h.
func retryForever() durable.Retry {
	return durable.Retry{Initial: 50 * time.Millisecond, Max: 2 * time.Second}
}

// verdictOf turns a participant's refusal, which proves that the attempt had
// no effect, into a rejection. Every other error leaves the step in doubt.
func verdictOf(id string, err error) (string, error) {
	var refused *participant.Rejected
	if errors.As(err, &refused) {
		return "", saga.Reject(err)
	}
	return id, err
}
