package durable_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleReceive() {
	basket := durable.Define("basket", "1", func(ctx *durable.Context, customer string) ([]string, error) {
		var articles []string
		for len(articles) < 3 {
			article, err := durable.Receive[string](ctx, "add", 30*time.Minute)
			if errors.Is(err, durable.ErrSignalTimeout) {
				break // what there is has to do
			}
			if err != nil {
				return nil, err
			}
			articles = append(articles, article)
		}
		return articles, nil
	})
	ctx, engine, stop := running(basket)
	defer stop()
	execution, err := basket.Start(ctx, engine, "basket-17", "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, article := range []string{"cup", "plate", "plate", "spoon"} {
		click := fmt.Sprint("click-", max(i, 1)) // two of them are the same click, sent twice
		if err := engine.Signal(ctx, "basket-17", "add", article, click); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(execution.Wait(ctx))
	fmt.Println(errors.Is(engine.Signal(ctx, "basket-17", "add", "fork", ""), durable.ErrEnded))
	// Output:
	// [cup plate spoon] <nil>
	// true
}
