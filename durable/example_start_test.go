package durable_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func ExampleDefinition_Start_options() {
	remind := durable.Define("remind", "1", func(ctx *durable.Context, customer string) (string, error) {
		return durable.Step(ctx, "mail", func(context.Context) (string, error) { return customer + " is reminded", nil })
	})
	ctx, engine, stop := running(remind)
	defer stop()
	execution, err := remind.Start(ctx, engine, "remind-ada", "Ada",
		durable.WithDelay(50*time.Millisecond), // in earnest: tomorrow
		durable.WithRetention(90*24*time.Hour), // then it is deleted, with its history
		durable.WithTags(map[string]string{"tenant": "acme"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = remind.Start(ctx, engine, "remind-bob", "Bob", durable.WithTags(map[string]string{"tenant": "other"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	query := durable.ListQuery{Definition: "remind", Tags: map[string]string{"tenant": "acme"}, Limit: 100}
	for more := true; more; more = query.Cursor != "" {
		page, err := engine.Store().List(ctx, &query)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, head := range page.Heads {
			fmt.Println(head.ID, head.Status)
		}
		query.Cursor = page.Next
	}
	fmt.Println(execution.Wait(ctx))
	// Output:
	// remind-ada pending
	// Ada is reminded <nil>
}
