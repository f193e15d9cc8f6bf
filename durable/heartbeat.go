package durable

import (
	"context"
	"fmt"
	"time"
)

// maxProgress bounds what a heartbeat carries, in bytes.
const maxProgress = 4 << 10

// attempt is one run of a step's body, as its context knows it.
type attempt struct {
	info   StepInfo
	polled bool   // a poll has returned
	state  []byte // this one, the last of them
	step   *stepRun
	beat   *time.Timer // ends the attempt for want of a heartbeat; nil without a limit
}

type attemptKey struct{}

func attemptOf(ctx context.Context) *attempt {
	at, _ := ctx.Value(attemptKey{}).(*attempt)
	return at
}

// WithHeartbeat ends an attempt whose body has not called Heartbeat for d, as
// WithTimeout ends one that takes too long.
func WithHeartbeat(d time.Duration) StepOption { return func(o *stepOptions) { o.heartbeat = d } }

// Heartbeat says, from within the body of a step, that it is still at work, and
// how far it has come: progress is anything that encodes as JSON in at most
// 4 KB, nil if there is nothing to say. It becomes durable with the next write,
// and starts one of its own at most once in Options.InboxCheck; another attempt
// of the step, here or elsewhere, finds the last durable one by Progress.
//
// The error tells why the body should stop, if it should: its context has
// ended. ErrInvalid when ctx does not belong to the body of a step, or progress
// cannot be stored.
func Heartbeat(ctx context.Context, progress any) error {
	at := attemptOf(ctx)
	if at == nil {
		return fmt.Errorf("%w: Heartbeat is for the body of a step, with the context that it is given", ErrInvalid)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	payload, err := encodeValue(progress, maxProgress)
	if err != nil {
		return fmt.Errorf("%w: progress of %q: %w", ErrInvalid, at.info.Path, err)
	}
	if at.beat != nil {
		at.beat.Reset(at.step.o.heartbeat)
	}
	at.step.heartbeat(payload)
	return nil
}

// Progress returns, within the body of a step, what an earlier attempt of it
// said last by Heartbeat; false if there is nothing, or nothing that decodes
// into a T.
func Progress[T any](ctx context.Context) (T, bool) {
	var zero T
	at := attemptOf(ctx)
	if at == nil {
		return zero, false
	}
	a := at.step.a
	a.mu.Lock()
	stored := at.step.op.progress
	a.mu.Unlock()
	if len(stored) == 0 {
		return zero, false
	}
	v, err := decodeValue[T](stored)
	return v, err == nil
}

// heartbeat takes in how far the body has come.
func (s *stepRun) heartbeat(progress []byte) {
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.c.st.body == nil || len(progress) == 0 {
		return // nobody counts on this body any more
	}
	s.unsaid = progress
	if !now().Before(s.said.Add(a.eng.opts.InboxCheck)) {
		s.say()
	}
}

// say records the last progress, if it is not recorded yet. a.mu is held.
func (s *stepRun) say() {
	if s.unsaid == nil || s.op.done {
		return
	}
	e := s.entry(EntryProgress)
	e.Payload = s.unsaid
	s.unsaid, s.said = nil, now()
	s.record(e)
}
