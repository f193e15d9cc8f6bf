package outputoflaterstep

import "github.com/clewdev/clew/saga"

func passed() {
	b := saga.New[Trip, string]("trip", "1")
	var hotel saga.Output[string]
	saga.Step(b, "flight", book).Undo(func(c saga.UndoContext, t Trip, _ saga.Maybe[string]) error {
		_, _ = hotel.Get(c.Context) // an undo may ask whether it came to that
		return nil
	})
	hotel = saga.Step(b, "hotel", book).Undo(cancel)
	saga.Step(b, "taxi", func(c saga.Context, t Trip) (string, error) { return hotel.Of(c), nil }).ReadOnly()
}

// In a loop the step of the round before is meant.
func loop() {
	b := saga.New[Trip, string]("trip", "1")
	var last saga.Output[string]
	for _, name := range []string{"a", "b"} {
		before := last
		last = saga.Step(b, name, func(c saga.Context, t Trip) (string, error) {
			v, _ := before.Get(c)
			return v, nil
		}).ReadOnly()
	}
}
