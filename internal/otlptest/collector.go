package otlptest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// Collector is the Collector's receiver of OTLP, by gRPC and by HTTP, that keeps
// what it receives.
type Collector struct {
	grpc, http string
	traces     consumertest.TracesSink
	metrics    consumertest.MetricsSink
	parts      []component.Component
	discard    bool // what is received: set it before anything is
}

// Start starts a collector on free ports of the loopback interface.
func Start(ctx context.Context) (*Collector, error) {
	c := &Collector{}
	var err error
	if c.grpc, err = freeAddress(); err == nil {
		c.http, err = freeAddress()
	}
	if err != nil {
		return nil, err
	}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	err = confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": c.grpc}, "http": map[string]any{"endpoint": c.http},
	}}).Unmarshal(cfg)
	if err != nil {
		return nil, err
	}
	set := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: component.TelemetrySettings{
		Logger: zap.NewNop(), TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: noop.NewMeterProvider(), Resource: pcommon.NewResource(),
	}}
	keep, err := consumer.NewTraces(func(ctx context.Context, td ptrace.Traces) error {
		if c.discard {
			return nil
		}
		return c.traces.ConsumeTraces(ctx, td)
	})
	if err != nil {
		return nil, err
	}
	traces, err := factory.CreateTraces(ctx, set, cfg, keep)
	if err != nil {
		return nil, err
	}
	metrics, err := factory.CreateMetrics(ctx, set, cfg, &c.metrics)
	if err != nil {
		return nil, err
	}
	c.parts = []component.Component{traces, metrics}
	for _, p := range c.parts {
		if err := p.Start(ctx, componenttest.NewNopHost()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Close ends the collector once it has taken what it has been sent.
func (c *Collector) Close(ctx context.Context) error {
	for _, p := range c.parts {
		if err := p.Shutdown(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Env are the variables by which a program exports to the collector, by "grpc" or
// "http/protobuf".
func (c *Collector) Env(protocol string) []string {
	at := c.http
	if protocol == "grpc" {
		at = c.grpc
	}
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + at, "OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol}
}

// Span is a span that has arrived.
type Span struct {
	ptrace.Span
	Service string
	Process string // its ID
}

// Text is an attribute, as text; "" if there is none.
func (s Span) Text(key string) string {
	v, ok := s.Attributes().Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// Spans are those that have arrived, in order of their start.
func (c *Collector) Spans() (all []Span) {
	for _, batch := range c.traces.AllTraces() {
		for _, r := range batch.ResourceSpans().All() {
			service, _ := r.Resource().Attributes().Get("service.name")
			pid, _ := r.Resource().Attributes().Get("process.pid")
			for _, s := range r.ScopeSpans().All() {
				for _, span := range s.Spans().All() {
					all = append(all, Span{span, service.AsString(), pid.AsString()})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Span) int {
		return a.StartTimestamp().AsTime().Compare(b.StartTimestamp().AsTime())
	})
	return all
}

// Counters are the sums of counters that have arrived, over all processes, by
// name and attributes.
func (c *Collector) Counters() map[string]float64 {
	sums := map[string]float64{}
	for _, batch := range c.metrics.AllMetrics() {
		for _, r := range batch.ResourceMetrics().All() {
			pid, _ := r.Resource().Attributes().Get("process.pid")
			for _, s := range r.ScopeMetrics().All() {
				for _, m := range s.Metrics().All() {
					if m.Type() == pmetric.MetricTypeSum {
						addPoints(sums, m, pid.AsString())
					}
				}
			}
		}
	}
	total := map[string]float64{}
	for series, n := range sums {
		_, name, _ := strings.Cut(series, " ")
		total[name] += n
	}
	return total
}

// addPoints takes in the points of a counter, whose values are of the process so
// far.
func addPoints(sums map[string]float64, m pmetric.Metric, pid string) {
	for _, p := range m.Sum().DataPoints().All() {
		var attrs []string
		for k, v := range p.Attributes().All() {
			attrs = append(attrs, k+"="+v.AsString())
		}
		slices.Sort(attrs)
		series := fmt.Sprintf("%s %s{%s}", pid, m.Name(), strings.Join(attrs, ","))
		sums[series] = max(sums[series], p.DoubleValue()+float64(p.IntValue()))
	}
}
