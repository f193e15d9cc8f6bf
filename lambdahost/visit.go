package lambdahost

import (
	"context"
	"errors"
	"time"

	"github.com/clewdev/clew/durable"
)

// flushFor bounds a flush, for which whoever called waits.
const flushFor = 500 * time.Millisecond

// visit is one invocation.
type visit struct {
	h     *Host
	store *waking
	until time.Time // the invocation's deadline
	mail  *mail
	hops  int // invocations before this one that woke each other
	late  lateness
}

// fallback is how long an invocation may take that says nothing of it, which
// Lambda's never do.
const fallback = 30 * time.Second

func (h *Host) visit(ctx context.Context, store durable.Store) *visit {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(fallback)
	}
	v := &visit{h: h, until: until}
	v.mail = newMail(h, until.Add(-h.reserve(until)/16))
	v.store = &waking{Store: store, v: v, known: map[string]durable.Identity{}}
	return v
}

// session runs do over an engine that executes what do starts and resumes, so
// many at once, and returns when none of it runs any more.
func (v *visit) session(ctx context.Context, most int, do func(ctx context.Context, e *durable.Engine) error) error {
	e, err := v.h.engine(v.store, v.until, most)
	if err != nil {
		return err
	}
	err = e.Session(ctx, func(ctx context.Context) error { return do(ctx, e) })
	if errors.Is(err, durable.ErrStillRunning) {
		// This sandbox would be frozen with code of this invocation in it, which
		// would go on in the next.
		v.h.log.Error("code of this invocation does not return although its context has ended: the process exits", "version", v.h.opts.Version)
		v.leave() // what others have handed over, and what is told of those that have ended
		v.h.exit(1)
	}
	return err
}

// outside returns an engine that starts, completes and asks, and runs nothing.
func (v *visit) outside() (*durable.Engine, error) { return v.h.engine(v.store, v.until, 1) }

// leave ends the invocation: nothing of it is under way any more after that.
func (v *visit) leave() {
	v.mail.close()
	v.late.emit(v.h)
	if v.h.opts.Flush == nil {
		return
	}
	left := time.Until(v.until)
	ctx, cancel := context.WithTimeout(context.Background(), min(flushFor, left-left/8))
	defer cancel()
	if err := v.h.opts.Flush(ctx); err != nil {
		v.h.log.Warn("flushing telemetry failed", "error", err)
	}
}
