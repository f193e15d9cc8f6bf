package durable

import (
	"context"
	"errors"
	"time"
)

// reminder is what WithReminder sets.
type reminder struct {
	every  time.Duration
	remind func(ctx context.Context, callbackID string) error
	opts   []StepOption
}

// WithReminder makes a WaitForCallback call remind again and again while its
// callback is open: for the first time when every has passed since the ID was
// handed out, and then every so often; not when the callback's timeout has come
// by then. Each call is a step named "reminder" in a context named "reminders",
// with opts, a key of its own, and an activation when it is due. One that fails
// for good is left out, and the next one comes all the same. One that runs when
// the callback ends is given up: its context ends, and what it still does is
// seen by nobody. every is above zero, or WaitForCallback returns ErrInvalid.
func WithReminder(every time.Duration, remind func(ctx context.Context, callbackID string) error, opts ...StepOption) CallbackOption {
	return func(o *callbackOptions) { o.reminder = &reminder{every, remind, opts} }
}

// run reminds until the callback's timeout, which is zero if there is none. It
// ends before when its strand is given up.
func (r *reminder) run(ctx *Context, callbackID string, timeout time.Duration) (struct{}, error) {
	for n := time.Duration(1); timeout == 0 || n*r.every < timeout; n++ {
		if err := Wait(ctx, "pause", r.every); err != nil {
			return struct{}{}, err
		}
		_, err := Step(ctx, "reminder", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, r.remind(ctx, callbackID)
		}, r.opts...)
		var failed *StepError
		if err != nil && !errors.As(err, &failed) {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
}
