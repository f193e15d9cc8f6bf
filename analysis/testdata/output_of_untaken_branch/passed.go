package outputofuntakenbranch

import "github.com/clewdev/clew/saga"

func passed() {
	b := saga.New[Trip, string]("trip", "1")
	far := saga.When(b, "far", isFar)
	flight := saga.Step(far, "flight", book).ReadOnly()
	saga.Step(far, "seat", func(c saga.Context, t Trip) (string, error) {
		return flight.Of(c), nil // inside of the branch
	}).ReadOnly()
	very := saga.When(far, "very far", func(c saga.Context, t Trip) bool { return flight.Of(c) != "" })
	saga.Step(very, "lounge", func(c saga.Context, t Trip) (string, error) { return flight.Of(c), nil }).ReadOnly()
	_, _ = b.Build(func(c saga.Context, t Trip) (string, error) {
		if v, ok := flight.Get(c); ok {
			return v, nil
		}
		return "stays", nil
	})
}
