package outputofsibling

import "github.com/clewdev/clew/saga"

func passed() {
	b := saga.New[Trip, string]("trip", "1")
	card := saga.Step(b, "card", book).Undo(cancel)
	group := saga.Parallel(b, "bookings")
	flight := saga.Step(group, "flight", func(c saga.Context, t Trip) (string, error) {
		return card.Of(c), nil // declared before the group
	}).Undo(cancel)
	far := saga.When(group, "far", func(c saga.Context, t Trip) bool { return card.Of(c) != "" })
	train := saga.Step(far, "train", book).Undo(cancel)
	saga.Step(far, "hotel", func(c saga.Context, t Trip) (string, error) {
		return train.Of(c), nil // the step before it in the same branch
	}).Undo(cancel)
	saga.Step(b, "charge", func(c saga.Context, t Trip) (string, error) {
		return flight.Of(c), nil // after the group
	}).ReadOnly()
}

// helper declares on a scope that it does not know.
func helper(s saga.Scope[Trip], before saga.Output[string]) {
	saga.Step(s, "taxi", func(c saga.Context, t Trip) (string, error) { return before.Of(c), nil }).ReadOnly()
}

// In a branch of a group steps follow each other, and in its sub-saga.
func sequences2(rental *saga.Saga[string, string]) {
	b := saga.New[Trip, string]("trip", "1")
	card := saga.Step(b, "card", book).Undo(cancel)
	group := saga.Parallel(b, "bookings")
	way := group.Branch("way")
	flight := saga.Step(way, "flight", book).Undo(cancel)
	car := saga.Sub(way, "car", rental, func(c saga.Context, t Trip) (string, error) { return flight.Of(c) + card.Of(c), nil })
	answer := saga.Await[string](group, "answer", func(c saga.Context, t Trip, id string) error {
		_ = card.Of(c)
		return nil
	}).ReadOnly()
	_, _ = b.Build(func(c saga.Context, t Trip) (string, error) { return car.Of(c) + answer.Of(c), nil })
}
