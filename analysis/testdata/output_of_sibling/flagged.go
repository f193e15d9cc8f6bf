package outputofsibling

import (
	"time"

	"github.com/clewdev/clew/saga"
)

type Trip struct{ Far bool }

func book(saga.Context, Trip) (string, error) { return "", nil }

func cancel(saga.UndoContext, Trip, saga.Maybe[string]) error { return nil }

func flagged() {
	b := saga.New[Trip, string]("trip", "1")
	group := saga.Parallel(b, "bookings")
	flight := saga.Step(group, "flight", book).Undo(cancel)
	saga.Step(group, "hotel", func(c saga.Context, t Trip) (string, error) {
		return "near " + flight.Of(c), nil // want `^output-of-sibling: the body of step "hotel" reads the output of step "flight", which runs beside it in the group "bookings" and may not be done: read it in a step after the group, or declare "flight" before the group$`
	}).Undo(func(c saga.UndoContext, t Trip, room saga.Maybe[string]) error {
		_, ok := flight.Get(c.Context) // want `output-of-sibling: the undo of step "hotel" reads`
		_ = ok
		return nil
	})
	saga.When(group, "far", func(c saga.Context, t Trip) bool {
		return flight.Of(c) == "" // want `output-of-sibling: the condition of "far" reads`
	})
}

func branches() {
	b := saga.New[Trip, string]("trip", "1")
	group := saga.Parallel(b, "bookings")
	left := saga.When(group, "left", func(saga.Context, Trip) bool { return true })
	right := saga.When(group, "right", func(saga.Context, Trip) bool { return true })
	flight := saga.Step(left, "flight", book).ReadOnly()
	describe := func(c saga.Context) string {
		v, _ := flight.Get(c) // want `output-of-sibling: the body of step "hotel" reads`
		return v
	}
	saga.Do(right, "hotel", func(c saga.Context, t Trip) error {
		_ = describe(c)
		return nil
	}).ReadOnly()
	saga.Await[string](right, "answer", func(c saga.Context, t Trip, id string) error {
		_ = flight.Of(c) // want `output-of-sibling: the body of step "answer" reads`
		return nil
	}).Remind(time.Hour, func(c saga.Context, t Trip, id string) error {
		_ = flight.Of(c) // want `output-of-sibling: the body of step "answer" reads`
		return nil
	}).ReadOnly()
}

// sequences: branches of a group run beside each other and beside its steps.
func sequences(rental *saga.Saga[string, string]) {
	b := saga.New[Trip, string]("trip", "1")
	group := saga.Parallel(b, "bookings").UndoTogether()
	way := group.Branch("way")
	flight := saga.Step(way, "flight", book).Undo(cancel)
	stay := group.Branch("stay")
	saga.Step(stay, "hotel", func(c saga.Context, t Trip) (string, error) {
		return flight.Of(c), nil // want `output-of-sibling: the body of step "hotel" reads the output of step "flight", which runs beside it in the group "bookings"`
	}).Undo(cancel)
	car := saga.Sub(group, "car", rental, func(c saga.Context, t Trip) (string, error) {
		return flight.Of(c), nil // want `output-of-sibling: the input of sub-saga "car" reads the output of step "flight"`
	})
	saga.Step(way, "transfer", func(c saga.Context, t Trip) (string, error) {
		return car.Of(c), nil // want `output-of-sibling: the body of step "transfer" reads the output of step "car"`
	}).Undo(cancel)
}
