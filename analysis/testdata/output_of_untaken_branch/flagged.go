package outputofuntakenbranch

import "github.com/clewdev/clew/saga"

type Trip struct{ Far bool }

func book(saga.Context, Trip) (string, error) { return "", nil }

func isFar(c saga.Context, t Trip) bool { return t.Far }

func flagged() {
	b := saga.New[Trip, string]("trip", "1")
	far := saga.When(b, "far", isFar)
	flight := saga.Step(far, "flight", book).ReadOnly()
	group := saga.Parallel(far, "rooms")
	hotel := saga.Step(group, "hotel", book).ReadOnly()
	saga.Step(b, "charge", func(c saga.Context, t Trip) (string, error) {
		return flight.Of(c), nil // want `^output-of-untaken-branch: the body of step "charge" reads the output of step "flight" outside of its branch "far", which may not have been taken: use Get$`
	}).ReadOnly()
	_, _ = b.Build(func(c saga.Context, t Trip) (string, error) {
		return hotel.Of(c), nil // want `output-of-untaken-branch: the result of the saga reads the output of step "hotel" outside of its branch "far"`
	})
}
