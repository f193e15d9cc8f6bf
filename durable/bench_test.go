package durable_test

import (
	"context"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// BenchmarkReplay is an execution of ten thousand steps that is taken up again
// and again: from the handler's first line to the first thing that is new.
func BenchmarkReplay(b *testing.B) {
	const n = 10_000
	replays := make(chan time.Duration)
	def := durable.Define("long", "1", func(ctx *durable.Context, _ int) (int, error) {
		began := time.Now()
		for i := range n {
			if _, err := durable.Step(ctx, "step", func(context.Context) (int, error) { return i, nil }); err != nil {
				return 0, err
			}
		}
		replays <- time.Since(began)
		for {
			if err := durable.Wait(ctx, "pause", time.Millisecond); err != nil {
				return 0, err
			}
		}
	})
	e, err := durable.New(mem.New(), durable.Options{HotWait: -1, PollMin: time.Millisecond})
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	if _, err := def.Start(b.Context(), e, "long", 0); err != nil {
		b.Fatal(err)
	}
	<-replays // that was no replay
	var sum time.Duration
	for b.Loop() {
		sum += <-replays
	}
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(b.N), "ms/replay")
	stop()
	go func() { // whoever replays meanwhile
		for range replays {
		}
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
