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
	Address     string `json:"address"`
}

// Receipt is what a paid order ends with.
type Receipt struct {
	Order    string `json:"order"`
	Capture  string `json:"capture"`
	Tracking string `json:"tracking"`
	Entry    string `json:"entry"`
}

// shares are those of orders that do not go well, each 0 to 1.
type shares struct{ decline, fraud, nowhere, stuck float64 }

// newOrder makes the n-th order of a run. It depends on its arguments alone,
// so that a second run means the same orders.
func newOrder(n int, seed uint64, s shares) Order {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	o := Order{
		ID: participant.OrderID(n), Card: "tok_visa",
		AmountCents: 100 + r.Int64N(50_000), SKU: fmt.Sprintf("sku-%d", r.IntN(20)), Qty: 1 + r.IntN(3),
	}
	declined, risky, nowhere, stuck := r.Float64() < s.decline, r.Float64() < s.fraud, r.Float64() < s.nowhere, r.Float64() < s.stuck
	o.Address = fmt.Sprintf("%d High St", 1+r.IntN(200))
	switch {
	case stuck: // it is refused once its stock is reserved, which is then not given back
		o.Card, o.SKU = participant.RiskyCard, participant.JammedSKU
	case declined:
		o.Card = participant.DeclinedCard
	case risky:
		o.Card = participant.RiskyCard
	case nowhere:
		o.Address = participant.NoAddress
	}
	return o
}

// How long an attempt of a call may take.
const (
	// attemptTimeout is short: the participants are on this machine, and those
	// that delay a request are to be given up on.
	attemptTimeout = time.Second
	// deployedTimeout has room for a function that starts cold.
	deployedTimeout = 5 * time.Second
)

// participants is what the saga needs of the outside; *participant.Client
// brings it over HTTP.
type participants interface {
	Authorize(ctx context.Context, key string, attempt int, order, card string, amountCents int64) (string, error)
	Void(ctx context.Context, key string, attempt int, forwardKey string) error
	Reserve(ctx context.Context, key string, attempt int, order, sku string, qty int) (string, error)
	Release(ctx context.Context, key string, attempt int, forwardKey string) error
	Screen(ctx context.Context, key string, attempt int, order, card string, amountCents int64) (string, error)
	Dismiss(ctx context.Context, key string, attempt int, forwardKey string) error
	CheckAddress(ctx context.Context, key string, attempt int, order, address string) (string, error)
	Capture(ctx context.Context, key string, attempt int, order, authorization string, amountCents int64) (string, error)
	VerifyCapture(ctx context.Context, key string, attempt int) (capture string, happened bool, err error)
	Ship(ctx context.Context, key string, attempt int, order, reservation string) (string, error)
	Receipt(ctx context.Context, key string, attempt int, order string, amountCents int64) (string, error)
}

// The versions of the saga. The first made the two checks one after the other.
// Orders in flight end on the version that they started on, so it stays until
// `clew versions` has none on it any more.
var versions = []string{"1", "2"}

// everyVersion declares the saga, every version of it, the latest one last.
func everyVersion(c participants, attempt, stepDelay time.Duration) (all []*saga.Saga[Order, Receipt], err error) {
	for _, version := range versions {
		sg, err := payment(c, version, attempt, stepDelay)
		if err != nil {
			return nil, err
		}
		all = append(all, sg)
	}
	return all, nil
}

// payment declares a version of the saga: authorize the card, reserve the stock,
// look at the order from two sides, capture the money, which is the point of no
// return, ship, and send the receipt.
func payment(c participants, version string, attempt, stepDelay time.Duration) (*saga.Saga[Order, Receipt], error) {
	retry := durable.Retry{MaxAttempts: 8, Initial: 50 * time.Millisecond, Max: 2 * time.Second}
	undo := []saga.UndoOption{saga.UndoTimeout(attempt), saga.UndoRetry(durable.Retry{Initial: 50 * time.Millisecond, Max: 2 * time.Second})}
	timeout := attempt + stepDelay

	b := saga.New[Order, Receipt]("payment", version)
	authorized := saga.Step(b, "authorize", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Authorize(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.Card, o.AmountCents)
	})).Retry(retry).Timeout(timeout).Undo(by(c.Void), undo...)
	reserved := saga.Step(b, "reserve", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Reserve(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.SKU, o.Qty)
	})).Retry(retry).Timeout(timeout).Undo(by(c.Release), undo...)
	checks := saga.Scope[Order](b)
	if version != "1" {
		checks = saga.Parallel(b, "checks")
	}
	saga.Step(checks, "fraud score", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Screen(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.Card, o.AmountCents)
	})).Retry(retry).Timeout(timeout).Undo(by(c.Dismiss), undo...)
	saga.Step(checks, "address check", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.CheckAddress(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.Address)
	})).Retry(retry).Timeout(timeout).ReadOnly()
	captured := saga.Pivot(b, "capture", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Capture(ctx, ctx.Key(), ctx.Attempt(), o.ID, authorized.Of(ctx), o.AmountCents)
	})).Retry(retry).Timeout(timeout).Verify(func(ctx saga.Context, _ Order) (saga.Verdict[string], error) {
		capture, happened, err := c.VerifyCapture(ctx, ctx.Key(), ctx.Attempt())
		switch {
		case err != nil:
			return saga.Unknown[string](), err // asked again
		case happened:
			return saga.Happened(capture), nil
		}
		return saga.NoEffect[string](), nil // the gateway refuses the key from now on
	})
	shipped := saga.Step(b, "ship", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Ship(ctx, ctx.Key(), ctx.Attempt(), o.ID, reserved.Of(ctx))
	})).Retry(retryForever()).Timeout(timeout).Retriable()
	posted := saga.Step(b, "receipt", after(stepDelay, func(ctx saga.Context, o Order) (string, error) {
		return c.Receipt(ctx, ctx.Key(), ctx.Attempt(), o.ID, o.AmountCents)
	})).Retry(retryForever()).Timeout(timeout).Retriable()
	return b.Build(func(ctx saga.Context, o Order) (Receipt, error) {
		return Receipt{Order: o.ID, Capture: captured.Of(ctx), Tracking: shipped.Of(ctx), Entry: posted.Of(ctx)}, nil
	})
}

// after is a step's body that pauses and then calls a participant, whose
// refusal, as it proves that the attempt had no effect, is a rejection. Every
// other error leaves the step in doubt.
func after(pause time.Duration, call func(saga.Context, Order) (string, error)) func(saga.Context, Order) (string, error) {
	return func(ctx saga.Context, o Order) (string, error) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		id, err := call(ctx, o)
		if refused(err) {
			return "", saga.Reject(err)
		}
		return id, err
	}
}

// by is an undo that tells the participant the key of what it is to undo, which
// it needs nothing else for: it is the same whether the step is in doubt or not.
// A refusal will be the same tomorrow, so it is for a person at once.
func by(call func(ctx context.Context, key string, attempt int, forwardKey string) error) func(saga.UndoContext, Order, saga.Maybe[string]) error {
	return func(ctx saga.UndoContext, _ Order, _ saga.Maybe[string]) error {
		err := call(ctx, ctx.Key(), ctx.Attempt(), ctx.ForwardKey())
		if refused(err) {
			return durable.Permanent(err)
		}
		return err
	}
}

func refused(err error) bool {
	var refused *participant.Rejected
	return errors.As(err, &refused)
}

// retryForever begins quickly, for a demonstration on one machine, and keeps
// the default of steps after the pivot in all else: 24 h.
func retryForever() durable.Retry {
	return durable.Retry{Initial: 50 * time.Millisecond, Max: 2 * time.Second}
}
