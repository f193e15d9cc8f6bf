package durable

import (
	"context"
	"errors"
	"time"
)

// SubtypeCondition marks the steps that poll: see WaitForCondition.
const SubtypeCondition = "WaitForCondition"

// DefaultPoll is the policy of a WaitForCondition that names none: 60 polls,
// 5 s, ×1.5, at most 5 minutes, full jitter.
func DefaultPoll() Retry {
	return Retry{MaxAttempts: 60, MaxElapsed: -1, Initial: 5 * time.Second, Max: 5 * time.Minute, Multiplier: 1.5}
}

// WaitForCondition calls poll until it says that the condition holds, and
// returns the state that it had then: the same one on every replay. poll gets
// the state that the poll before returned, initial the first time, and may do
// what the body of a step may. Between two polls the execution waits durably,
// as long as WithRetry says; zero fields keep DefaultPoll's.
//
// Each poll is an attempt: it starts after its start marker is durable, and
// runs again if its process dies. When the policy allows no further poll the
// error is a *StepError that is ErrConditionNotMet. An error that poll returns
// ends the operation at once, with a *StepError: a poll that is to be repeated
// after an error returns the state as it was and false. One that outlasts
// WithTimeout is repeated. ErrCancelled once the execution was asked to stop.
func WaitForCondition[T any](ctx *Context, name string, initial T, poll func(ctx context.Context, state T) (T, bool, error), opts ...StepOption) (T, error) {
	var zero T
	o := stepOptionsOf(opts, DefaultPoll())
	o.subtype = SubtypeCondition
	limit := ctx.a.eng.opts.MaxPayload
	op, path, payload, err := ctx.step(name, o, func(c context.Context) ([]byte, error) {
		state := initial
		if at := attemptOf(c); at.polled {
			var err error
			if state, err = decodeWith[T](o.codec, at.state); err != nil {
				return nil, Permanent(err)
			}
		}
		next, holds, err := poll(c, state)
		if err != nil {
			if c.Err() == nil {
				err = Permanent(err)
			}
			return nil, err
		}
		stored, err := encodeWith(o.codec, next, limit)
		if err == nil && !holds {
			err = errNotYet
		}
		return stored, err
	})
	if err != nil {
		return zero, err
	}
	return decodeResult[T](ctx, o.codec, op, path, payload)
}

// errNotYet is what the body of a poll returns, with a state, when the
// condition does not hold.
var errNotYet = errors.New("the condition does not hold yet")

// recordPoll records a poll after which the condition does not hold. a.mu is
// held.
func (s *stepRun) recordPoll(r bodyResult) {
	e := s.entry(EntryResult)
	e.Attempt, e.Payload = s.op.attempt, r.payload
	if e.Delay, e.Retry = r.retry(s.op.attempt, s.op.first, now()); !e.Retry {
		e.Kind, e.Payload, e.Error = EntryFailure, nil, toStored(ErrConditionNotMet)
	}
	s.record(e)
}
