package saga_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// The trip of version 1 is in flight. The next build has version 2 only, which
// undoes the hotel too, but cannot go on with it.
func ExampleCheck() {
	ctx := context.Background()
	trip := func(version string) *saga.Saga[Trip, string] {
		b := saga.New[Trip, string]("trip", version)
		saga.Step(b, "hotel", bookHotel).Undo(cancelHotel)
		saga.Pivot(b, "charge"+version, charge).ParkInDoubt()
		sg, err := b.Build(func(saga.Context, Trip) (string, error) { return "", nil })
		if err != nil {
			panic(err)
		}
		return sg
	}
	old, store := trip("1"), mem.New()
	e, err := durable.New(store, durable.Options{}) // which does not run
	if err != nil {
		panic(err)
	}
	if err := e.Register(old); err != nil {
		panic(err)
	}
	if _, err := old.Start(ctx, e, "trip-1", Trip{}); err != nil {
		panic(err)
	}

	var manifest bytes.Buffer // a file of the build
	if err := saga.WriteManifest(&manifest, trip("2")); err != nil {
		panic(err)
	}
	build, err := saga.ReadManifest(&manifest)
	if err != nil {
		panic(err)
	}
	report, err := saga.Check(ctx, store, build)
	if err != nil {
		panic(err)
	}
	for _, c := range report.Checked {
		fmt.Printf("%s@%s: %s %v, since %s\n", c.Saga, c.Version, c.Fit, c.IDs, c.Why)
	}
	// Output:
	// trip@1: unwind [trip-1], since version 1 is not in this build
}
