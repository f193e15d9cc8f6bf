package outputoflaterstep

import "github.com/clewdev/clew/saga"

type Trip struct{}

func book(saga.Context, Trip) (string, error) { return "", nil }

func cancel(saga.UndoContext, Trip, saga.Maybe[string]) error { return nil }

func flagged() {
	b := saga.New[Trip, string]("trip", "1")
	var hotel, self saga.Output[string]
	saga.Step(b, "flight", func(c saga.Context, t Trip) (string, error) {
		v, _ := hotel.Get(c) // want `^output-of-later-step: the body of step "flight" reads the output of step "hotel", which runs only after it \(line 23\): declare "hotel" first$`
		return v, nil
	}).Verify(func(c saga.Context, t Trip) (saga.Verdict[string], error) {
		return saga.Happened(hotel.Of(c)), nil // want `output-of-later-step: the Verify of step "flight" reads`
	}).Undo(func(c saga.UndoContext, t Trip, _ saga.Maybe[string]) error {
		_ = hotel.Of(c.Context) // want `output-of-later-step: the undo of step "flight" reads`
		return nil
	})
	hotel = saga.Step(b, "hotel", book).Undo(cancel)
	self = saga.Step(b, "self", func(c saga.Context, t Trip) (string, error) {
		return self.Of(c), nil // want `output-of-later-step: the body of step "self" reads the step's own output`
	}).Undo(func(c saga.UndoContext, t Trip, _ saga.Maybe[string]) error {
		_ = self.Of(c.Context) // want `output-of-later-step: the undo of step "self" reads the step's own output with Of`
		return nil
	})
}
