package saga_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

type Trip struct{ Traveller, Card string }

// The participants of the examples: in earnest, calls to other services, which
// get c.Key() as their idempotency key.
func bookFlight(c saga.Context, t Trip) (string, error) { return "KL123", nil }
func cancelFlight(c saga.UndoContext, t Trip, flight saga.Maybe[string]) error {
	fmt.Println("flight cancelled, booked under", c.ForwardKey())
	return nil
}
func bookHotel(c saga.Context, t Trip) (string, error) { return "room 7", nil }
func cancelHotel(c saga.UndoContext, t Trip, room saga.Maybe[string]) error {
	number, known := room.Get()
	fmt.Println("hotel cancelled:", number, known)
	return nil
}
func charge(c saga.Context, t Trip) (string, error) {
	if t.Card == "expired" {
		return "", saga.Reject(errors.New("card expired"))
	}
	return "charge-1", nil
}
func findCharge(c saga.Context, t Trip) (saga.Verdict[string], error) {
	return saga.Happened("charge-1"), nil
}
func sendTickets(c saga.Context, t Trip) error { return nil }

// tripSaga is the declaration that the README shows.
func tripSaga() (*saga.Saga[Trip, string], error) {
	b := saga.New[Trip, string]("trip", "1")

	flight := saga.Step(b, "flight", bookFlight).Undo(cancelFlight)
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)
	saga.Pivot(b, "charge", charge).Verify(findCharge) // from here on only forward
	saga.Do(b, "tickets", sendTickets).Retriable()

	return b.Build(func(c saga.Context, t Trip) (string, error) {
		return t.Traveller + " flies " + flight.Of(c), nil
	})
}

// A trip is booked, or everything that was booked is cancelled again, whatever
// happens to the processes on the way.
func Example() {
	trip, err := tripSaga()
	if err != nil {
		fmt.Println(err) // every mistake in the declaration, with file and line
		return
	}
	engine, _ := durable.New(mem.New(), durable.Options{})
	_ = engine.Register(trip)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- engine.Run(ctx) }()
	defer func() { stop(); <-stopped }()

	for _, t := range []Trip{{"Ada", "visa"}, {"Bob", "expired"}} {
		execution, err := trip.Start(ctx, engine, "trip-of-"+t.Traveller, t)
		if err != nil {
			fmt.Println(err)
			return
		}
		result, err := execution.Wait(ctx)
		fmt.Println(result, err)
	}
	// Output:
	// Ada flies KL123 <nil>
	// hotel cancelled: room 7 true
	// flight cancelled, booked under trip-of-Bob/1/flight
	//  saga "trip" rejected: step "charge" failed after 1 attempt(s): card expired (undone: hotel, flight)
}
