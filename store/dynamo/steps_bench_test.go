package dynamo

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
)

// The benchmarks in this file are of the engine over a Store, where those of
// bench_test.go are of a Store alone. The floor is the same: the very requests
// that it sent, once more on twins.

// newBenchEngine runs an engine over a table of its own, until the benchmark
// ends.
func newBenchEngine(b *testing.B, client *dynamodb.Client, def *durable.Definition[string, string]) (*durable.Engine, *capture) {
	b.Helper()
	api := &capture{API: client}
	e, err := durable.New(open(b, api, newTable(b, client)), durable.Options{Concurrency: 64})
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return e, api
}

// BenchmarkStep is a step of an execution that has many: from the end of one
// body to the begin of the next, which in turn sends again what was written
// between.
func BenchmarkStep(b *testing.B) {
	const id, warm = "long", 300
	onServers(b, func(b *testing.B, client *dynamodb.Client) {
		var api *capture
		var took, raws []time.Duration
		var began time.Time // of the step
		def := durable.Define("long", "1", func(ctx *durable.Context, _ string) (string, error) {
			for n := 0; n < warm || b.Loop(); n++ {
				if n == warm {
					took, raws = nil, nil
				}
				_, err := durable.Step(ctx, "charge", func(ctx context.Context) (string, error) {
					took = append(took, time.Since(began))
					again, begin := api.take(id), time.Now()
					for _, send := range again {
						if err := send(ctx, "twin-of-"+id); err != nil {
							return "", err
						}
					}
					raws = append(raws, time.Since(begin))
					began = time.Now()
					return text200, nil
				})
				if err != nil {
					return "", err
				}
			}
			return "", nil
		})
		e, api2 := newBenchEngine(b, client, def)
		api, began = api2, time.Now()
		x, err := def.Start(b.Context(), e, id, text200)
		if err == nil {
			_, err = x.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		step, raw := p50(took), p50(raws)
		b.ReportMetric(step, "p50-µs")
		b.ReportMetric(raw, "raw-p50-µs")
		b.ReportMetric(step/raw, "of-raw")
	})
}

// BenchmarkExecutions is 64 executions of twenty steps at once, from start to
// end, and then what they wrote, as many at once.
func BenchmarkExecutions(b *testing.B) {
	const flight, steps, warm = 64, 20, 2
	onServers(b, func(b *testing.B, client *dynamodb.Client) {
		def := durable.Define("twenty", "1", func(ctx *durable.Context, _ string) (string, error) {
			for range steps {
				if _, err := step(ctx, "charge"); err != nil {
					return "", err
				}
			}
			return text200, nil
		})
		e, api := newBenchEngine(b, client, def)
		var engine, raws atomic.Int64 // nanoseconds
		writes := 0
		for n := 0; n < warm || b.Loop(); n++ {
			if n == warm {
				engine.Store(0)
				raws.Store(0)
				writes = 0
			}
			id := func(i int) string { return fmt.Sprintf("order-%d-%d", n, i) }
			together(&engine, flight, func(i int) {
				x, err := def.Start(b.Context(), e, id(i), text200)
				if err == nil {
					_, err = x.Wait(b.Context())
				}
				if err != nil {
					b.Error(err)
				}
			})
			again := make([][]resend, flight)
			for i := range again {
				again[i] = api.take(id(i))
				writes += len(again[i])
			}
			together(&raws, flight, func(i int) {
				for _, send := range again[i] {
					if err := send(b.Context(), "twin-of-"+id(i)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		perSecond := func(d *atomic.Int64) float64 { return float64(writes) / time.Duration(d.Load()).Seconds() }
		b.ReportMetric(perSecond(&engine), "writes/s")
		b.ReportMetric(perSecond(&raws), "raw/s")
		b.ReportMetric(perSecond(&engine)/perSecond(&raws), "of-raw")
	})
}

func onServers(b *testing.B, f func(b *testing.B, client *dynamodb.Client)) {
	for _, server := range []string{"DynamoDB Local", "dynalite"} {
		b.Run(server, func(b *testing.B) { f(b, servers[server](b)) })
	}
}
