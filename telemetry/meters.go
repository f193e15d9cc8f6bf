package telemetry

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/clewdev/clew/durable"
)

// meters are the metrics. Their attributes are definitions, outcomes and reasons:
// few, and never an execution's ID, a payload or the text of an error.
type meters struct {
	started, ended_, parked, attempts, retries, lost metric.Int64Counter
	units                                            metric.Float64Counter
	unwind, late                                     metric.Float64Histogram

	mu   sync.RWMutex
	sets map[labels]*measured
}

func newMeters(m metric.Meter) (*meters, error) {
	x := &meters{sets: map[labels]*measured{}}
	var errs []error
	for _, c := range []struct {
		to               *metric.Int64Counter
		name, unit, what string
	}{
		{&x.started, "clew.executions.started", "{execution}", "Executions that were created."},
		{&x.ended_, "clew.executions.ended", "{execution}", "Executions that ended, by outcome, and of sagas by how the unwinding ended."},
		{&x.parked, "clew.executions.parked", "{execution}", "Executions that parked, by reason: each waits for a person."},
		{&x.attempts, "clew.attempts", "{attempt}", "Attempts of steps and undos that ended, by outcome."},
		{&x.retries, "clew.retries", "{attempt}", "Attempts after the first that ended."},
		{&x.lost, "clew.claims.lost", "{claim}", "Claims that somebody else won, that were taken away, or that ended with their host, by reason."},
	} {
		var err error
		*c.to, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.what))
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

// measured are labels as the two kinds of instruments take them.
type measured struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// of returns the attributes of a measurement, each set of which is made once.
func (x *meters) of(l labels) *measured {
	x.mu.RLock()
	m := x.sets[l]
	x.mu.RUnlock()
	if m != nil {
		return m
	}
	attrs := []attribute.KeyValue{attribute.String("clew.definition", l.definition)}
	if l.a != "" {
		attrs = append(attrs, attribute.String(l.a, l.av))
	}
	if l.b != "" {
		attrs = append(attrs, attribute.String(l.b, l.bv))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attrs...))
	m = &measured{[]metric.AddOption{set}, []metric.RecordOption{set}}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sets[l] = m
	return m
}

// observe counts what is counted as it happens.
func (x *meters) observe(ctx context.Context, o *durable.Observation) {
	def := labels{definition: o.Execution.Definition}
	switch o.Kind {
	case durable.ObserveStarted:
		x.started.Add(ctx, 1, x.of(def).add...)
	case durable.ObserveActivationStart:
		if o.Late > 0 {
			x.late.Record(ctx, o.Late.Seconds(), x.of(def).record...)
		}
	case durable.ObserveActivationEnd:
		switch {
		case o.Unborn:
		case o.Err != nil:
			x.lost.Add(ctx, 1, x.of(def.by("clew.reason", errorType(o.Err))).add...)
		case o.Park != nil && o.Status == durable.StatusParked:
			x.parked.Add(ctx, 1, x.of(def.by("clew.reason", string(o.Park.Reason))).add...)
		}
	case durable.ObserveClaimLost:
		x.lost.Add(ctx, 1, x.of(def.by("clew.reason", "refused")).add...)
	case durable.ObserveAttemptEnd:
		kind, outcome := "step", "succeeded"
		if o.Subtype == durable.SubtypeUndo {
			kind = "undo"
		}
		if o.Err != nil {
			outcome = "failed"
		}
		x.attempts.Add(ctx, 1, x.of(def.by("clew.kind", kind).by("clew.outcome", outcome)).add...)
		if o.Attempt > 1 {
			x.retries.Add(ctx, 1, x.of(def.by("clew.kind", kind)).add...)
		}
	}
}

// by adds an attribute.
func (l labels) by(name, value string) labels {
	if l.a == "" {
		l.a, l.av = name, value
	} else {
		l.b, l.bv = name, value
	}
	return l
}

// ended counts an execution that has ended, and what it consumed.
func (x *meters) ended(ctx context.Context, o *durable.Observation, u durable.Usage) {
	def := labels{definition: o.Execution.Definition}
	of := def.by("clew.outcome", o.Status.String())
	if forward, unwind, ok := axes(o.Execution, o.Detail); ok {
		of = def.by("clew.outcome", forward).by("clew.unwind", unwind)
	}
	x.ended_.Add(ctx, 1, x.of(of).add...)
	if u != (durable.Usage{}) {
		x.units.Add(ctx, float64(u.WriteUnits), x.of(def.by("clew.unit", "write")).add...)
		x.units.Add(ctx, float64(u.IndexUnits), x.of(def.by("clew.unit", "index")).add...)
		x.units.Add(ctx, u.ReadUnits, x.of(def.by("clew.unit", "read")).add...)
	}
	if !o.UnwindStarted.IsZero() {
		x.unwind.Record(ctx, o.At.Sub(o.UnwindStarted).Seconds(), x.of(def).record...)
	}
}
