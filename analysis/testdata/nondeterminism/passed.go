package nondeterminism

import (
	"context"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/clewdev/clew/analysis/testdata/standin/uuid"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func passed(ctx *durable.Context, m map[string]int) error {
	if _, err := durable.Now(ctx); err != nil {
		return err
	}
	seed, err := durable.Rand(ctx)
	if err != nil {
		return err
	}
	_ = mathrand.New(mathrand.NewPCG(uint64(seed*1e9), 0)).IntN(6) // of its seed
	_ = uuid.NewSHA1(uuid.UUID{}, []byte(ctx.ExecutionID()))       // of its arguments
	_, err = durable.Step(ctx, "look", func(ctx context.Context) (int64, error) {
		select { // a body may do anything
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
		go os.Getenv("HOME")
		return time.Now().Unix(), nil
	})
	if err != nil {
		return err
	}
	sum := 0
	for _, n := range m { // no operation in it
		sum += n
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if err := nap(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// plain code is not replayed.
func plain() time.Time { return time.Now() }

func bodies() {
	b := saga.New[int, string]("s", "1")
	at := saga.Step(b, "clock", func(saga.Context, int) (string, error) { return time.Now().String(), nil }).ReadOnly()
	_, _ = b.Build(func(c saga.Context, _ int) (string, error) { return at.Of(c), nil })
}
