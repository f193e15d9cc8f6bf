package saga_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// A provider checks an identity: it says that it is still at work, or the saga
// gives it up; and who is checked is reminded meanwhile.
func ExampleForward_Remind() {
	const day = 50 * time.Millisecond // in earnest 24 hours
	asked := make(chan string, 1)
	b := saga.New[Trip, string]("trip", "1")
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)

	saga.Await[string](b, "passport check", func(c saga.Context, t Trip, callbackID string) error {
		asked <- callbackID
		return nil
	}).Timeout(3*day).Heartbeat(2*day).Remind(day, func(c saga.Context, t Trip, callbackID string) error {
		fmt.Println(t.Traveller, "is reminded, under key", c.Key())
		return nil
	}).Undo(func(c saga.UndoContext, t Trip, answer saga.Maybe[string]) error {
		fmt.Println("the check is withdrawn, because", c.Cause())
		return nil
	})

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return "bon voyage", nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	with(trip, func(ctx context.Context, engine *durable.Engine) {
		execution, err := trip.Start(ctx, engine, "trip-of-ada", Trip{Traveller: "Ada"})
		if err != nil {
			fmt.Println(err)
			return
		}
		<-asked // nobody answers, nor says engine.HeartbeatCallback(ctx, callbackID)
		_, err = execution.Wait(ctx)
		fmt.Println(err)
	})
	// Output:
	// Ada is reminded, under key trip-of-ada/1/passport check/reminders/reminder
	// the check is withdrawn, because callback "passport check": durable: callback timed out for want of a heartbeat
	// hotel cancelled: room 7 true
	// saga "trip" failed: callback "passport check": durable: callback timed out for want of a heartbeat (undone: passport check, hotel)
}
