package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/telemetry"
)

// point is one series of a metric.
type point struct {
	name, unit string
	attrs      attribute.Set
	sum        float64
	count      uint64 // of a histogram
}

func (p *point) String() string {
	return p.name + "{" + p.attrs.Encoded(attribute.DefaultEncoder()) + "}"
}

// points collects what has been counted.
func (h *hosts) points() (all []point) {
	h.t.Helper()
	var collected metricdata.ResourceMetrics
	if err := h.metrics.Collect(h.t.Context(), &collected); err != nil {
		h.t.Fatal(err)
	}
	for _, s := range collected.ScopeMetrics {
		for _, m := range s.Metrics {
			if m.Unit == "" || m.Description == "" {
				h.t.Errorf("%s has unit %q and description %q", m.Name, m.Unit, m.Description)
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					all = append(all, point{m.Name, m.Unit, p.Attributes, float64(p.Value), 0})
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					all = append(all, point{m.Name, m.Unit, p.Attributes, p.Value, 0})
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					all = append(all, point{m.Name, m.Unit, p.Attributes, p.Sum, p.Count})
				}
			default:
				h.t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return all
}

// billed is a store that charges.
type billed struct{ durable.Store }

func (billed) Bills() bool { return true }

func (b billed) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := b.Store.Load(ctx, id, what)
	if err == nil {
		rec.Usage = durable.Usage{Requests: 6, WriteUnits: 8, IndexUnits: 2, ReadUnits: 1.5}
	}
	return rec, err
}

// TestMetrics: what is counted, by what, of a saga that is stuck and resolved,
// one that commits, and one that is abandoned.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mended := false
		jammed, fine := jam(t, &mended), trip(t, false)
		h := newHosts(t, telemetry.Options{}, jammed, fine)
		for _, id := range []string{"stuck", "left"} {
			if err := runs(h, jammed.Definition, id, ""); !errors.Is(err, durable.ErrParked) {
				t.Fatalf("got %v, want ErrParked", err)
			}
		}
		if err := runs(h, fine.Definition, "fine", "ada"); err != nil {
			t.Fatal(err)
		}
		h.act("left", durable.VerbAbandon)
		mended = true
		h.act("stuck", durable.VerbRetry)
		points := h.points()
		for _, want := range []struct {
			series string
			n      float64
			unit   string
		}{
			{"clew.executions.started{clew.definition=jam}", 2, "{execution}"},
			{"clew.executions.started{clew.definition=trip}", 1, "{execution}"},
			{"clew.executions.ended{clew.definition=jam,clew.outcome=rejected,clew.unwind=complete}", 1, "{execution}"},
			{"clew.executions.ended{clew.definition=jam,clew.outcome=rejected,clew.unwind=abandoned}", 1, "{execution}"},
			{"clew.executions.ended{clew.definition=trip,clew.outcome=committed,clew.unwind=none}", 1, "{execution}"},
			{"clew.executions.parked{clew.definition=jam,clew.reason=undo-failed}", 2, "{execution}"},
			{"clew.attempts{clew.definition=jam,clew.kind=step,clew.outcome=failed}", 6, "{attempt}"}, // 2 that retry, 1 that rejects, each twice
			{"clew.attempts{clew.definition=jam,clew.kind=step,clew.outcome=succeeded}", 2, "{attempt}"},
			{"clew.attempts{clew.definition=jam,clew.kind=undo,clew.outcome=failed}", 2, "{attempt}"},
			{"clew.attempts{clew.definition=jam,clew.kind=undo,clew.outcome=succeeded}", 1, "{attempt}"},
			{"clew.retries{clew.definition=jam,clew.kind=step}", 4, "{attempt}"},
			{"clew.retries{clew.definition=trip,clew.kind=step}", 1, "{attempt}"},
		} {
			i := slices.IndexFunc(points, func(p point) bool { return p.String() == want.series })
			switch {
			case i < 0:
				t.Errorf("there is no %s among %v", want.series, points)
			case points[i].sum != want.n || points[i].unit != want.unit:
				t.Errorf("%s is %v %s, want %v %s", want.series, points[i].sum, points[i].unit, want.n, want.unit)
			}
		}
		for series, n := range map[string]uint64{"clew.unwind.duration{clew.definition=jam}": 2, "clew.wakeup.lateness{clew.definition=trip}": 2} {
			i := slices.IndexFunc(points, func(p point) bool { return p.String() == series })
			if i < 0 || points[i].count != n || points[i].unit != "s" || points[i].sum <= 0 {
				t.Errorf("%s: got %+v, want %d values in s", series, points, n)
			}
		}
	})
}

// TestUnits: what ended executions had consumed is counted by kind, halves too,
// whether they are sampled or not.
func TestUnits(t *testing.T) {
	for _, sampler := range []sdktrace.Sampler{sdktrace.AlwaysSample(), sdktrace.NeverSample()} {
		synctest.Test(t, func(t *testing.T) {
			h := newSampled(t, sampler, telemetry.Options{})
			sg := trip(t, false)
			e, err := durable.New(billed{h.store}, durable.Options{Observer: h.tele})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Register(sg); err != nil {
				t.Fatal(err)
			}
			h.e = e
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- e.Run(ctx) }()
			synctest.Wait()
			if err := runs(h, sg.Definition, "x", "ada"); err != nil {
				t.Fatal(err)
			}
			stop()
			<-done
			got := map[string]float64{}
			for _, p := range h.points() {
				if unit, ok := p.attrs.Value("clew.unit"); ok {
					got[unit.String()] = p.sum
				}
			}
			if want := "map[index:2 read:1.5 write:8]"; fmt.Sprint(got) != want {
				t.Errorf("%s: got %v, want %s", sampler.Description(), got, want)
			}
		})
	}
}

// TestClaimsLost: by who was quicker, by who took a claim away, and by the end of
// the host.
func TestClaimsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t, telemetry.Options{})
		id := &durable.Identity{ID: "x", Definition: "d", Version: "1"}
		for _, o := range []*durable.Observation{
			{Kind: durable.ObserveClaimLost, Execution: id, Err: durable.ErrNotDue},
			{Kind: durable.ObserveActivationEnd, Execution: id, Err: durable.ErrFenced},
			{Kind: durable.ObserveActivationEnd, Execution: id, Err: durable.ErrHostGone},
		} {
			h.tele.Observe(t.Context(), o)
		}
		var got []string
		for _, p := range h.points() {
			got = append(got, fmt.Sprint(&p, p.sum))
		}
		slices.Sort(got)
		want := []string{"clew.claims.lost{clew.definition=d,clew.reason=fenced} 1", "clew.claims.lost{clew.definition=d,clew.reason=host-gone} 1", "clew.claims.lost{clew.definition=d,clew.reason=refused} 1"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestCardinality: however many executions there are, and whatever they are
// called, hold and fail with, the series stay the same.
func TestCardinality(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := 0
		b := saga.New[string, string]("s", "1")
		saga.Step(b, "a", func(c saga.Context, in string) (string, error) {
			if c.Attempt() == 1 {
				return "", fmt.Errorf("error-%s", in)
			}
			return "result-" + in, nil
		}).Undo(func(_ saga.UndoContext, in string, _ saga.Maybe[string]) error {
			if seed%3 == 0 {
				return durable.Permanent(fmt.Errorf("error-%s", in))
			}
			return nil
		})
		saga.Pivot(b, "p", func(_ saga.Context, in string) (string, error) {
			if seed%2 == 0 {
				return "", saga.Reject(fmt.Errorf("error-%s", in))
			}
			return in, nil
		}).ParkInDoubt()
		sg, err := b.Build(func(_ saga.Context, in string) (string, error) { return "result-" + in, nil })
		if err != nil {
			t.Fatal(err)
		}
		h := newHosts(t, telemetry.Options{Payloads: true}, sg)
		run := func(n int) (all []string) {
			for range n {
				seed++
				id := fmt.Sprintf("id-%d", 815000+seed)
				if err := runs(h, sg.Definition, id, fmt.Sprintf("payload-%d", 815000+seed)); errors.Is(err, durable.ErrParked) {
					h.act(id, durable.VerbSkip)
				}
			}
			for _, p := range h.points() {
				all = append(all, p.String())
			}
			slices.Sort(all)
			return all
		}
		few, many := run(12), run(48)
		if !slices.Equal(few, many) || len(few) < 10 {
			t.Errorf("12 executions make the series\n%s\nand 60\n%s", strings.Join(few, "\n"), strings.Join(many, "\n"))
		}
		for _, series := range many {
			for _, unbounded := range []string{"815", "error-", "result-", "payload-", "id-"} {
				if strings.Contains(series, unbounded) {
					t.Errorf("%s is counted by something that has no bound", series)
				}
			}
		}
		for _, p := range h.points() {
			for _, kv := range p.attrs.ToSlice() {
				if !slices.Contains([]attribute.Key{"clew.definition", "clew.outcome", "clew.unwind", "clew.reason", "clew.kind", "clew.unit"}, kv.Key) {
					t.Errorf("%s is counted by %s, which docs/tracing.md does not name", p.name, kv.Key)
				}
			}
		}
	})
}
