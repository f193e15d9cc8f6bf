package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

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
	sets                                             sync.Map // of labels to a metric.MeasurementOption
}

func newMeters(m metric.Meter) (*meters, error) {
	x := &meters{}
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

// label is an attribute beside the definition.
type label struct{ name, value string }

type labels struct {
	definition string
	a, b       label
}

// of returns the attributes of a measurement, each set of which is made once.
func (x *meters) of(definition string, more ...label) metric.MeasurementOption {
	key := labels{definition: definition}
	for i, l := range more {
		*[...]*label{&key.a, &key.b}[i] = l
	}
	if set, ok := x.sets.Load(key); ok {
		return set.(metric.MeasurementOption)
	}
	attrs := []attribute.KeyValue{attribute.String("clew.definition", definition)}
	for _, l := range more {
		attrs = append(attrs, attribute.String(l.name, l.value))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attrs...))
	x.sets.Store(key, set)
	return set
}

// observe counts what is counted as it happens.
func (x *meters) observe(ctx context.Context, o *durable.Observation) {
	def := o.Execution.Definition
	switch o.Kind {
	case durable.ObserveStarted:
		x.started.Add(ctx, 1, x.of(def))
	case durable.ObserveActivationStart:
		if o.Late > 0 {
			x.late.Record(ctx, o.Late.Seconds(), x.of(def))
		}
	case durable.ObserveActivationEnd:
		switch {
		case o.Unborn:
		case o.Err != nil:
			x.lost.Add(ctx, 1, x.of(def, label{"clew.reason", errorType(o.Err)}))
		case o.Park != nil && o.Status == durable.StatusParked:
			x.parked.Add(ctx, 1, x.of(def, label{"clew.reason", string(o.Park.Reason)}))
		}
	case durable.ObserveClaimLost:
		x.lost.Add(ctx, 1, x.of(def, label{"clew.reason", "refused"}))
	case durable.ObserveAttemptEnd:
		kind, outcome := label{"clew.kind", "step"}, label{"clew.outcome", "succeeded"}
		if o.Subtype == durable.SubtypeUndo {
			kind.value = "undo"
		}
		if o.Err != nil {
			outcome.value = "failed"
		}
		x.attempts.Add(ctx, 1, x.of(def, kind, outcome))
		if o.Attempt > 1 {
			x.retries.Add(ctx, 1, x.of(def, kind))
		}
	}
}

// ended counts an execution that has ended.
func (x *meters) ended(ctx context.Context, rec *durable.Record) {
	def, of := rec.Definition, []label{{"clew.outcome", rec.Status.String()}}
	if forward, unwind, ok := axes(&rec.Identity, rec.Detail); ok {
		of = []label{{"clew.outcome", forward}, {"clew.unwind", unwind}}
	}
	x.ended_.Add(ctx, 1, x.of(def, of...))
	if u := rec.Usage; u != (durable.Usage{}) {
		for _, c := range []struct {
			kind string
			n    float64
		}{{"write", float64(u.WriteUnits)}, {"index", float64(u.IndexUnits)}, {"read", u.ReadUnits}} {
			x.units.Add(ctx, c.n, x.of(def, label{"clew.unit", c.kind}))
		}
	}
	if began := unwindingSince(rec); !began.IsZero() {
		x.unwind.Record(ctx, rec.Ended.Sub(began).Seconds(), x.of(def))
	}
}

// unwindingSince is when a saga's first undo began; zero if it had none.
func unwindingSince(rec *durable.Record) time.Time {
	for i := range rec.Journal {
		if e := &rec.Journal[i]; e.First && e.Type == durable.OpStep && e.Subtype == durable.SubtypeUndo {
			return e.At
		}
	}
	return time.Time{}
}
