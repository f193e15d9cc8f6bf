package outputofanothersaga

import (
	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

type Trip struct{}

func book(saga.Context, Trip) (string, error) { return "", nil }

func flagged() {
	first := saga.New[Trip, string]("first", "1")
	flight := saga.Step(first, "flight", book).ReadOnly()
	second := saga.New[Trip, string]("second", "1").Timeout(durable.DefaultTimeout)
	hotel := saga.Step(second, "hotel", func(c saga.Context, t Trip) (string, error) {
		v, _ := flight.Get(c) // want `^output-of-another-saga: the body of step "hotel" reads the output of step "flight", which belongs to another saga \("first", line 13\): it is never there; hand the value over in the saga's input, or declare the step in this saga$`
		return v, nil
	}).ReadOnly()
	_, _ = first.Build(func(c saga.Context, t Trip) (string, error) {
		return hotel.Of(c), nil // want `output-of-another-saga: the result of the saga reads`
	})
}
