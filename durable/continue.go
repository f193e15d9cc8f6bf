package durable

import (
	"fmt"
)

// ContinueAsNew ends the run that the handler is in, and begins another with
// this input: the handler returns what ContinueAsNew returns.
//
//	return zero, durable.ContinueAsNew(ctx, next)
//
// The execution stays the same one, with its ID, deadline, status and tags, and
// begins again with an empty journal, so that one that goes on for ever does
// not grow for ever. The run's number is part of idempotency keys, so the next
// run's steps are not taken for the last one's. Signals that nobody has received
// are kept. Callbacks that are open are closed, and invoked executions that run
// still are cancelled, as at the end of an execution. The history begins anew
// with the run.
//
// It costs one write. An execution that was asked to stop gets ErrCancelled
// instead and does not go on. It belongs to the handler's own handle: in a child
// context, in a branch, on the way out, or while there may be something to undo
// (RecordUndoable), it is ErrInvalid.
func ContinueAsNew[In any](ctx *Context, in In) error {
	a := ctx.a
	if ctx.scope.id != (scopeID{}) {
		return Permanent(fmt.Errorf("%w: ContinueAsNew is for the handler's own handle, not for a child context, a branch or the way out", ErrInvalid))
	}
	payload, err := encodeValue(in, a.eng.opts.MaxPayload)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.cancelled(); err != nil { // on a shielded handle too: the next run would not know of it
		return err
	}
	if a.journal.counts[scopeID{scope: ScopeUnwind}] > 0 {
		return Permanent(fmt.Errorf("%w: ContinueAsNew after the way out has begun: what was undone belongs to this run", ErrInvalid))
	}
	if n := ctx.scope.toUndo; n > 0 {
		return Permanent(fmt.Errorf("%w: ContinueAsNew with %d undos registered: the next run would not know of them; unwind or release them first", ErrInvalid, n))
	}
	return &nextRun{input: payload}
}

// nextRun is what a handler returns that continues as new.
type nextRun struct{ input []byte }

func (*nextRun) Error() string { return "durable: continues as new; the handler is to return this" }

// continueAs records that the next run begins. ErrUnseen when something
// arrived before.
func (a *activation) continueAs(input []byte, asked bool) error {
	err := a.commit(write{
		ifSeen: true, unlessCancelled: !asked, unlessTerminated: true, status: StatusRunning,
		next: &Entry{Kind: EntryContinued, At: now(), Payload: input},
	})
	if err == nil {
		a.runEnded()
	}
	return err
}

// anew makes the write one that begins the journal anew. What was to be written
// is dropped with the rest; what arrived and nobody has received is not.
// a.mu is held.
func (a *activation) anew(w *write, c *Commit) {
	w.next.Attempt = int(a.journal.run) + 1
	w.extra = append([]Entry{*w.next}, a.journal.leftover()...)
	c.Entries, c.Anew, c.Progress = w.extra, true, true
	for _, op := range a.journal.unended {
		if op.key != "" {
			c.Close = append(c.Close[:len(c.Close):len(c.Close)], op.key)
		}
	}
}
