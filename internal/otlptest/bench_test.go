package otlptest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/sqlite"
	"github.com/clewdev/clew/telemetry"
)

// BenchmarkThroughput runs sagas of five steps on SQLite with full fsync, in short
// rounds: without telemetry and with it, exporting to a collector in a process of its
// own, in turn. What is reported is the median over rounds of the throughput with it,
// of that without, and of what a saga costs more of processors.
func BenchmarkThroughput(b *testing.B) {
	for _, load := range []struct {
		name   string
		flight int
		pause  time.Duration // of each step, as for a call to elsewhere
	}{{"one-at-a-time", 1, 0}, {"64-at-once", 64, 0}, {"64-at-once-steps-of-5ms", 64, 5 * time.Millisecond}} {
		for _, sampled := range []struct {
			name string
			by   sdktrace.Sampler
		}{{"all", sdktrace.AlwaysSample()}, {"a-tenth", sdktrace.TraceIDRatioBased(0.1)}, {"100-a-second", telemetry.PerSecond(40)}} { // of both sides' time, and as many at once
			b.Run(load.name+"/"+sampled.name, func(b *testing.B) {
				provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(otlp(b), sdktrace.WithMaxQueueSize(1<<14)), sdktrace.WithSampler(telemetry.Sampler(sdktrace.ParentBased(sampled.by))), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
				defer provider.Shutdown(context.Background())
				observer, err := telemetry.New(telemetry.Options{TracerProvider: provider, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
				if err != nil {
					b.Fatal(err)
				}
				inTurn(b, newSide(b, nil, load.flight, load.pause), newSide(b, observer, load.flight, load.pause))
			})
		}
	}
}

// otlp is an exporter to a collector in a process of its own, as it would be.
func otlp(b *testing.B) sdktrace.SpanExporter {
	b.Helper()
	collector := exec.Command(os.Args[0])
	collector.Env = append(os.Environ(), collectorVar+"=1")
	in, err := collector.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := collector.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := collector.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = collector.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	exporter, err := otlptracegrpc.New(b.Context(), otlptracegrpc.WithEndpoint(strings.TrimSpace(address)), otlptracegrpc.WithInsecure())
	if err != nil {
		b.Fatal(err)
	}
	return exporter
}

// collectorVar makes this program a collector that keeps nothing.
const collectorVar = "OTLPTEST_COLLECTOR"

// collect runs the collector until its input ends.
func collect() error {
	c, err := Start(context.Background())
	if err != nil {
		return err
	}
	c.discard = true
	fmt.Println(c.grpc)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// inTurn runs rounds on both sides and reports how they compare.
func inTurn(b *testing.B, off, on *side) {
	off.round(b)
	on.round(b)
	var ratios, rates, costs, more []float64
	for i := 0; b.Loop(); i++ {
		sides := []*side{off, on}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, s := range sides {
			s.round(b)
		}
		ratios, rates = append(ratios, on.rate/off.rate), append(rates, off.rate)
		costs, more = append(costs, off.cpu), append(more, on.cpu-off.cpu)
	}
	for _, r := range []struct {
		of   []float64
		q    float64
		what string
	}{{ratios, 0.25, "of-without-q1"}, {ratios, 0.5, "of-without"}, {ratios, 0.75, "of-without-q3"}, {rates, 0.5, "sagas/s-without"}, {costs, 0.5, "cpu-µs/saga-without"}, {more, 0.5, "cpu-µs/saga-more"}} {
		slices.Sort(r.of)
		b.ReportMetric(r.of[int(r.q*float64(len(r.of)-1))], r.what)
	}
}

// side is an engine of its own, on a file of its own.
type side struct {
	sg     *saga.Saga[int, int]
	e      *durable.Engine
	flight int // sagas at once
	next   atomic.Int64
	rate   float64 // of the last round, by second
	cpu    float64 // of this process, in µs by saga
}

func newSide(b *testing.B, observer durable.Observer, flight int, pause time.Duration) *side {
	b.Helper()
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "bench.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := &side{sg: fiveSteps(b, pause), flight: flight}
	if s.e, err = durable.New(store, durable.Options{Concurrency: 64, Observer: observer}); err != nil {
		b.Fatal(err)
	}
	if err := s.e.Register(s.sg); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.e.Run(ctx) }()
	time.Sleep(50 * time.Millisecond) // until it runs: before, sagas would only be queued
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func fiveSteps(b *testing.B, pause time.Duration) *saga.Saga[int, int] {
	b.Helper()
	builder := saga.New[int, int]("bench", "1")
	for i := range 5 {
		saga.Step(builder, fmt.Sprint("step ", i), func(saga.Context, int) (int, error) { time.Sleep(pause); return i, nil }).
			Undo(func(saga.UndoContext, int, saga.Maybe[int]) error { return nil })
	}
	sg, err := builder.Build(func(saga.Context, int) (int, error) { return 1, nil })
	if err != nil {
		b.Fatal(err)
	}
	return sg
}

// round runs sagas for a while.
func (s *side) round(b *testing.B) {
	b.Helper()
	began, before, first := time.Now(), consumed(b), s.next.Load()
	var wg sync.WaitGroup
	for range s.flight {
		wg.Go(func() {
			for time.Since(began) < 400*time.Millisecond {
				x, err := s.sg.Start(b.Context(), s.e, fmt.Sprintf("saga-%08d", s.next.Add(1)), 1)
				if err == nil {
					_, err = x.Wait(b.Context())
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := float64(s.next.Load() - first)
	s.rate, s.cpu = n/time.Since(began).Seconds(), float64((consumed(b)-before).Microseconds())/n
}

// consumed is the time that this process has had of processors.
func consumed(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
