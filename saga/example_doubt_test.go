package saga_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// airline is a participant as participants should be: it knows the keys of what
// it was asked for, and of what must not happen any more.
type airline struct {
	mu     sync.Mutex
	seats  map[string]string // by idempotency key
	undone map[string]bool   // tombstones
}

func newAirline() *airline {
	return &airline{seats: map[string]string{}, undone: map[string]bool{}}
}

var errUndone = errors.New("undone before it arrived")

// book gives the same answer to the same key, and refuses one with a tombstone.
func (a *airline) book(_ context.Context, key string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undone[key] {
		return "", errUndone
	}
	if a.seats[key] == "" {
		a.seats[key] = fmt.Sprint("seat ", len(a.seats)+1)
	}
	return a.seats[key], nil
}

// cancel takes back what was booked under a key. If that is nothing it leaves a
// tombstone, which refuses a request that is still on its way.
func (a *airline) cancel(_ context.Context, key string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.undone[key] = true
	delete(a.seats, key)
	return nil
}

// find tells whether a key was booked, and if it was not it never will be.
func (a *airline) find(_ context.Context, key string) (seat string, booked bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seat, booked = a.seats[key]
	a.undone[key] = a.undone[key] || !booked
	return seat, booked
}

// The reply of a booking is lost, and nobody knows what became of it. The undo
// gets no seat, only the key under which it was asked for, and a request that
// arrives after it is refused.
func ExampleUndoContext_ForwardKey() {
	klm := newAirline()
	onItsWay := ""

	b := saga.New[Trip, string]("trip", "1")
	seat := saga.Step(b, "seat", func(c saga.Context, t Trip) (string, error) {
		onItsWay = c.Key()
		return "", durable.Permanent(errors.New("connection lost")) // proves nothing
	}).Undo(func(c saga.UndoContext, t Trip, seat saga.Maybe[string]) error {
		number, known := seat.Get()
		fmt.Printf("undo: seat %q, known %v\n", number, known)
		return klm.cancel(c, c.ForwardKey()) // right in either case
	})

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return seat.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})

	_, err = klm.book(context.Background(), onItsWay) // now it arrives
	fmt.Println(err)
	// Output:
	// undo: seat "", known false
	//  saga "trip" failed: step "seat" failed after 1 attempt(s): connection lost (undone: seat)
	// undone before it arrived
}

// Verify finds out what became of a step in doubt. Answering NoEffect promises
// that the effect can no longer come about; the next attempt has a new key.
func ExampleForward_Verify() {
	klm := newAirline()
	booked := func(c saga.Context, t Trip) (string, error) {
		seat, err := klm.book(c, c.Key())
		if errors.Is(err, errUndone) {
			return "", saga.Reject(err)
		}
		if c.Attempt() == 1 { // the reply is lost
			err = errors.New("connection lost")
		}
		return seat, err
	}
	b := saga.New[Trip, string]("trip", "1")

	seat := saga.Pivot(b, "seat", booked).
		AtMostOnce(). // never a second request before it is known what became of the first
		Timeout(10 * time.Second).
		KeyLifetime(24 * time.Hour). // as the airline's terms say
		Retry(durable.Retry{MaxAttempts: 1}).
		Verify(func(c saga.Context, t Trip) (saga.Verdict[string], error) {
			if seat, booked := klm.find(c, c.Key()); booked {
				return saga.Happened(seat), nil
			}
			return saga.NoEffect[string](), nil
		})

	trip, err := b.Build(func(c saga.Context, t Trip) (string, error) { return seat.Of(c), nil })
	travel(trip, err, Trip{Traveller: "Ada"})
	// Output: seat 1 <nil>
}
