package otlptest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql/parser"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/telemetry"
)

// exported are the names of all series that Prometheus gets, each with the labels
// that it has.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutTargetInfo(), exporter.WithoutScopeInfo())
	if err != nil {
		t.Fatal(err)
	}
	observer, err := telemetry.New(telemetry.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range everything() {
		observer.Observe(t.Context(), o)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string][]string{}
	for _, f := range families {
		var labels []string
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels = append(labels, l.GetName())
			}
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			series[f.GetName()] = labels
			continue
		}
		series[f.GetName()+"_bucket"] = append(labels, "le")
		series[f.GetName()+"_sum"], series[f.GetName()+"_count"] = labels, labels
	}
	return series
}

// everything is what an engine may tell that is counted.
func everything() []*durable.Observation {
	at := time.Now()
	id := &durable.Identity{ID: "x", Definition: "d", Version: "1", Fingerprint: durable.SagaFingerprint + "1", Created: at}
	rec := &durable.Record{
		Head: durable.Head{Identity: *id, Status: durable.StatusFailed, Detail: "rejected/complete", Ended: at.Add(time.Second), Usage: durable.Usage{WriteUnits: 1, IndexUnits: 1, ReadUnits: 1}},
		Journal: []durable.Entry{{Kind: durable.EntryStart, Op: 1, First: true, Pos: 1, Type: durable.OpStep, Name: "s", At: at, Attempt: 1},
			{Kind: durable.EntryStart, Op: 2, First: true, Pos: 1, Scope: durable.ScopeUnwind, Type: durable.OpStep, Subtype: durable.SubtypeUndo, Name: "s", Link: 1, At: at, Attempt: 1}},
	}
	return []*durable.Observation{
		{Kind: durable.ObserveStarted, Execution: id},
		{Kind: durable.ObserveActivationStart, Execution: id, Epoch: 1, Late: time.Second},
		{Kind: durable.ObserveAttemptEnd, Execution: id, Attempt: 2, Err: errors.New("busy")},
		{Kind: durable.ObserveClaimLost, Execution: id, Err: durable.ErrNotDue},
		{Kind: durable.ObserveActivationEnd, Execution: id, Status: durable.StatusParked, Park: &durable.Park{Reason: durable.ParkPanic}},
		{Kind: durable.ObserveActivationEnd, Execution: id, At: rec.Ended, Status: rec.Status, Detail: rec.Detail, UnwindStarted: at, Bills: true, Record: func() *durable.Record { return rec },
			Operations: func() []durable.OperationInfo { ops, _ := durable.Operations(rec); return ops }},
	}
}

// TestDashboard: each query of the dashboard is one that Prometheus takes, of
// series that are exported under the names by which it knows them, and by labels
// that they have; and nothing is exported that the dashboard does not show.
func TestDashboard(t *testing.T) {
	series := exported(t)
	shown := map[string]bool{}
	for _, query := range queries(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		for _, name := range selected(expr) {
			shown[name] = true
		}
		check(t, query, expr, series)
	}
	for name := range series {
		if !shown[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("%s is exported, and not on the dashboard", name)
		}
	}
}

// queries are those of the dashboard's panels, with what Grafana fills in.
func queries(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "telemetry", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query any }
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$definition", ".*")
	for _, p := range dashboard.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	for _, v := range dashboard.Templating.List {
		if q, ok := v.Query.(map[string]any); ok { // label_values(series, label)
			args := strings.Split(strings.TrimSuffix(strings.TrimPrefix(q["query"].(string), "label_values("), ")"), ", ")
			all = append(all, "count by ("+args[1]+") ("+args[0]+")")
		}
	}
	return all
}

// selected are the names of the series that an expression reads.
func selected(expr parser.Expr) (names []string) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			names = append(names, v.Name)
		}
		return nil
	})
	return names
}

// check compares what an expression reads with what is exported.
func check(t *testing.T, query string, expr parser.Expr, series map[string][]string) {
	t.Helper()
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		var by []string
		var of []string
		switch n := n.(type) {
		case *parser.VectorSelector:
			of = []string{n.Name}
			for _, m := range n.LabelMatchers {
				if m.Name != "__name__" {
					by = append(by, m.Name)
				}
			}
		case *parser.AggregateExpr:
			of, by = selected(n.Expr), n.Grouping
		}
		for _, name := range of {
			labels, ok := series[name]
			if !ok {
				t.Errorf("%s: nothing exports %s", query, name)
				continue
			}
			for _, label := range by {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: %s has no label %s, only %v", query, name, label, labels)
				}
			}
		}
		return nil
	})
}
