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

// discards is an exporter that costs nothing itself.
type discards struct{}

func (discards) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discards) Shutdown(context.Context) error                             { return nil }

// BenchmarkThroughput runs rounds of sagas of five steps on SQLite with full
// fsync: without telemetry and with it, in turn. What is reported is the median
// over rounds of the throughput with it, of that without.
func BenchmarkThroughput(b *testing.B) {
	for _, flight := range []int{1, 64} {
		for _, c := range []struct {
			name    string
			otlp    bool
			sampler sdktrace.Sampler
		}{
			{"discarding", false, sdktrace.AlwaysSample()},
			{"otlp", true, sdktrace.AlwaysSample()},
			{"otlp-a-tenth", true, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1))},
		} {
			b.Run(fmt.Sprintf("%d-in-flight/%s", flight, c.name), func(b *testing.B) {
				var exporter sdktrace.SpanExporter = discards{}
				if c.otlp {
					exporter = otlp(b)
				}
				provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithSampler(c.sampler), sdktrace.WithIDGenerator(telemetry.IDGenerator()))
				defer provider.Shutdown(context.Background())
				observer, err := telemetry.New(telemetry.Options{TracerProvider: provider, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
				if err != nil {
					b.Fatal(err)
				}
				inTurn(b, newSide(b, nil, flight), newSide(b, observer, flight), 40*flight+400)
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

// inTurn runs rounds of n sagas on both sides and reports how they compare.
func inTurn(b *testing.B, off, on *side, n int) {
	off.round(b, n)
	on.round(b, n)
	var ratios, costs []float64
	for i := 0; b.Loop(); i++ {
		sides := []*side{off, on}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, s := range sides {
			s.rate = s.round(b, n)
		}
		ratios, costs = append(ratios, on.rate/off.rate), append(costs, on.cpu-off.cpu)
	}
	slices.Sort(ratios)
	slices.Sort(costs)
	b.ReportMetric(ratios[len(ratios)/2], "of-without")
	b.ReportMetric(ratios[len(ratios)/4], "quartile")
	b.ReportMetric(ratios[len(ratios)*3/4], "quartile3")
	b.ReportMetric(off.rate, "sagas/s-without")
	b.ReportMetric(off.cpu, "cpu-µs/saga-without")
	b.ReportMetric(costs[len(costs)/2], "cpu-µs/saga-more")
}

// side is an engine of its own, on a file of its own.
type side struct {
	sg     *saga.Saga[int, int]
	e      *durable.Engine
	next   int
	flight int // sagas at once
	rate   float64
	cpu    float64 // of this process, in µs by saga
}

func newSide(b *testing.B, observer durable.Observer, flight int) *side {
	b.Helper()
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "bench.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := &side{sg: fiveSteps(b), flight: flight}
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

func fiveSteps(b *testing.B) *saga.Saga[int, int] {
	b.Helper()
	builder := saga.New[int, int]("bench", "1")
	for i := range 5 {
		saga.Step(builder, fmt.Sprint("step ", i), func(saga.Context, int) (int, error) { return i, nil }).
			Undo(func(saga.UndoContext, int, saga.Maybe[int]) error { return nil })
	}
	sg, err := builder.Build(func(saga.Context, int) (int, error) { return 1, nil })
	if err != nil {
		b.Fatal(err)
	}
	return sg
}

// round runs n sagas and returns how many that were in a second.
func (s *side) round(b *testing.B, n int) float64 {
	b.Helper()
	ids := make(chan string)
	var wg sync.WaitGroup
	for range s.flight {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for id := range ids {
				x, err := s.sg.Start(b.Context(), s.e, id, 1)
				if err == nil {
					_, err = x.Wait(b.Context())
				}
				if err != nil {
					b.Error(err)
				}
			}
		}()
	}
	began, before := time.Now(), consumed(b)
	for range n {
		s.next++
		ids <- fmt.Sprintf("saga-%08d", s.next)
	}
	close(ids)
	wg.Wait()
	s.cpu = float64((consumed(b) - before).Microseconds()) / float64(n)
	return float64(n) / time.Since(began).Seconds()
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
