package outputofanothersaga

import "github.com/clewdev/clew/saga"

func passed() {
	b := saga.New[Trip, string]("first", "1")
	var scope saga.Scope[Trip] = b
	booking := saga.Step(saga.Scope[Trip](scope), "flight", book)
	flight := booking.ReadOnly()
	charged := saga.Pivot(b, "charge", func(c saga.Context, t Trip) (string, error) { return flight.Of(c), nil }).ParkInDoubt()
	_, _ = b.Build(func(c saga.Context, t Trip) (string, error) { return flight.Of(c) + charged.Of(c), nil })
}

// two scopes may be of the same saga.
func two(a, b saga.Scope[Trip]) {
	flight := saga.Step(a, "flight", book).ReadOnly()
	saga.Step(b, "hotel", func(c saga.Context, t Trip) (string, error) { return flight.Of(c), nil }).ReadOnly()
}
