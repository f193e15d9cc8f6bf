package saga_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// A durable function that is written as code keeps its undos on a Stack.
func ExampleStack() {
	tour := durable.Define("tour", "1", func(ctx *durable.Context, cities []string) (string, error) {
		undos := saga.NewStack(ctx)
		for _, city := range cities {
			err := undos.Register(city, func(c saga.UndoContext) error {
				fmt.Println("cancelled, booked under", c.ForwardKey())
				return nil
			})
			if err == nil {
				_, err = durable.Step(ctx, city, func(context.Context) (string, error) {
					if city == "Atlantis" {
						return "", durable.Permanent(errors.New("sold out"))
					}
					return "a hotel in " + city, nil
				})
			}
			if err != nil {
				return "", undos.Unwind(err)
			}
		}
		undos.Release() // what is booked stays
		return fmt.Sprint(len(cities), " cities"), nil
	})

	with(tour, func(ctx context.Context, engine *durable.Engine) {
		for id, cities := range [][]string{{"Paris", "Rome"}, {"Paris", "Atlantis"}} {
			execution, err := tour.Start(ctx, engine, fmt.Sprint("tour-", id), cities)
			if err != nil {
				fmt.Println(err)
				return
			}
			result, err := execution.Wait(ctx)
			fmt.Println(result, err)
		}
	})
	// Output:
	// 2 cities <nil>
	// cancelled, booked under tour-1/1/Atlantis
	// cancelled, booked under tour-1/1/Paris
	//  saga "tour-1" failed: step "Atlantis" failed after 1 attempt(s): sold out (undone: Atlantis, Paris)
}
