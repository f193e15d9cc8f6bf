package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// with runs an engine over a definition while use does.
func with(def durable.Registrable, use func(ctx context.Context, engine *durable.Engine)) {
	engine, err := durable.New(mem.New(), durable.Options{})
	if err == nil {
		err = engine.Register(def)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- engine.Run(ctx) }()
	defer func() { stop(); <-stopped }()
	use(ctx, engine)
}

// travel runs one trip to its end and prints what came of it.
func travel(trip *saga.Saga[Trip, string], err error, t Trip) {
	if err != nil {
		fmt.Println(err)
		return
	}
	with(trip, func(ctx context.Context, engine *durable.Engine) {
		execution, err := trip.Start(ctx, engine, "trip-of-"+t.Traveller, t)
		if err != nil {
			fmt.Println(err)
			return
		}
		result, err := execution.Wait(ctx)
		fmt.Println(result, err)
	})
}

func bookCar(c saga.Context, t Trip) (string, error) { return "car 3", nil }
func cancelCar(c saga.UndoContext, t Trip, car saga.Maybe[string]) error {
	fmt.Println("car cancelled")
	return nil
}
func askForVisa(c saga.Context, t Trip) error {
	return saga.Reject(errors.New("no visa"))
}

// The members of a group run beside each other. When one fails, the others are
// asked to stop and waited for, and then the group is undone with all that came
// before it.
func ExampleParallel() {
	b := saga.New[Trip, string]("trip", "1")
	flight := saga.Step(b, "flight", bookFlight).Undo(cancelFlight)

	there := saga.Parallel(b, "there")
	hotel := saga.Step(there, "hotel", bookHotel).Undo(cancelHotel)
	ground := there.Branch("ground") // its steps follow each other
	car := saga.Step(ground, "car", bookCar).Undo(cancelCar)
	saga.Do(ground, "insurance", func(c saga.Context, t Trip) error {
		fmt.Println("insured:", car.Of(c)) // of its own branch; not hotel.Of
		return nil
	}).Irreversible("the insurer drops what never began")

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) {
		return strings.Join([]string{flight.Of(c), hotel.Of(c), car.Of(c)}, ", "), nil
	})
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output:
	// insured: car 3
	// KL123, room 7, car 3 <nil>
}

// A group is undone in reverse order of the starts, one step after the other,
// before what came before it.
func ExampleGroup_UndoTogether() {
	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "flight", bookFlight).Undo(cancelFlight)
	there := saga.Parallel(b, "there").UndoTogether() // its undos do not wait for each other
	saga.Step(there, "car", bookCar).Undo(cancelCar)
	saga.Do(b, "visa", askForVisa).Irreversible("nobody minds that somebody asked")
	trip, err := b.Build(func(saga.Context, Trip) (string, error) { return "", nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output:
	// car cancelled
	// flight cancelled, booked under trip-of-Ada/1/flight
	//  saga "trip" rejected: step "visa" failed after 1 attempt(s): no visa (undone: car, flight)
}

// A branch is taken or not, and stays so: what its condition decided is recorded.
func ExampleWhen() {
	b := saga.New[Trip, string]("trip", "1")
	flight := saga.Step(b, "flight", bookFlight).Undo(cancelFlight)

	late := saga.When(b, "arrives late", func(c saga.Context, t Trip) bool {
		return flight.Of(c) == "KL123"
	})
	room := saga.Step(late, "hotel", bookHotel).Undo(cancelHotel)

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) {
		if number, booked := room.Get(c); booked { // outside of the branch: Get, not Of
			return flight.Of(c) + ", " + number, nil
		}
		return flight.Of(c), nil
	})

	travel(trip, err, Trip{Traveller: "Ada"})
	// Output: KL123, room 7 <nil>
}

// A person approves what a saga asks for, or refuses, upon which it unwinds. It
// takes no process to wait.
func ExampleAwait() {
	asked := make(chan string, 1)
	sendMail := func(_ context.Context, key, to, answerTo string) error {
		asked <- answerTo
		return nil
	}
	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)

	by := saga.Await[string](b, "approval", func(c saga.Context, t Trip, callbackID string) error {
		return sendMail(c, c.Key(), "boss@example.com", callbackID)
	}).Timeout(7 * 24 * time.Hour).Irreversible("a mail was sent")

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) {
		return "approved by " + by.Of(c), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	with(trip, func(ctx context.Context, engine *durable.Engine) {
		for _, name := range []string{"Ada", "Bob"} {
			execution, err := trip.Start(ctx, engine, "trip-of-"+name, Trip{Traveller: name})
			if err != nil {
				fmt.Println(err)
				return
			}
			callbackID := <-asked
			if name == "Ada" {
				err = engine.CompleteCallback(ctx, callbackID, "Grace")
			} else {
				err = engine.FailCallback(ctx, callbackID, errors.New("no budget"))
			}
			if err != nil {
				fmt.Println(err)
			}
			result, err := execution.Wait(ctx)
			fmt.Println(result, err)
		}
	})
	// Output:
	// approved by Grace <nil>
	// hotel cancelled: room 7 true
	//  saga "trip" rejected: callback "approval": no budget (undone: hotel)
}

// A sub-saga runs inside of its parent: in its execution, with its undos in
// their place among the parent's.
func ExampleSub() {
	stay := saga.New[string, string]("stay", "1")
	room := saga.Step(stay, "room", func(c saga.Context, guest string) (string, error) { return "room 7", nil }).
		Undo(func(c saga.UndoContext, guest string, _ saga.Maybe[string]) error {
			fmt.Println("room of", guest, "cancelled")
			return nil
		})
	staying, err := stay.Build(func(c saga.Context, guest string) (string, error) { return room.Of(c), nil })
	if err != nil {
		fmt.Println(err)
		return
	}

	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "flight", bookFlight).Undo(cancelFlight)
	where := saga.Sub(b, "stay", staying, func(c saga.Context, t Trip) (string, error) {
		return t.Traveller, nil // the sub-saga's input
	})
	saga.Do(b, "visa", askForVisa).Irreversible("nobody minds that somebody asked")

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return where.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output:
	// room of Ada cancelled
	// flight cancelled, booked under trip-of-Ada/1/flight
	//  saga "trip" rejected: step "visa" failed after 1 attempt(s): no visa (undone: stay/room, flight)
}

// The body of a step may be a durable function, which takes its time and goes on
// where it was after a crash.
func ExampleRun() {
	b := saga.New[Trip, string]("trip", "1")

	parcel := saga.Run(b, "passport", func(ctx *durable.Context, t Trip) (string, error) {
		id, err := durable.Step(ctx, "send", func(context.Context) (string, error) { return "parcel 5", nil })
		if err != nil {
			return "", err
		}
		return id, durable.Wait(ctx, "until it is there", 10*time.Millisecond)
	}).Undo(func(c saga.UndoContext, t Trip, parcel saga.Maybe[string]) error {
		return nil // call it back
	})

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return parcel.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output: parcel 5 <nil>
}

// A Limit keeps a participant from being asked by more bodies at once, or more
// often, than it can bear, whatever the number of sagas.
func ExampleNewLimit() {
	gateway := saga.NewLimit(4, 50) // at most 4 at once, at most 50 a second, in this process

	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "hotel", bookHotel).Limit(gateway).Undo(cancelHotel)
	charged := saga.Pivot(b, "charge", charge).Limit(gateway).Verify(findCharge)

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return charged.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output: charge-1 <nil>
}

// A wait is durable: no process needs to live through it.
func ExampleWait() {
	b := saga.New[Trip, string]("trip", "1").Timeout(30 * 24 * time.Hour).UnwindTimeout(time.Hour)
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)
	saga.Wait(b, "time to reconsider", 10*time.Millisecond)
	charged := saga.Pivot(b, "charge", charge).ParkInDoubt()
	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return charged.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output: charge-1 <nil>
}
