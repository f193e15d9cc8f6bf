package telemetry

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/clewdev/clew/durable"
)

// meters are the metrics. Their attributes are definitions, outcomes and reasons:
// few, and never an execution's ID, a payload or the text of an error.
type meters struct {
	started, ended_, parked, attempts, retries, lost, units metric.Int64Counter
	unwind, late                                            metric.Float64Histogram
}

func newMeters(m metric.Meter) (*meters, error) {
	x := &meters{}
	var errs []error
	for _, c := range []struct {
		to               *metric.Int64Counter
		name, unit, what string
	}{
		{&x.started, "clew.executions.started", "{execution}", "Executions that began to run."},
		{&x.ended_, "clew.executions.ended", "{execution}", "Executions that ended, by outcome."},
		{&x.parked, "clew.executions.parked", "{execution}", "Executions that parked, by reason: each waits for a person."},
		{&x.attempts, "clew.attempts", "{attempt}", "Attempts of steps and undos that ended, by outcome."},
		{&x.retries, "clew.retries", "{attempt}", "Attempts after the first."},
		{&x.lost, "clew.claims.lost", "{claim}", "Activations that lost their claim, or ended with their host."},
		{&x.units, "clew.cost.units", "{unit}", "Units of the store's price that ended executions had consumed, by kind."},
	} {
		var err error
		*c.to, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.what))
		errs = append(errs, err)
	}
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

func definition(id *durable.Identity) attribute.KeyValue {
	return attribute.String("clew.definition", id.Definition)
}

// observe counts what is counted as it happens.
func (x *meters) observe(ctx context.Context, o *durable.Observation) {
	of := definition(o.Execution)
	switch o.Kind {
	case durable.ObserveActivationStart:
		if o.Epoch == 1 {
			x.started.Add(ctx, 1, metric.WithAttributes(of))
		}
		if o.Late > 0 {
			x.late.Record(ctx, o.Late.Seconds(), metric.WithAttributes(of))
		}
	case durable.ObserveActivationEnd:
		switch {
		case o.Err != nil:
			x.lost.Add(ctx, 1, metric.WithAttributes(of))
		case o.Status == durable.StatusParked:
			x.parked.Add(ctx, 1, metric.WithAttributes(of))
		}
	case durable.ObserveAttemptEnd:
		outcome := "succeeded"
		if o.Err != nil {
			outcome = "failed"
		}
		kind := "step"
		if o.Subtype == durable.SubtypeUndo {
			kind = "undo"
		}
		x.attempts.Add(ctx, 1, metric.WithAttributes(of, attribute.String("clew.outcome", outcome), attribute.String("clew.kind", kind)))
		if o.Attempt > 1 {
			x.retries.Add(ctx, 1, metric.WithAttributes(of, attribute.String("clew.kind", kind)))
		}
	}
}

// ended counts an execution that has ended.
func (x *meters) ended(ctx context.Context, rec *durable.Record) {
	of := definition(&rec.Identity)
	outcome := rec.Status.String()
	if forward, _, ok := strings.Cut(rec.Detail, "/"); ok && strings.HasPrefix(rec.Fingerprint, durable.SagaFingerprint) {
		outcome = forward
	}
	x.ended_.Add(ctx, 1, metric.WithAttributes(of, attribute.String("clew.outcome", outcome)))
	x.units.Add(ctx, rec.Usage.WriteUnits, metric.WithAttributes(of, attribute.String("clew.unit", "write")))
	x.units.Add(ctx, rec.Usage.IndexUnits, metric.WithAttributes(of, attribute.String("clew.unit", "index")))
	x.units.Add(ctx, int64(rec.Usage.ReadUnits), metric.WithAttributes(of, attribute.String("clew.unit", "read")))
	var began time.Time
	for e := range durable.History(rec) {
		if e.Type == "UnwindStarted" {
			began = e.At
		}
	}
	if !began.IsZero() {
		x.unwind.Record(ctx, rec.Ended.Sub(began).Seconds(), metric.WithAttributes(of))
	}
}
