package otelenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/telemetry"
)

const (
	// recent is how long before the start of a process what has ended is told again.
	recent = 5 * time.Minute
	// patience bounds how long that takes: a table may be large.
	patience = time.Minute
)

// TellRecent exports again, in the background, the executions in a store that had
// ended shortly before now: if this process is the successor of one that was killed,
// their traces are whole then. Call it before an engine runs, so that what ends here is not
// among them. say is called once at most, with a line for people, if there was
// something to tell.
//
// The caller calls wait when the work is done, before the store is closed. It returns
// when all is told, after FlushTimeout, or at once when ctx has ended.
func (e *Env) TellRecent(ctx context.Context, store durable.Store, say func(line string)) (wait func()) {
	if e == nil || !e.traced {
		return func() {}
	}
	started := time.Now()
	within, cancel := context.WithTimeout(ctx, patience)
	done := make(chan struct{})
	go func() {
		defer close(done)
		told, err := e.telemetry.TellEnded(within, store, durable.ListQuery{EndedFrom: started.Add(-recent), EndedTo: started})
		switch {
		case ctx.Err() != nil: // and nobody waits for this
		case err != nil:
			say("not all that had ended before this process started was exported again (clew trace --ended-since does it): " + strings.ReplaceAll(err.Error(), "\n", "; "))
		case told.Executions > 0:
			say(fmt.Sprintf("exported the traces of %d executions again that had ended before this process started", told.Executions))
		}
	}()
	return func() {
		defer cancel()
		select {
		case <-done:
			return
		case <-time.After(FlushTimeout):
			cancel()
		}
		<-done
	}
}

// StartTelling is StartTraces for a tool that does nothing but to tell again what has
// ended: its queue drops nothing, what was sampled when it was created is exported
// whatever the variables say about samplers, and Delivered tells whether it has
// arrived. Errors of the SDK are told there too, and nowhere else.
func StartTelling(ctx context.Context, service string) (*Env, error) {
	e := &Env{traced: wanted("TRACES"), taken: &taken{}}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(e.taken.failed))
	return start(ctx, e, service, false)
}

// Telemetry is that of the exported signals; nil when nothing is exported.
func (e *Env) Telemetry() *telemetry.Telemetry { return e.telemetry }

// Delivered exports what is there, however long the exporter takes, and returns how
// many spans it has taken since StartTelling, and the first error that there was.
func (e *Env) Delivered(ctx context.Context) (spans int, err error) {
	for _, p := range e.parts {
		err = errors.Join(err, p.ForceFlush(ctx))
	}
	e.taken.mu.Lock()
	defer e.taken.mu.Unlock()
	if e.taken.err != nil {
		err = e.taken.err
	}
	return e.taken.spans, err
}

// taken is an exporter that counts what another one takes.
type taken struct {
	sdktrace.SpanExporter
	mu    sync.Mutex
	spans int
	err   error // the first
}

func (t *taken) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := t.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		t.failed(err) // whoever flushed, and hears of it, may have gone on
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans += len(spans)
	return nil
}

func (t *taken) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}
