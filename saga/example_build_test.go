package saga_test

import (
	"fmt"
	"strings"

	"github.com/clewdev/clew/saga"
)

// Build names every mistake with the line of its declaration and how to mend
// it. Much does not get as far: the compiler refuses it.
func ExampleBuilder_Build() {
	b := saga.New[Trip, string]("trip", "1")
	saga.Pivot(b, "charge", charge).ParkInDoubt()
	saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)
	_, err := b.Build(func(saga.Context, Trip) (string, error) { return "", nil })
	for _, line := range strings.Split(err.Error(), "\n") {
		_, mistake, _ := strings.Cut(line, ": ")
		fmt.Println(mistake)
	}
	// Output:
	//
	// step "hotel" can be undone but comes after the pivot "charge" (example_build_test.go:14), past which nothing is undone: move it before the pivot, or make it Retriable
}
