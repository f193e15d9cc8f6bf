package saga_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/clewdev/clew/saga"
)

// room is a participant whose state other sagas can see between our steps.
type room struct {
	mu      sync.Mutex
	version int
	price   int
	holder  string // of the semantic lock
	sold    bool
}

func (r *room) hold(_ context.Context, by string) (price, version int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sold || r.holder != "" && r.holder != by {
		return 0, 0, errors.New("held for another guest")
	}
	r.holder = by
	return r.price, r.version, nil
}

func (r *room) release(_ context.Context, by string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder == by {
		r.holder = ""
	}
	return nil
}

func (r *room) sell(_ context.Context, by string, version int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return fmt.Errorf("the room is at version %d, not %d", r.version, version)
	}
	r.sold = true
	return nil
}

type offer struct{ Price, Version int }

// What sagas lack is isolation: others see what stands between two steps. A
// semantic lock keeps them from acting on it, a version that is read again keeps
// this saga from acting on what others have changed.
func Example_isolation() {
	seven := &room{price: 80, version: 1}
	b := saga.New[Trip, string]("stay", "1")

	// A semantic lock: held by key, so that a repeat is no second holder, and
	// given back by the undo.
	held := saga.Step(b, "hold", func(c saga.Context, t Trip) (offer, error) {
		price, version, err := seven.hold(c, c.Key())
		if err != nil {
			return offer{}, saga.Reject(err)
		}
		return offer{price, version}, nil
	}).Undo(func(c saga.UndoContext, t Trip, _ saga.Maybe[offer]) error {
		return seven.release(c, c.ForwardKey())
	})

	// By value: what is at stake decides how much care it gets.
	dear := saga.When(b, "dear", func(c saga.Context, t Trip) bool { return held.Of(c).Price > 1000 })
	saga.Do(dear, "look at the guest", func(c saga.Context, t Trip) error { return nil }).ReadOnly()

	saga.Step(b, "renovate", func(c saga.Context, t Trip) (string, error) {
		seven.version++ // meanwhile somebody changes the room
		return "", nil
	}).Irreversible("it stands for another saga")

	// Reread value: the point of no return names the version that it was decided on.
	sold := saga.Pivot(b, "sell", func(c saga.Context, t Trip) (string, error) {
		if err := seven.sell(c, c.Key(), held.Of(c).Version); err != nil {
			return "", saga.Reject(err)
		}
		return "sold", nil
	}).ParkInDoubt()

	stay, err := b.Build(func(c saga.Context, t Trip) (string, error) { return sold.Of(c), nil })
	travel(stay, err, Trip{Traveller: "Ada"})
	fmt.Printf("held by %q\n", seven.holder)
	// Output:
	//  saga "stay" rejected: step "sell" failed after 1 attempt(s): the room is at version 2, not 1 (undone: hold)
	// held by ""
}
