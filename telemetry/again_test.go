package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/telemetry"
)

// again is the telemetry of a process that comes later, over a provider of its own.
func again(t *testing.T, opts ...sdktrace.TracerProviderOption) *telemetry.Telemetry {
	t.Helper()
	provider := sdktrace.NewTracerProvider(append(opts, sdktrace.WithIDGenerator(telemetry.IDGenerator()))...)
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	tele, err := telemetry.New(telemetry.Options{TracerProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	return tele
}

// toldOf are the spans that come from records, by ID, each as all that is said of it.
func toldOf(spans tracetest.SpanStubs) map[trace.SpanID]string {
	all := map[trace.SpanID]string{}
	for _, s := range spans {
		if strings.HasPrefix(s.Name, "activation ") || strings.HasPrefix(s.Name, "attempt ") || strings.HasPrefix(s.Name, "POST ") {
			continue
		}
		all[s.SpanContext.SpanID()] = fmt.Sprint(s.Name, s.SpanContext.TraceID(), s.Parent.SpanID(), s.StartTime, s.EndTime, s.Attributes, s.Events, s.Links, s.Status)
	}
	return all
}

// TestTellEnded: a process tells again what others had told of executions that have
// ended since a time, page by page, to the letter; and nothing of those that go on,
// or ended before.
func TestTellEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newHosts(t, telemetry.Options{}, sg)
		_ = runs(h, sg.Definition, "early", "ada")
		since := time.Now()
		for i := range 7 {
			_ = runs(h, sg.Definition, fmt.Sprint("t", i), "ada")
		}
		var want tracetest.SpanStubs
		for _, s := range h.spans.GetSpans() {
			if text(s, "clew.execution.id") != "early" {
				want = append(want, s)
			}
		}
		if _, err := sg.Start(t.Context(), h.e, "goes-on", "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		spans := tracetest.NewInMemoryExporter()
		told, err := again(t, sdktrace.WithBatcher(spans)).TellEnded(t.Context(), h.store, durable.ListQuery{EndedFrom: since, Limit: 2})
		if err != nil || told != (telemetry.Told{Executions: 7}) {
			t.Errorf("got %+v, %v; want 7 executions", told, err)
		}
		was, is := toldOf(want), toldOf(spans.GetSpans())
		if len(is) != len(was) || len(spans.GetSpans()) != len(is) {
			t.Errorf("%d spans, %d of them different ones; want %d", len(spans.GetSpans()), len(is), len(was))
		}
		for id, s := range was {
			if is[id] != s {
				t.Errorf("told again it is\n%s\nwant\n%s", is[id], s)
			}
		}
	})
}

// coarse is a store that bills, and keeps the times of an execution to the
// millisecond, as one may.
type coarse struct{ *mem.Store }

func (coarse) Bills() bool { return true }

func (c coarse) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := c.Store.Load(ctx, id, what)
	if err == nil {
		rec.Created, rec.Ended = rec.Created.Truncate(time.Millisecond), rec.Ended.Truncate(time.Millisecond)
		rec.Usage.WriteUnits = 7
	}
	return rec, err
}

// TestToldAgainFromCoarseStore: spans have the times that the store keeps the first
// time too, and an execution ends with its last operation all the same.
func TestToldAgainFromCoarseStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, first, second := coarse{mem.New()}, tracetest.NewInMemoryExporter(), tracetest.NewInMemoryExporter()
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(1234 * time.Microsecond); return 1, nil })
		})
		e, err := durable.New(store, durable.Options{Observer: again(t, sdktrace.WithSyncer(first))})
		if err == nil {
			err = e.Register(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(777 * time.Microsecond)
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if _, err := def.Start(ctx, e, "x", 1); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := again(t, sdktrace.WithSyncer(second)).TellEnded(t.Context(), store, durable.ListQuery{}); err != nil {
			t.Fatal(err)
		}
		was, is := toldOf(first.GetSpans()), toldOf(second.GetSpans())
		for id, s := range was {
			if is[id] != s {
				t.Errorf("told again it is\n%s\nwant\n%s", is[id], s)
			}
		}
		own, step := find(t, first.GetSpans(), "d"), find(t, first.GetSpans(), "s")
		if len(was) != 2 || step.EndTime.After(own.EndTime) || step.StartTime.Before(own.StartTime) {
			t.Errorf("%d spans, the step's from %v to %v, its execution's from %v to %v; want 2, the one within the other", len(was), step.StartTime, step.EndTime, own.StartTime, own.EndTime)
		}
	})
}

// bystander counts what is read, and fails for some.
type bystander struct {
	durable.Store
	loads  int
	broken map[string]error
	second func() // is called by the second one
}

func (b *bystander) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if b.loads++; b.loads == 2 && b.second != nil {
		b.second()
	}
	if err := b.broken[id]; err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.Store.Load(ctx, id, what)
}

// TestTellEndedReadsWhatIsSampled: of what is not sampled the heads are read alone.
func TestTellEndedReadsWhatIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newSampled(t, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.5)), telemetry.Options{}, sg)
		const n = 24
		sampled := 0
		for i := range n {
			id := fmt.Sprint("t", i)
			_ = runs(h, sg.Definition, id, "ada")
			if len(h.of(id)) > 0 {
				sampled++
			} else if err := h.tele.Tell(t.Context(), h.record(id)); !errors.Is(err, telemetry.ErrNotSampled) {
				t.Errorf("Tell of %s: got %v, want ErrNotSampled", id, err)
			}
		}
		store := &bystander{Store: h.store}
		told, err := again(t, sdktrace.WithSyncer(tracetest.NewInMemoryExporter())).TellEnded(t.Context(), store, durable.ListQuery{})
		if want := (telemetry.Told{Executions: sampled, Unsampled: n - sampled}); err != nil || told != want || store.loads != sampled {
			t.Errorf("got %+v and %d reads, %v; want %+v and as many reads", told, store.loads, err, want)
		}
	})
}

// TestTellEndedInTrouble: what cannot be told is named, and the others are told;
// there is an end when the exporter takes nothing, or the context has ended.
func TestTellEndedInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, true)
		h := newHosts(t, telemetry.Options{}, sg)
		for i := range 100 {
			_ = runs(h, sg.Definition, fmt.Sprintf("t%03d", i), "ada")
		}
		torn := errors.New("its journal is torn")
		store := &bystander{Store: h.store, broken: map[string]error{"t007": torn, "t009": durable.ErrNotFound}}
		told, err := again(t, sdktrace.WithBatcher(tracetest.NewInMemoryExporter())).TellEnded(t.Context(), store, durable.ListQuery{})
		if !errors.Is(err, torn) || !strings.Contains(err.Error(), `"t007"`) || strings.Contains(err.Error(), "t009") || told.Executions != 98 {
			t.Errorf("got %+v, %v; want 98 executions, and t007 named", told, err)
		}
		for i := range 100 {
			store.broken[fmt.Sprintf("t%03d", i)] = torn
		}
		if _, err := again(t).TellEnded(t.Context(), store, durable.ListQuery{}); err == nil || strings.Count(err.Error(), "torn") != 10 || !strings.Contains(err.Error(), "90 more") {
			t.Errorf("where all are torn: got %v, want ten of them, and how many more", err)
		}
		store.broken = nil

		refused := errors.New("quota exceeded")
		took := collector{func(context.Context) error { return refused }}
		told, err = again(t, sdktrace.WithBatcher(took)).TellEnded(t.Context(), store, durable.ListQuery{})
		if !errors.Is(err, refused) || told.Executions == 0 || told.Executions > 50 {
			t.Errorf("where nothing is taken: got %+v, %v; want an early end with %v", told, err, refused)
		}
		ctx, cancel := context.WithCancel(t.Context())
		store.loads, store.second = 0, cancel
		told, err = again(t, sdktrace.WithSyncer(tracetest.NewInMemoryExporter())).TellEnded(ctx, store, durable.ListQuery{})
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "t0") || told.Executions != 1 || store.loads != 2 {
			t.Errorf("cancelled on the way: got %+v after %d reads, %v; want 1 execution after 2, and that alone", told, store.loads, err)
		}
		if _, err := h.tele.TellEnded(t.Context(), store, durable.ListQuery{Statuses: []durable.Status{durable.StatusFailed, durable.StatusParked}}); !errors.Is(err, telemetry.ErrNotEnded) || !strings.Contains(err.Error(), "parked") {
			t.Errorf("asked for parked ones: got %v, want ErrNotEnded, with the status", err)
		}
	})
}

// TestTellingFillsNoQueue: neither many executions nor one with many operations
// bring more spans at once than a small queue holds, however slow the exporter is.
func TestTellingFillsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, n int) (int, error) {
			for range n {
				if _, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return 1, nil }); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
		h := newHosts(t, telemetry.Options{}, def)
		want := 0
		for i, n := range append(slices.Repeat([]int{3}, 200), 1000) {
			if err := runs(h, def, fmt.Sprint(i), n); err != nil {
				t.Fatal(err)
			}
			want += n + 1
		}
		spans := tracetest.NewInMemoryExporter()
		slow := slowly{spans}
		batch := sdktrace.WithBatcher(slow, sdktrace.WithMaxQueueSize(256), sdktrace.WithMaxExportBatchSize(50))
		if _, err := again(t, batch).TellEnded(t.Context(), h.store, durable.ListQuery{}); err != nil {
			t.Fatal(err)
		}
		if got := len(toldOf(spans.GetSpans())); got != want {
			t.Errorf("TellEnded: %d spans have arrived when it returns, want %d", got, want)
		}
		spans.Reset()
		provider := sdktrace.NewTracerProvider(batch, sdktrace.WithIDGenerator(telemetry.IDGenerator()))
		tele, err := telemetry.New(telemetry.Options{TracerProvider: provider})
		if err == nil {
			err = tele.Tell(t.Context(), h.record("200"))
		}
		if err = errors.Join(err, provider.ForceFlush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if got := len(spans.GetSpans()); got != 1001 {
			t.Errorf("Tell: %d spans have arrived, want 1001", got)
		}
		_ = provider.Shutdown(t.Context())
	})
}

// slowly is an exporter that takes a second for each batch.
type slowly struct{ *tracetest.InMemoryExporter }

func (s slowly) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	time.Sleep(time.Second)
	return s.InMemoryExporter.ExportSpans(ctx, spans)
}

// TestPausesAreNotTold: what stores keep of pauses is no execution.
func TestPausesAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{}, sg)
		if err := h.e.Pause(t.Context(), durable.Pause{Definition: "trip", Starts: true, Actor: "ada", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
		told, err := h.tele.TellEnded(t.Context(), h.store, durable.ListQuery{})
		if got := h.spans.GetSpans(); err != nil || told.Executions != 0 || len(got) != 0 {
			t.Errorf("got %+v, %v, spans %v, want none", told, err, named(got))
		}
	})
}

// TestForeignSpan: whoever tells again may be in a span of its own, and an engine's
// BaseContext may have one. An execution with no trace but baggage is in neither.
func TestForeignSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sg := trip(t, false)
		h := newHosts(t, telemetry.Options{}, sg)
		member, err := baggage.NewMember("tenant", "acme")
		if err != nil {
			t.Fatal(err)
		}
		bag, err := baggage.New(member)
		if err != nil {
			t.Fatal(err)
		}
		x, err := sg.Start(baggage.ContextWithBaggage(t.Context(), bag), h.e, "t1", "ada")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
		time.Sleep(time.Second)
		first := find(t, h.spans.GetSpans(), "trip").SpanContext
		h.spans.Reset()
		for _, flags := range []trace.TraceFlags{trace.FlagsSampled, 0} {
			ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags}))
			if told, err := h.tele.TellEnded(ctx, h.store, durable.ListQuery{}); err != nil || told.Executions != 1 {
				t.Fatalf("flags %v: got %+v, %v, want one execution", flags, told, err)
			}
		}
		for _, s := range h.spans.GetSpans() {
			if s.SpanContext.TraceID() != first.TraceID() {
				t.Errorf("%q is told again in trace %v, want %v", s.Name, s.SpanContext.TraceID(), first.TraceID())
			}
		}
		if own := find(t, h.spans.GetSpans(), "trip"); own.Parent.IsValid() {
			t.Errorf("the execution stands below %v, want no parent", own.Parent)
		}
	})
}
