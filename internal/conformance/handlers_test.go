package conformance

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// handler is what a requirement's prose describes. kill ends the process.
type handler func(ctx *durable.Context, in any, kill func()) (any, error)

// try is a step whose body sees the number of its attempt.
func try(ctx *durable.Context, name string, body func(attempt int) (any, error), opts ...durable.StepOption) (any, error) {
	return durable.Step(ctx, name, func(c context.Context) (any, error) {
		info, _ := durable.StepInfoFrom(c)
		return body(info.Attempt)
	}, append([]durable.StepOption{durable.WithTimeout(3 * time.Second)}, opts...)...) // for how long an attempt is waited for whose process died
}

func give(ctx *durable.Context, name string, v any, opts ...durable.StepOption) (any, error) {
	return try(ctx, name, func(int) (any, error) { return v, nil }, opts...)
}

var errPlain = errors.New("it failed")

func fail(ctx *durable.Context, name string, opts ...durable.StepOption) (any, error) {
	return try(ctx, name, func(int) (any, error) { return nil, errPlain }, opts...)
}

// failing fails its first attempts.
func failing(ctx *durable.Context, name string, times int, v any, opts ...durable.StepOption) (any, error) {
	return try(ctx, name, func(attempt int) (any, error) {
		if attempt <= times {
			return nil, errPlain
		}
		return v, nil
	}, opts...)
}

// retries is a policy of so many attempts, with a second between them.
func retries(attempts int) durable.StepOption {
	return durable.WithRetry(durable.Retry{MaxAttempts: attempts, Initial: time.Second, Max: time.Second, Multiplier: 1, NoJitter: true})
}

func once() durable.StepOption { return durable.WithRetry(durable.Retry{MaxAttempts: 1}) }

func pause(ctx *durable.Context, name string, d time.Duration) error {
	return durable.Wait(ctx, name, d)
}

// child is a child context whose function gives values of any type.
func child(ctx *durable.Context, name string, f func(*durable.Context) (any, error), opts ...durable.ContextOption) (any, error) {
	if name == "" {
		name = "child"
	}
	return durable.Child(ctx, name, f, opts...)
}

// upper stores strings in capitals.
type upper struct{}

func (upper) Encode(v any) ([]byte, error) { return []byte(strings.ToUpper(v.(string))), nil }

func (upper) Decode(b []byte, v any) error {
	*v.(*any) = string(b)
	return nil
}

// TransientError is the error of a requirement.
type TransientError struct{ Message string }

func (e *TransientError) Error() string { return e.Message }

func transient(retry bool) durable.StepOption {
	return durable.WithRetry(durable.Retry{MaxAttempts: 3, Initial: time.Second, Max: time.Second, Multiplier: 1, NoJitter: true,
		Retryable: func(err error) bool {
			var t *TransientError
			return errors.As(err, &t) == retry
		}})
}

func within(seconds int) durable.CallbackOption {
	return durable.WithCallbackTimeout(time.Duration(seconds) * time.Second)
}

func beating(seconds int) durable.CallbackOption {
	return durable.WithHeartbeatTimeout(time.Duration(seconds) * time.Second)
}

// called creates a callback and waits for its result.
func called(ctx *durable.Context, name any, opts ...durable.CallbackOption) (any, error) {
	cb, err := durable.CreateCallback[any](ctx, name.(string), opts...)
	if err != nil {
		return nil, err
	}
	return cb.Result(ctx)
}

func calledAfterStep(ctx *durable.Context, name any, opts ...durable.CallbackOption) (any, error) {
	cb, err := durable.CreateCallback[any](ctx, name.(string), opts...)
	if err != nil {
		return nil, err
	}
	if _, err := give(ctx, "", "v"); err != nil {
		return nil, err
	}
	return cb.Result(ctx)
}

func calledAfterWait(ctx *durable.Context, name any, seconds int, opts ...durable.CallbackOption) (any, error) {
	cb, err := durable.CreateCallback[any](ctx, name.(string), opts...)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, "", time.Duration(seconds)*time.Second); err != nil {
		return nil, err
	}
	return cb.Result(ctx)
}

// caught goes on after a callback that failed.
func caught(ctx *durable.Context, name any, opts ...durable.CallbackOption) (any, error) {
	if _, err := called(ctx, name, opts...); err == nil {
		return nil, errors.New("the callback did not fail")
	}
	return "failed", pause(ctx, "", 2*time.Second)
}

// both creates two callbacks and waits for them in an order.
func both(ctx *durable.Context, names any, first, second int) (any, error) {
	var callbacks [2]*durable.Callback[any]
	for i := range callbacks {
		cb, err := durable.CreateCallback[any](ctx, names.([]any)[i].(string))
		if err != nil {
			return nil, err
		}
		callbacks[i] = cb
	}
	var results [2]any
	for _, i := range []int{first, second} {
		v, err := callbacks[i].Result(ctx)
		if err != nil {
			return nil, err
		}
		results[i] = v
	}
	return results[:], nil
}

var handlers = map[string]handler{
	"1-1": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return give(ctx, "", "Hello, "+in.(string)+"!")
	},
	"1-2": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return give(ctx, "custom_step_name", "Hello, "+in.(string)+"!")
	},
	"1-3": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		first, err := give(ctx, "", "first")
		if err != nil {
			return nil, err
		}
		return give(ctx, "", first.(string)+"_second")
	},
	"1-4": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return give(ctx, "", map[string]any{"user": in, "count": 2})
	},
	"1-5": func(ctx *durable.Context, _ any, _ func()) (any, error) { return give(ctx, "", nil) },
	"1-6": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return give(ctx, "", in, durable.WithStepCodec(upper{}))
	},
	"1-7": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return give(ctx, "", "Hello, "+in.(string)+"!")
	},
	"1-8": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		v, err := give(ctx, "", "computed")
		return v, errors.Join(err, pause(ctx, "", 2*time.Second))
	},
	"1-9": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		v, err := give(ctx, "", "cached_value")
		return v, errors.Join(err, pause(ctx, "", time.Second))
	},
	"1-10": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		_, err := fail(ctx, "", once())
		if err == nil {
			return nil, errors.New("the step did not fail")
		}
		return "caught", pause(ctx, "", time.Second)
	},
	"1-11": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return failing(ctx, "", 1, "Operation succeeded", retries(3))
	},
	"1-12": func(ctx *durable.Context, _ any, _ func()) (any, error) { return fail(ctx, "", retries(4)) },
	"1-13": func(ctx *durable.Context, _ any, _ func()) (any, error) { return failing(ctx, "", 2, "done") },
	"1-14": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return try(ctx, "", func(attempt int) (any, error) {
			if attempt <= 2 { // 2 s, and three times as long: no jitter
				return nil, durable.RetryAfter(errPlain, []time.Duration{2 * time.Second, 6 * time.Second}[attempt-1])
			}
			return "done", nil
		})
	},
	"1-15": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return try(ctx, "", func(attempt int) (any, error) {
			if attempt == 1 {
				return nil, &TransientError{"try again"}
			}
			return "done", nil
		}, transient(true))
	},
	"1-16": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return try(ctx, "", func(int) (any, error) { return nil, &TransientError{"never again"} }, transient(false))
	},
	"1-17": func(ctx *durable.Context, _ any, kill func()) (any, error) {
		return try(ctx, "at_most_once_flaky_step", func(int) (any, error) { kill(); return nil, nil }, durable.AtMostOnce(), once())
	},
	"1-18": func(ctx *durable.Context, _ any, kill func()) (any, error) {
		return try(ctx, "at_most_once_flaky_step", func(attempt int) (any, error) {
			if attempt == 1 {
				kill()
			}
			return "succeeded on second attempt", nil
		}, durable.AtMostOnce(), retries(2))
	},
	"1-19": func(ctx *durable.Context, _ any, _ func()) (any, error) { return fail(ctx, "", once()) },
	"1-20": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		if _, err := fail(ctx, "", once()); err == nil {
			return nil, errors.New("the step did not fail")
		}
		return give(ctx, "", "fallback_result")
	},

	"2-1": func(ctx *durable.Context, _ any, _ func()) (any, error) { return nil, pause(ctx, "", 2*time.Second) },
	"2-2": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return nil, pause(ctx, "custom_wait_name", 2*time.Second)
	},
	"2-3": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		err := errors.Join(pause(ctx, "wait-1", 2*time.Second), pause(ctx, "wait-2", 2*time.Second))
		return map[string]any{"completedWaits": 2}, err
	},
	"2-4": func(ctx *durable.Context, _ any, _ func()) (any, error) { return nil, pause(ctx, "", time.Minute) },
	"2-5": func(ctx *durable.Context, _ any, _ func()) (any, error) { return nil, pause(ctx, "", time.Hour) },

	"3-1": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) { return give(c, "", in) })
	},
	"3-2": func(ctx *durable.Context, in any, _ func()) (any, error) {
		m := in.(map[string]any)
		return child(ctx, m["name"].(string), func(c *durable.Context) (any, error) { return give(c, "", m["value"]) })
	},
	"3-3": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) {
			first, err := give(c, "", in)
			if err != nil {
				return nil, err
			}
			return give(c, "", first)
		})
	},
	"3-4": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) { return fail(c, "", once()) })
	},
	"3-5": func(ctx *durable.Context, in any, _ func()) (any, error) {
		_, err := child(ctx, "", func(c *durable.Context) (any, error) { return fail(c, "", once()) })
		if err == nil {
			return nil, errors.New("the child did not fail")
		}
		return give(ctx, "", in)
	},
	"3-6": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(outer *durable.Context) (any, error) {
			if _, err := give(outer, "", in); err != nil {
				return nil, err
			}
			return child(outer, "", func(inner *durable.Context) (any, error) { return give(inner, "", in) })
		})
	},
	"3-7": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) { return failing(c, "", 1, in, retries(3)) })
	},
	"3-8": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) { return fail(c, "", retries(2)) })
	},
	"3-9": func(ctx *durable.Context, in any, _ func()) (any, error) {
		v, err := child(ctx, "", func(c *durable.Context) (any, error) { return give(c, "", in) })
		return v, errors.Join(err, pause(ctx, "", time.Second))
	},
	"3-10": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) {
			_, err := give(c, "", in)
			return in, errors.Join(err, pause(c, "", time.Second))
		})
	},
	"3-11": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		_, err := child(ctx, "", func(c *durable.Context) (any, error) {
			_, err := give(c, "", "small")
			return strings.Repeat("x", 300<<10), err
		})
		return nil, errors.Join(err, pause(ctx, "", time.Second))
	},
	"3-12": func(ctx *durable.Context, in any, kill func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) {
			return try(c, "", func(int) (any, error) { kill(); return in, nil })
		})
	},
	"3-13": func(ctx *durable.Context, in any, _ func()) (any, error) {
		_, err := child(ctx, "", func(c *durable.Context) (any, error) { return in, pause(c, "", time.Second) })
		if err != nil {
			return nil, err
		}
		return give(ctx, "", in)
	},
	"3-14": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return child(ctx, "", func(c *durable.Context) (any, error) { return give(c, "", in) }, durable.WithCodec(upper{}))
	},
	"3-15": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return child(ctx, "", func(*durable.Context) (any, error) { return nil, errPlain })
	},
	"3-16": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return child(ctx, "", func(*durable.Context) (any, error) { return nil, nil })
	},
	"3-17": func(ctx *durable.Context, in any, _ func()) (any, error) {
		v, err := child(ctx, "", func(*durable.Context) (any, error) { return in, nil })
		return v, errors.Join(err, pause(ctx, "", time.Second))
	},
	"4-1":  func(ctx *durable.Context, in any, _ func()) (any, error) { return called(ctx, in) },
	"4-2":  func(ctx *durable.Context, _ any, _ func()) (any, error) { return called(ctx, "approval") },
	"4-3":  func(ctx *durable.Context, in any, _ func()) (any, error) { return called(ctx, in, within(5)) },
	"4-4":  func(ctx *durable.Context, in any, _ func()) (any, error) { return called(ctx, in, beating(5)) },
	"4-5":  func(ctx *durable.Context, in any, _ func()) (any, error) { return called(ctx, in, beating(10)) },
	"4-6":  func(ctx *durable.Context, in any, _ func()) (any, error) { return called(ctx, in) },
	"4-7":  func(ctx *durable.Context, in any, _ func()) (any, error) { return calledAfterStep(ctx, in) },
	"4-8":  func(ctx *durable.Context, in any, _ func()) (any, error) { return calledAfterStep(ctx, in, within(5)) },
	"4-9":  func(ctx *durable.Context, in any, _ func()) (any, error) { return calledAfterWait(ctx, in, 5) },
	"4-10": func(ctx *durable.Context, in any, _ func()) (any, error) { return calledAfterWait(ctx, in, 5) },
	"4-11": func(ctx *durable.Context, in any, _ func()) (any, error) {
		return calledAfterWait(ctx, in, 6, within(3))
	},
	"4-12": func(ctx *durable.Context, in any, _ func()) (any, error) {
		v, err := called(ctx, in)
		if err != nil {
			return nil, err
		}
		return v, pause(ctx, "", 2*time.Second)
	},
	"4-13": func(ctx *durable.Context, in any, _ func()) (any, error) { return caught(ctx, in) },
	"4-14": func(ctx *durable.Context, in any, _ func()) (any, error) { return caught(ctx, in, within(3)) },
	"4-15": func(ctx *durable.Context, in any, _ func()) (any, error) {
		type message struct {
			ID        string    `json:"id"`
			Message   string    `json:"message"`
			Timestamp time.Time `json:"timestamp"`
		}
		cb, err := durable.CreateCallback[message](ctx, in.(string))
		if err != nil {
			return nil, err
		}
		m, err := cb.Result(ctx)
		return map[string]any{"received": map[string]any{"id": m.ID, "message": m.Message, "timestamp": m.Timestamp.Unix()}}, err
	},
	"4-16": func(ctx *durable.Context, in any, _ func()) (any, error) {
		cb, err := durable.CreateCallback[int](ctx, in.(string))
		if err != nil {
			return nil, err
		}
		n, err := cb.Result(ctx)
		return map[string]any{"count": n, "doubled": 2 * n}, err
	},
	"4-17": func(ctx *durable.Context, in any, _ func()) (any, error) {
		a, err := called(ctx, in.([]any)[0])
		if err != nil {
			return nil, err
		}
		b, err := called(ctx, in.([]any)[1])
		return []any{a, b}, err
	},
	"4-18": func(ctx *durable.Context, in any, _ func()) (any, error) { return both(ctx, in, 0, 1) },
	"4-19": func(ctx *durable.Context, in any, _ func()) (any, error) { return both(ctx, in, 1, 0) },

	"3-18": func(ctx *durable.Context, in any, _ func()) (any, error) {
		_, err := child(ctx, "", func(c *durable.Context) (any, error) {
			_, err := give(c, "", in)
			return in, errors.Join(err, pause(c, "", time.Second))
		})
		if err != nil {
			return nil, err
		}
		v, err := give(ctx, "", in)
		return v, errors.Join(err, pause(ctx, "", time.Second))
	},
}
