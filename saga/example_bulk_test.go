package saga_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// After an outage many sagas are parked for the same reason: look at what one of
// them would undo, then decide about all.
func Example_afterAnOutage() {
	closed := true
	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "hotel", bookHotel).Undo(func(saga.UndoContext, Trip, saga.Maybe[string]) error {
		if closed {
			return durable.Permanent(errors.New("the hotel's desk is closed"))
		}
		return nil
	})
	paid := saga.Pivot(b, "charge", func(saga.Context, Trip) (string, error) {
		return "", saga.Reject(errors.New("card declined"))
	}).ParkInDoubt()
	trip, err := b.Build(func(c saga.Context, _ Trip) (string, error) { return paid.Of(c), nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	engine, _ := durable.New(mem.New(), durable.Options{})
	_ = engine.Register(trip)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- engine.Run(ctx) }()
	defer func() { stop(); <-stopped }()
	for _, id := range []string{"t1", "t2"} {
		execution, _ := trip.Start(ctx, engine, id, Trip{Traveller: "Ada"})
		_, _ = execution.Wait(ctx) // parks
	}

	record, _ := engine.Store().Load(ctx, "t1", durable.LoadAll)
	plan := saga.PlanOf(record)
	for _, step := range plan.Undo {
		fmt.Println("undo", step.Name, string(step.Result), "by", step.UndoKey)
	}

	closed = false
	parked := durable.ListQuery{Definition: "trip", Statuses: []durable.Status{durable.StatusParked}}
	acts, err := engine.Decide(ctx, parked, func(h *durable.Head) (durable.Decision, bool) {
		d := durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "the desk is open again"}
		return d, h.Park.Reason == saga.ParkUndoFailed
	})
	if err != nil {
		fmt.Println(err)
	}
	for act := range engine.ActAll(ctx, acts) {
		fmt.Println(act.Decision.Verb, act.Head.ID, act.Err)
	}
	for _, id := range []string{"t1", "t2"} {
		_, err := trip.Attach(engine, id).Wait(ctx)
		fmt.Println(err)
	}
	// Output:
	// undo hotel "room 7" by t1/1/hotel/undo
	// retry t1 <nil>
	// retry t2 <nil>
	// saga "trip" rejected: step "charge" failed after 1 attempt(s): card declined (undone: hotel)
	// saga "trip" rejected: step "charge" failed after 1 attempt(s): card declined (undone: hotel)
}
