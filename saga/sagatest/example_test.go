package sagatest_test

import (
	"fmt"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/saga/sagatest"
)

// Whatever fails, and wherever the process dies, a trip is booked whole or not at
// all.
func ExampleCrashEverywhere() {
	_ = func(t *testing.T) { // TestTripUnderCrashes
		p := &sagatest.Participant{}
		sagatest.CrashEverywhere(t, shortTrip(p), trip{"Ada"}, func(r *sagatest.Run) {
			stands := p.Of(r.ID)
			if r.Status.Unwind == saga.UnwindComplete && len(stands) > 0 {
				r.Errorf("undone, and standing is %v", stands)
			}
			if r.Head.Status == durable.StatusSucceeded && stands["charge"] != 1 {
				r.Errorf("committed, and standing is %v", stands)
			}
		}, sagatest.Answer("approval", "yes"))
	}
}

// Undos are called twice, and without their forward, and forwards too late.
func ExampleCheckUndos() {
	_ = func(t *testing.T) { // TestTripsUndos
		p := &sagatest.Participant{}
		sagatest.CheckUndos(t, tripSaga(p), trip{"Ada"}, p.Outside(), sagatest.Answer("approval", "yes"))
	}
}

// A test can ask what the saga came to, besides reading the table in its log.
func ExampleExplore() {
	_ = func(t *testing.T) { // TestTripsOutcomes
		p := &sagatest.Participant{}
		cov := sagatest.Explore(t, tripSaga(p), trip{"Ada"}, nil, sagatest.Answer("approval", "yes"))
		lost := sagatest.Injection{Step: "charge", Kind: saga.CallForward, Fault: sagatest.InDoubt}
		if got := cov.Outcomes(lost); len(got) != 1 || got[0] != "committed/none" {
			t.Errorf("the charge is in doubt: %v, want that Verify finds it", got)
		}
	}
}

// A participant that follows the rules: one effect per key, and none after an
// undo.
func ExampleParticipant() {
	var p sagatest.Participant
	fmt.Println(p.Do("trip-1/1/hotel", "room", 7), p.Do("trip-1/1/hotel", "room", 7), p.Standing())
	fmt.Println(p.Undo("trip-1/1/hotel"), p.Undo("trip-1/1/car"), p.Standing())
	fmt.Println(p.Do("trip-1/1/car", "car", 1))
	// Output:
	// <nil> <nil> map[room:1]
	// <nil> <nil> map[]
	// sagatest: refused: "trip-1/1/car" was undone
}
