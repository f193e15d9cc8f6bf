package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleGo() {
	load := func(what string) func(*durable.Context) (string, error) {
		return func(ctx *durable.Context) (string, error) {
			return durable.Step(ctx, "load", func(context.Context) (string, error) { return what, nil })
		}
	}
	invoice := durable.Define("invoice", "1", func(ctx *durable.Context, order string) (string, error) {
		address := durable.Go(ctx, "address", load("Elm Street 1"))
		total, err := durable.Step(ctx, "total", func(context.Context) (int, error) { return 4200, nil })
		if err != nil {
			return "", err
		}
		to, err := address.Wait(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d to %s", total, to), nil
	})
	ctx, engine, stop := running(invoice)
	defer stop()
	execution, err := invoice.Start(ctx, engine, "invoice-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: 4200 to Elm Street 1 <nil>
}

func ExampleAll() {
	price := func(cents int) func(*durable.Context) (int, error) {
		return func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "look up", func(context.Context) (int, error) { return cents, nil })
		}
	}
	total := durable.Define("total", "1", func(ctx *durable.Context, _ string) (int, error) {
		cup, plate := durable.Go(ctx, "cup", price(700)), durable.Go(ctx, "plate", price(1200))
		prices, err := durable.All(ctx, cup, plate)
		if err != nil {
			return 0, err
		}
		return prices[0] + prices[1], nil
	})
	ctx, engine, stop := running(total)
	defer stop()
	execution, err := total.Start(ctx, engine, "total-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: 1900 <nil>
}

func ExampleAllSettled() {
	tell := func(err error) func(*durable.Context) (string, error) {
		return func(ctx *durable.Context) (string, error) {
			return durable.Step(ctx, "tell", func(context.Context) (string, error) { return "told", err })
		}
	}
	news := durable.Define("news", "1", func(ctx *durable.Context, _ string) (int, error) {
		mail := durable.Go(ctx, "mail", tell(nil))
		text := durable.Go(ctx, "text", tell(durable.Permanent(errors.New("no number"))))
		outcomes, err := durable.AllSettled(ctx, mail, text)
		if err != nil {
			return 0, err
		}
		told := 0
		for _, outcome := range outcomes {
			if outcome.Err == nil {
				told++
			}
		}
		return told, nil
	})
	ctx, engine, stop := running(news)
	defer stop()
	execution, err := news.Start(ctx, engine, "news-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: 1 <nil>
}

func ExampleAny() {
	charge := func(card string) func(*durable.Context) (string, error) {
		return func(ctx *durable.Context) (string, error) {
			return durable.Step(ctx, "authorize", func(context.Context) (string, error) {
				if card == "expired" {
					return "", durable.Permanent(errors.New("card has expired"))
				}
				return card, nil
			})
		}
	}
	pay := durable.Define("pay", "1", func(ctx *durable.Context, _ string) (string, error) {
		return durable.Any(ctx, durable.Go(ctx, "first", charge("expired")), durable.Go(ctx, "second", charge("valid")))
	})
	ctx, engine, stop := running(pay)
	defer stop()
	execution, err := pay.Start(ctx, engine, "pay-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: valid <nil>
}

func ExampleRace() {
	checkout := durable.Define("checkout", "1", func(ctx *durable.Context, order string) (string, error) {
		paid := durable.Go(ctx, "payment", func(ctx *durable.Context) (string, error) {
			return durable.Receive[string](ctx, "paid", 0)
		})
		late := durable.Go(ctx, "patience", func(ctx *durable.Context) (string, error) {
			return "given up", durable.Wait(ctx, "patience", 24*time.Hour)
		})
		return durable.Race(ctx, paid, late)
	})
	ctx, engine, stop := running(checkout)
	defer stop()
	execution, err := checkout.Start(ctx, engine, "checkout-17", "order-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(engine.Signal(ctx, "checkout-17", "paid", "paid by card", "payment-1"))
	fmt.Println(execution.Wait(ctx))
	// Output:
	// <nil>
	// paid by card <nil>
}
