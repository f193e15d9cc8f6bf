package durable

import (
	"fmt"
	"time"
)

// Wait waits for d, durably: the execution is suspended, costs nothing
// meanwhile, and goes on wherever a worker is when the time has come. Waits
// within Options.HotWait stay in memory. It returns nil after d, at once on a
// replay of a wait that has ended, and ErrCancelled if the execution is asked
// to stop before. Negative durations are ErrInvalid.
func Wait(ctx *Context, name string, d time.Duration) error {
	if d < 0 {
		return Permanent(fmt.Errorf("%w: wait %q of %v is negative", ErrInvalid, name, d))
	}
	k, err := ctx.begin(OpWait, "", name, 0)
	if err != nil {
		return err
	}
	defer k.end()
	a := ctx.a
	a.mu.Lock()
	if k.op == nil && ctx.reached() != nil {
		k.recordCancelled()
	}
	if k.op == nil {
		e := k.entry(EntryStart)
		e.Timeout = d
		k.record(e)
	}
	a.mu.Unlock()
	return k.settle(ctx.st)
}

// settle waits until the operation has ended, by itself or by a cancel, and
// returns the error of one that was cancelled.
func (k *call) settle(st *strand) error {
	a := k.c.a
	for {
		a.mu.Lock()
		switch {
		case k.op.done:
			defer a.mu.Unlock()
			if k.op.end == EntryCancel {
				return a.stopped(k.op)
			}
			return nil
		case k.op.leaving: // its timeout is on its way
		case k.c.reached() != nil:
			k.record(k.entry(EntryCancel))
			if k.op.key != "" {
				a.closed = append(a.closed, k.op.key)
			}
		case k.typ == OpWait && !now().Before(k.op.until):
			k.record(k.entry(EntryResult))
		}
		waiting, until := !k.op.done, time.Time{}
		if k.typ == OpWait {
			until = k.op.until // a callback's timeout is recorded by attend
		}
		a.mu.Unlock()
		if waiting {
			st.await(func() bool { return k.op.done || !k.op.leaving && k.c.reached() != nil }, until)
		}
	}
}
