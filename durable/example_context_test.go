package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
)

func ExampleContext_Park() {
	payout := durable.Define("payout", "1", func(ctx *durable.Context, account string) (string, error) {
		decision, err := ctx.Park("four eyes", durable.Park{
			Reason: "large-payout", Message: "9,000 to " + account, Verbs: []durable.Verb{durable.VerbResolve},
		})
		if err != nil {
			return "", err
		}
		if decision.NoEffect {
			return "refused by " + decision.Actor, nil
		}
		return durable.Step(ctx, "pay", func(context.Context) (string, error) { return "paid", nil })
	})
	ctx, engine, stop := running(payout)
	defer stop()
	execution, err := payout.Start(ctx, engine, "payout-17", "DE17")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = execution.Wait(ctx)
	var parked *durable.ParkedError
	if !errors.As(err, &parked) {
		fmt.Println(err)
		return
	}
	fmt.Println(parked.Park.Reason, parked.Park.Message)

	record, err := engine.Store().Load(ctx, "payout-17", durable.LoadHead)
	if err != nil {
		fmt.Println(err)
		return
	}
	decision := durable.Decision{Verb: durable.VerbResolve, Output: []byte("true"), Actor: "grace", Reason: "I know them"}
	fmt.Println(engine.Act(ctx, "payout-17", record.Revision, decision))
	fmt.Println(execution.Wait(ctx))
	// Output:
	// large-payout 9,000 to DE17
	// <nil>
	// paid <nil>
}

func ExampleContext_SetStatus() {
	order := durable.Define("order", "1", func(ctx *durable.Context, _ string) (string, error) {
		ctx.SetStatus("charging")
		if _, err := durable.Step(ctx, "charge", func(context.Context) (int, error) { return 4200, nil }); err != nil {
			return "", err
		}
		ctx.SetStatus("shipped")
		return "done", nil
	})
	ctx, engine, stop := running(order)
	defer stop()
	execution, err := order.Start(ctx, engine, "order-17", "cup")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	record, err := engine.Store().Load(ctx, "order-17", durable.LoadHead)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(record.Status, record.Detail)
	// Output:
	// done <nil>
	// succeeded shipped
}
