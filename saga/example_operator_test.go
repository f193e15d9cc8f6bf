package saga_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// A pivot that nobody can tell the outcome of parks the saga: it neither goes
// on nor unwinds until a person has looked.
func ExamplePivotStep_ParkInDoubt() {
	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)
	charged := saga.Pivot(b, "charge", func(saga.Context, Trip) (string, error) {
		return "", durable.Permanent(errors.New("no answer from the gateway"))
	}).ParkInDoubt()
	trip, err := b.Build(func(c saga.Context, _ Trip) (string, error) { return charged.Of(c), nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	store := mem.New()
	engine, _ := durable.New(store, durable.Options{})
	_ = engine.Register(trip)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- engine.Run(ctx) }()
	defer func() { stop(); <-stopped }()

	execution, _ := trip.Start(ctx, engine, "t1", Trip{Traveller: "Ada"})
	_, err = execution.Wait(ctx)
	var parked *durable.ParkedError
	fmt.Println(errors.As(err, &parked), parked.Park.Reason, parked.Park.Verbs)

	record, _ := store.Load(ctx, "t1", durable.LoadHead)
	fmt.Println(saga.StatusOf(&record.Head))
	err = engine.Act(ctx, "t1", record.Revision, durable.Decision{
		Verb: durable.VerbResolve, Output: []byte(`"charge-9"`),
		Actor: "ada", Reason: "found it on the gateway's statement",
	})
	fmt.Println(err)
	fmt.Println(execution.Wait(ctx))
	// Output:
	// true pivot-in-doubt [retry resolve]
	// running/stuck
	// <nil>
	// charge-9 <nil>
}
