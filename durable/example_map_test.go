package durable_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
)

func ExampleMap() {
	type line struct {
		Article string
		Count   int
	}
	reserve := durable.Define("reserve", "1", func(ctx *durable.Context, lines []line) ([]string, error) {
		reserved, err := durable.Map(ctx, "lines", lines, func(ctx *durable.Context, l line, _ int) (string, error) {
			return durable.Step(ctx, "reserve", func(context.Context) (string, error) {
				if l.Count > 10 {
					return "", durable.Permanent(errors.New("not in stock"))
				}
				return fmt.Sprintf("%d %s", l.Count, l.Article), nil
			})
		}, durable.WithItemNames(func(i int) string { return lines[i].Article }),
			durable.WithMaxConcurrency(4), durable.WithToleratedPercentage(50))
		if err != nil {
			return nil, err
		}
		for _, err := range reserved.Errors() {
			fmt.Println(err)
		}
		return reserved.Values(), nil
	})
	ctx, engine, stop := running(reserve)
	defer stop()
	execution, err := reserve.Start(ctx, engine, "reserve-17", []line{{"cup", 2}, {"plate", 40}, {"spoon", 6}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output:
	// child "plate": step "reserve" failed after 1 attempt(s): not in stock
	// [2 cup 6 spoon] <nil>
}

func ExampleFlat() {
	remind := durable.Define("remind", "1", func(ctx *durable.Context, customers []string) (int, error) {
		reminded, err := durable.Map(ctx, "customers", customers, func(ctx *durable.Context, customer string, _ int) (bool, error) {
			return durable.Step(ctx, "mail", func(ctx context.Context) (bool, error) {
				info, _ := durable.StepInfoFrom(ctx)
				return info.Key != "", nil
			})
		}, durable.Flat(), durable.WithMaxConcurrency(100))
		if err != nil {
			return 0, err
		}
		return len(reminded.Values()), reminded.Err()
	})
	ctx, engine, stop := running(remind)
	defer stop()
	execution, err := remind.Start(ctx, engine, "remind-1", make([]string, 1000))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: 1000 <nil>
}
