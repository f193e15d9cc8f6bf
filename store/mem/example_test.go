package mem_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// A store is used through an engine; here its own calls show what a claim is.
// The first owner dies after one commit, the second goes on from there, and
// whatever the first still sends is fenced.
func ExampleStore_KillOwner() {
	ctx, now := context.Background(), time.Now()
	store := mem.New()
	err := store.Create(ctx, &durable.Create{
		Identity: durable.Identity{ID: "order-17", Definition: "order", Version: "1", Created: now},
		Now:      now,
		Owner:    "first/1",
		First: &durable.Commit{
			Seq: 1, Now: now, Status: durable.StatusRunning, Lease: now.Add(30 * time.Second),
			Entries: []durable.Entry{{Kind: durable.EntryStart, Op: 1, At: now, First: true, Type: durable.OpStep, Name: "charge"}},
		},
	})
	fmt.Println("created:", err)

	claim := &durable.Claim{ID: "order-17", Owner: "second/1", Now: now, Lease: now.Add(30 * time.Second)}
	_, err = store.Claim(ctx, claim)
	fmt.Println("claimed:", err)

	store.KillOwner("first")
	rec, err := store.Claim(ctx, claim)
	fmt.Println("claimed after the death:", err)
	fmt.Println("started:", rec.Journal[0].Name, "- crashes:", rec.Crashes, "- safe up to epoch", rec.SafeEpoch)

	_, err = store.Commit(ctx, &durable.Commit{ID: "order-17", Epoch: 1, Seq: 2, Now: now, Status: durable.StatusSucceeded})
	fmt.Println("late commit:", err)
	// Output:
	// created: <nil>
	// claimed: durable: execution is not due
	// claimed after the death: <nil>
	// started: charge - crashes: 1 - safe up to epoch 1
	// late commit: durable: fenced: the claim is no longer held
}
