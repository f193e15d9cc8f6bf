package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleWaitForCondition() {
	// The carrier says where a parcel is; here it moves each time one asks.
	places := []string{"depot", "van", "door"}
	where := func(context.Context, string) (string, error) {
		place := places[0]
		places = places[1:]
		return place, nil
	}
	delivery := durable.Define("delivery", "1", func(ctx *durable.Context, parcel string) (string, error) {
		seen, err := durable.WaitForCondition(ctx, "delivered", []string(nil), func(ctx context.Context, seen []string) ([]string, bool, error) {
			place, err := where(ctx, parcel)
			if err != nil {
				return seen, false, nil // ask again later: an error would end it
			}
			return append(seen, place), place == "door", nil
		}, durable.WithRetry(durable.Retry{MaxAttempts: 100, Initial: time.Millisecond}))
		if errors.Is(err, durable.ErrConditionNotMet) {
			return "lost", nil
		}
		return fmt.Sprint(seen), err
	})
	ctx, engine, stop := running(delivery)
	defer stop()
	execution, err := delivery.Start(ctx, engine, "delivery-17", "parcel-17")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: [depot van door] <nil>
}
