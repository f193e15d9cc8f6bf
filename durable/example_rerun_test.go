package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
)

func ExampleEngine_Rerun() {
	rates := map[string]int{} // what the second step needs, and an operator forgot
	price := durable.Define("price", "1", func(ctx *durable.Context, currency string) (int, error) {
		net, err := durable.Step(ctx, "net", func(context.Context) (int, error) {
			fmt.Println("net is worked out")
			return 40, nil
		})
		if err != nil {
			return 0, err
		}
		return durable.Step(ctx, "convert", func(context.Context) (int, error) {
			rate, ok := rates[currency]
			if !ok {
				return 0, durable.NoEffect(errors.New("no rate for " + currency))
			}
			return net * rate, nil
		})
	})
	ctx, engine, stop := running(price)
	defer stop()
	execution, err := price.Start(ctx, engine, "price-17", "SEK")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = execution.Wait(ctx)
	fmt.Println(err)

	rates["SEK"] = 11
	id, err := engine.Rerun(ctx, "price-17", "convert", "ada", "the rate is there now")
	fmt.Println(id, err)
	fmt.Println(price.Attach(engine, id).Wait(ctx))
	// Output:
	// net is worked out
	// step "convert" failed after 1 attempt(s): no rate for SEK
	// price-17~1 <nil>
	// 440 <nil>
}
