// Package practices holds what docs/best-practices.md shows, compiled and, where
// something is to be seen, run. It is not built with the module.
package practices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
)

// Order is what the handlers are about.
type Order struct {
	ID     string
	Lines  map[string]int // count by article
	Amount int
}

// The world outside.
var (
	reserve = func(ctx context.Context, key, article string, n int) error { return ctx.Err() }
	charge  = func(ctx context.Context, key string, amount int) (string, error) { return key, ctx.Err() }
	refund  = func(ctx context.Context, key, receipt string) error { return ctx.Err() }
	mail    = func(ctx context.Context, key, text string) error { return ctx.Err() }
	render  = func(ctx context.Context, order string) ([]byte, error) { return []byte(order), ctx.Err() }
	upload  = func(ctx context.Context, key string, b []byte) (string, error) { return "s3://" + key, ctx.Err() }
)

func sortedLines(ctx *durable.Context, o Order) error {
	at, err := durable.Now(ctx)
	if err != nil {
		return err
	}
	if at.Weekday() == time.Sunday {
		return durable.Wait(ctx, "until Monday", 24*time.Hour)
	}
	articles := make([]string, 0, len(o.Lines))
	for article := range o.Lines {
		articles = append(articles, article)
	}
	slices.Sort(articles)
	for _, article := range articles {
		if err := reserveLine(ctx, article, o.Lines[article]); err != nil {
			return err
		}
	}
	return nil
}

func reserveLine(ctx *durable.Context, article string, n int) error {
	_, err := durable.Step(ctx, "reserve "+article, func(ctx context.Context) (struct{}, error) {
		info, _ := durable.StepInfoFrom(ctx)
		return struct{}{}, reserve(ctx, info.Key, article, n)
	})
	return err
}

func chargeOnce(ctx *durable.Context, o Order) (string, error) {
	return durable.Step(ctx, "charge", func(ctx context.Context) (string, error) {
		info, _ := durable.StepInfoFrom(ctx)
		return charge(ctx, info.Key, o.Amount) // the same key on every attempt
	}, durable.WithKeyLifetime(24*time.Hour)) // as long as the gateway remembers it
}

func oneEffectEach(ctx *durable.Context, o Order) error {
	receipt, err := chargeOnce(ctx, o)
	if err != nil {
		return err
	}
	_, err = durable.Step(ctx, "receipt", func(ctx context.Context) (struct{}, error) {
		info, _ := durable.StepInfoFrom(ctx)
		return struct{}{}, mail(ctx, info.Key, receipt)
	})
	return err
}

func invoiceByReference(ctx *durable.Context, o Order) (string, error) {
	return durable.Step(ctx, "invoice", func(ctx context.Context) (string, error) {
		b, err := render(ctx, o.ID)
		if err != nil {
			return "", err
		}
		info, _ := durable.StepInfoFrom(ctx)
		return upload(ctx, info.Key, b) // the journal gets its address
	})
}

var (
	ship1 = durable.Define("ship", "1", func(ctx *durable.Context, o Order) (string, error) {
		return chargeOnce(ctx, o)
	})
	ship2 = durable.Define("ship", "2", func(ctx *durable.Context, o Order) (string, error) {
		if err := reserveLine(ctx, "box", 1); err != nil {
			return "", err
		}
		return chargeOnce(ctx, o)
	})
)

func serve(engine *durable.Engine) error {
	return engine.Register(ship1, ship2) // until nothing is in flight on version 1
}

func undoOnTheWayOut(ctx *durable.Context, o Order) error {
	receipt, err := chargeOnce(ctx, o)
	if err != nil {
		return err
	}
	err = durable.Wait(ctx, "cooling off", time.Hour)
	if errors.Is(err, durable.ErrCancelled) {
		_, failed := durable.Step(ctx.Unwinding(), "refund", func(ctx context.Context) (struct{}, error) {
			info, _ := durable.StepInfoFrom(ctx)
			return struct{}{}, refund(ctx, info.Key, receipt)
		})
		return errors.Join(err, failed)
	}
	return err
}

func branchesOfTheEngine(ctx *durable.Context, orders []string) ([]string, error) {
	answers, err := durable.Map(ctx, "ask", orders, func(ctx *durable.Context, order string, _ int) (string, error) {
		return durable.WaitForCallback[string](ctx, "approval", func(ctx context.Context, callbackID string) error {
			return mail(ctx, order, callbackID)
		})
	})
	if err != nil {
		return nil, err
	}
	return answers.Values(), answers.Err()
}

func handOver(ctx *durable.Context) (string, error) {
	label := durable.Go(ctx, "label", func(ctx *durable.Context) (string, error) {
		return durable.Step(ctx, "print", func(context.Context) (string, error) { return "label", nil })
	})
	box := durable.Go(ctx, "box", func(ctx *durable.Context) (string, error) {
		printed, err := label.Wait(ctx) // durable, and known to every replay
		if err != nil {
			return "", err
		}
		return printed + " on a box", nil
	})
	return box.Wait(ctx)
}

// Account is what a year of signals adds up to.
type Account struct {
	Balance int
	Seen    int
}

func account(ctx *durable.Context, a Account) (Account, error) {
	for range 1000 { // operations of one run stay few
		amount, err := durable.Receive[int](ctx, "booking", 30*24*time.Hour)
		if errors.Is(err, durable.ErrSignalTimeout) {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		a.Balance, a.Seen = a.Balance+amount, a.Seen+1
	}
	return a, durable.ContinueAsNew(ctx, a)
}

func book(ctx context.Context, engine *durable.Engine, account, booking string, amount int) error {
	return engine.Signal(ctx, account, "booking", amount, booking) // sent again, it counts once
}

func stopPolitely(ctx context.Context, engine *durable.Engine, id string) error {
	err := engine.Cancel(ctx, id, "ada", "the customer has called")
	if errors.Is(err, durable.ErrDelivered) || errors.Is(err, durable.ErrEnded) {
		return nil // somebody was quicker
	}
	return err
}

// Shop does what a customer sees.
var Shop = durable.Define("shop", "1", func(ctx *durable.Context, o Order) (string, error) {
	if err := sortedLines(ctx, o); err != nil {
		return "", err
	}
	if err := oneEffectEach(ctx, o); err != nil {
		return "", err
	}
	if _, err := invoiceByReference(ctx, o); err != nil {
		return "", err
	}
	if err := undoOnTheWayOut(ctx, o); err != nil {
		return "", err
	}
	printed, err := handOver(ctx)
	return fmt.Sprint(o.ID, ": ", printed), err
})
