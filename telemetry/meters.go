package telemetry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/clewdev/clew/durable"
)

// meters are the metrics. Their attributes are definitions, outcomes and reasons:
// few, and never an execution's ID, a payload or the text of an error.
type meters struct {
	started, ended_, parked, attempts, retries, lost counter
	units                                            metric.Float64Counter
	unwind, late                                     metric.Float64Histogram
	measured                                         counter // for the sets of the three above
}

func newMeters(m metric.Meter) (*meters, error) {
	x := &meters{}
	var errs []error
	for _, c := range []struct {
		to               *counter
		name, unit, what string
	}{
		{&x.started, "clew.executions.started", "{execution}", "Executions that were created."},
		{&x.ended_, "clew.executions.ended", "{execution}", "Executions that ended, by outcome, and of sagas by how the unwinding ended."},
		{&x.parked, "clew.executions.parked", "{execution}", "Executions that parked, by reason: each waits for a person."},
		{&x.attempts, "clew.attempts", "{attempt}", "Attempts of steps and undos that ended, by outcome."},
		{&x.retries, "clew.retries", "{attempt}", "Attempts after the first that ended."},
		{&x.lost, "clew.claims.lost", "{claim}", "Claims that somebody else won, that were taken away, or that ended with their host, by reason."},
	} {
		i, err := m.Int64ObservableCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.what))
		if err == nil { // not with the instrument, which several engines of a process may share
			_, err = m.RegisterCallback(func(_ context.Context, to metric.Observer) error { c.to.report(i, to); return nil }, i)
		}
		errs = append(errs, err)
	}
	var err error
	x.units, err = m.Float64Counter("clew.cost.units", metric.WithUnit("{unit}"), metric.WithDescription("Units of the store's price that ended executions had consumed, by kind."))
	errs = append(errs, err)
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, what string
	}{
		{&x.unwind, "clew.unwind.duration", "From the first undo of a saga to its end."},
		{&x.late, "clew.wakeup.lateness", "From when an execution was due to its activation."},
	} {
		var err error
		*h.to, err = m.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.what),
			metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 60, 300, 3600))
		errs = append(errs, err)
	}
	return x, errors.Join(errs...)
}

// labels are the attributes of a measurement: the definition, and up to two more.
type labels struct{ definition, a, av, b, bv string }

// by adds an attribute.
func (l labels) by(name, value string) labels {
	if l.a == "" {
		l.a, l.av = name, value
	} else {
		l.b, l.bv = name, value
	}
	return l
}

// counter counts by labels, and is asked for its counts when metrics are
// collected: instruments that are told of each are ten times slower, and
// each attempt is counted.
type counter struct {
	mu     sync.RWMutex
	counts map[labels]*count
}

type count struct {
	atomic.Int64
	set metric.MeasurementOption // the labels, as instruments take them
}

func (c *counter) add(l labels) { c.of(l).Add(1) }

// of returns the count of labels, which is made once.
func (c *counter) of(l labels) *count {
	c.mu.RLock()
	n := c.counts[l]
	c.mu.RUnlock()
	if n != nil {
		return n
	}
	attrs := []attribute.KeyValue{attribute.String("clew.definition", l.definition)}
	if l.a != "" {
		attrs = append(attrs, attribute.String(l.a, l.av))
	}
	if l.b != "" {
		attrs = append(attrs, attribute.String(l.b, l.bv))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[labels]*count{}
	}
	if c.counts[l] == nil {
		c.counts[l] = &count{set: metric.WithAttributeSet(attribute.NewSet(attrs...))}
	}
	return c.counts[l]
}

func (c *counter) report(as metric.Int64Observable, to metric.Observer) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, n := range c.counts {
		to.ObserveInt64(as, n.Load(), n.set)
	}
}

// observe counts what is counted as it happens.
func (x *meters) observe(ctx context.Context, o *durable.Observation) {
	def := labels{definition: o.Execution.Definition}
	switch o.Kind {
	case durable.ObserveStarted:
		x.started.add(def)
	case durable.ObserveActivationStart:
		if o.Late > 0 {
			x.late.Record(ctx, o.Late.Seconds(), x.measured.of(def).set)
		}
	case durable.ObserveActivationEnd:
		switch {
		case o.Unborn:
		case o.Err != nil:
			x.lost.add(def.by("clew.reason", errorType(o.Err)))
		case o.Park != nil && o.Status == durable.StatusParked:
			x.parked.add(def.by("clew.reason", string(o.Park.Reason)))
		}
	case durable.ObserveClaimLost:
		x.lost.add(def.by("clew.reason", "refused"))
	case durable.ObserveAttemptEnd:
		kind, outcome := "step", "succeeded"
		if o.Subtype == durable.SubtypeUndo {
			kind = "undo"
		}
		if o.Err != nil {
			outcome = "failed"
		}
		x.attempts.add(def.by("clew.kind", kind).by("clew.outcome", outcome))
		if o.Attempt > 1 {
			x.retries.add(def.by("clew.kind", kind))
		}
	}
}

// ended counts an execution that has ended, and what it consumed.
func (x *meters) ended(ctx context.Context, o *durable.Observation, u durable.Usage) {
	def := labels{definition: o.Execution.Definition}
	of := def.by("clew.outcome", o.Status.String())
	if forward, unwind, ok := axes(o.Execution, o.Detail); ok {
		of = def.by("clew.outcome", forward).by("clew.unwind", unwind)
	}
	x.ended_.add(of)
	if u != (durable.Usage{}) {
		x.units.Add(ctx, float64(u.WriteUnits), x.measured.of(def.by("clew.unit", "write")).set)
		x.units.Add(ctx, float64(u.IndexUnits), x.measured.of(def.by("clew.unit", "index")).set)
		x.units.Add(ctx, u.ReadUnits, x.measured.of(def.by("clew.unit", "read")).set)
	}
	if !o.UnwindStarted.IsZero() {
		x.unwind.Record(ctx, o.At.Sub(o.UnwindStarted).Seconds(), x.measured.of(def).set)
	}
}
