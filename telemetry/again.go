package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/clewdev/clew/durable"
)

// Told counts what TellEnded has found.
type Told struct {
	Executions int // exported
	Unsampled  int // not to be exported: so it was decided at their start
}

// pageSize is how many heads TellEnded reads at once, unless the query says it. On
// DynamoDB each page reads the whole table.
const pageSize = 1000

// TellEnded tells again, as Tell does, all executions that a query finds in a store
// and that have ended: after a process was killed, those with an EndedFrom not long
// before that, among which are those that it had not exported. All others are
// exported a second time, as the same spans. What continued as new is told with its
// last run alone: journals of runs before it are kept by nobody.
//
// It costs what durable.Store.List costs (on DynamoDB a read of the whole table,
// again for each 1,000 that are found), and a read of each execution that was
// sampled. There is no other bound than the query and ctx: that ends it, between
// two executions, with its error.
//
// Spans go to the provider a few at a time, each time flushed, if it has a
// ForceFlush, as the SDK's has: a queue that holds twice burst does not overflow by
// it. A flush that fails ends it. When it returns nil, the exporter has taken all.
// An execution that cannot be told is named in the error, and holds up no other.
func (t *Telemetry) TellEnded(ctx context.Context, store durable.Store, q durable.ListQuery) (told Told, err error) {
	if q.Statuses, err = endedOnly(q.Statuses); err != nil {
		return told, err
	}
	if q.Limit == 0 {
		q.Limit = pageSize
	}
	p := t.paced(ctx)
	var failed failures
	for more := true; more && err == nil; more = q.Cursor != "" {
		var page durable.ListPage
		if page, err = store.List(ctx, &q); err != nil {
			err = fmt.Errorf("telemetry: list: %w", err)
			break
		}
		for i := range page.Heads {
			failed.add(t.again(ctx, store, &page.Heads[i], p, &told))
			if err = errors.Join(ctx.Err(), p.err); err != nil {
				break
			}
		}
		q.Cursor = page.Next
	}
	if err == nil {
		p.flushed()
		err = p.err
	}
	return told, errors.Join(err, failed.join())
}

// endedOnly are the statuses of a query for what has ended.
func endedOnly(asked []durable.Status) ([]durable.Status, error) {
	if len(asked) == 0 {
		return []durable.Status{durable.StatusSucceeded, durable.StatusFailed, durable.StatusCancelled, durable.StatusTimedOut, durable.StatusTerminated}, nil
	}
	if i := slices.IndexFunc(asked, func(s durable.Status) bool { return !s.Ended() }); i >= 0 {
		return nil, fmt.Errorf("%w that is %v: ask for those that have", ErrNotEnded, asked[i])
	}
	return asked, nil
}

// again tells one execution that a list has shown.
func (t *Telemetry) again(ctx context.Context, store durable.Store, h *durable.Head, p *pace, told *Told) error {
	if h.Definition == durable.PauseDefinition {
		return nil // no execution, but as stores keep pauses
	}
	if !t.rootOf(ctx, &h.Identity).flags.IsSampled() {
		told.Unsampled++
		return nil
	}
	rec, err := store.Load(ctx, h.ID, durable.LoadAll)
	if err == nil {
		err = t.tellPaced(ctx, rec, p)
	}
	switch {
	case errors.Is(err, durable.ErrNotFound), errors.Is(err, ErrNotEnded):
		return nil // deleted meanwhile, or started anew under its ID
	case err != nil && ctx.Err() != nil:
		return nil // which is said once
	case err != nil:
		return fmt.Errorf("%q: %w", h.ID, err)
	}
	told.Executions++
	return nil
}

// burst is how many spans are ended between two flushes: few beside any queue that
// is made for live executions, whose spans come by the execution.
const burst = 128

// pace flushes the provider as spans are told again. Nil does not: live executions
// wait for nobody.
type pace struct {
	ctx   context.Context
	flush func(context.Context) error // nil: the provider has none
	n     int                         // spans since the last flush
	err   error                       // of the first flush that failed
}

func (t *Telemetry) paced(ctx context.Context) *pace {
	p := &pace{ctx: ctx}
	if f, ok := t.opts.TracerProvider.(interface{ ForceFlush(context.Context) error }); ok {
		p.flush = f.ForceFlush
	}
	return p
}

// end ends a span.
func (p *pace) end(span trace.Span, at time.Time) {
	span.End(trace.WithTimestamp(at))
	if p == nil {
		return
	}
	if p.n++; p.n >= burst {
		p.flushed()
	}
}

func (p *pace) flushed() {
	if p.flush == nil || p.n == 0 || p.err != nil {
		return
	}
	p.n = 0
	if err := p.flush(p.ctx); err != nil {
		p.err = fmt.Errorf("telemetry: flush: %w", err)
	}
}

// failures are errors of executions, of which a few are kept.
type failures struct {
	errs []error
	more int
}

// mostFailures are kept: if the store is in trouble there may be thousands.
const mostFailures = 10

func (f *failures) add(err error) {
	switch {
	case err == nil:
	case len(f.errs) < mostFailures:
		f.errs = append(f.errs, err)
	default:
		f.more++
	}
}

func (f *failures) join() error {
	if f.more > 0 {
		return errors.Join(append(f.errs, fmt.Errorf("telemetry: and %d more executions", f.more))...)
	}
	return errors.Join(f.errs...)
}
