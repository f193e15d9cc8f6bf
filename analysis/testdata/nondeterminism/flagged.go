package nondeterminism

import (
	"crypto/rand"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/clewdev/clew/analysis/testdata/standin/uuid"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func nap(ctx *durable.Context, name string) error { return durable.Wait(ctx, name, time.Second) }

func flagged(ctx *durable.Context, late <-chan time.Time) error {
	start := time.Now()                      // want `^nondeterminism: time.Now in a handler differs on every run: use durable.Now, or read the clock in a step$`
	_ = time.Since(start)                    // want `nondeterminism: time.Since`
	time.Sleep(1)                            // want `nondeterminism: time.Sleep in a handler differs on every run: use durable.Wait`
	_ = mathrand.IntN(6)                     // want `nondeterminism: rand.IntN`
	_, _ = rand.Read(nil)                    // want `nondeterminism: rand.Read`
	_ = rand.Reader                          // want `nondeterminism: rand.Reader`
	_ = uuid.NewString()                     // want `nondeterminism: uuid.NewString`
	_ = os.Getenv("HOME")                    // want `nondeterminism: os.Getenv`
	_, _ = http.Get("http://")               // want `nondeterminism: http.Get`
	_, _ = http.DefaultClient.Get("http://") // want `nondeterminism: \(http.Client\).Get`
	<-late                                   // want `^nondeterminism: a receive from a channel in a handler`
	for range late {                         // want `nondeterminism: a receive from a channel`
	}
	go func() { _ = time.Now() }() // want `^nondeterminism: a goroutine in a handler`
	var wg sync.WaitGroup
	wg.Go(func() {}) // want `nondeterminism: \(sync.WaitGroup\).Go`
	sorted := func() time.Time {
		return time.Now() // want `nondeterminism: time.Now`
	}
	_ = sorted()
	select { // want `^nondeterminism: select in a handler`
	case <-late:
	default:
	}
	return nil
}

func loops(ctx *durable.Context, m map[string]int) error {
	for name := range m { // want `^nondeterminism: operations in a loop over a map, whose order differs on every run: loop over slices.Sorted\(maps.Keys\(…\)\)$`
		if err := nap(ctx, name); err != nil {
			return err
		}
	}
	for name := range maps.Keys(m) { // want `nondeterminism: operations in a loop over a map`
		if err := nap(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func result() {
	b := saga.New[int, string]("s", "1")
	_, _ = b.Build(func(saga.Context, int) (string, error) {
		return time.Now().String(), nil // want `^nondeterminism: time.Now in the result of the saga differs on every run: do it in a step and use the step's output$`
	})
}
