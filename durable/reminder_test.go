package durable_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
)

// reminded is a handler that asks, reminds every day, and notes when it did.
type reminded struct {
	day   time.Duration
	mu    sync.Mutex
	asked string
	began time.Time
	at    []time.Duration
	keys  []string
	fail  error // what every reminder returns
}

func (r *reminded) wait(ctx *durable.Context, opts ...durable.CallbackOption) (string, error) {
	opts = append([]durable.CallbackOption{durable.WithReminder(r.day, r.remind, durable.WithRetry(durable.Retry{MaxAttempts: 1}))}, opts...)
	return durable.WaitForCallback[string](ctx, "approval", func(_ context.Context, id string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.began.IsZero() {
			r.began = time.Now()
		}
		r.asked = id
		return nil
	}, opts...)
}

func (r *reminded) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *reminded) remind(ctx context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != r.asked {
		return durable.Permanent(errors.New("another callback"))
	}
	info, _ := durable.StepInfoFrom(ctx)
	r.at, r.keys = append(r.at, time.Since(r.began).Round(time.Minute)), append(r.keys, info.Key)
	return r.fail
}

func days(n ...int) (d []time.Duration) {
	for _, n := range n {
		d = append(d, time.Duration(n)*24*time.Hour)
	}
	return d
}

// TestReminders: one a day until the answer, none at the timeout, each under a
// key of its own; and one that fails is only one that was not sent.
func TestReminders(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   []durable.CallbackOption
		answer time.Duration // 0 is none
		fail   error
		want   []time.Duration
		err    error
	}{
		{"answered on the third day", nil, 60 * time.Hour, nil, days(1, 2), nil},
		{"answered at once", nil, time.Minute, nil, nil, nil},
		{"nobody answers", []durable.CallbackOption{durable.WithCallbackTimeout(72 * time.Hour)}, 0, nil, days(1, 2), durable.ErrCallbackTimeout},
		{"they fail", []durable.CallbackOption{durable.WithCallbackTimeout(72 * time.Hour)}, 50 * time.Hour, errors.New("mail is down"), days(1, 2), nil},
		{"no heartbeat", []durable.CallbackOption{durable.WithCallbackTimeout(72 * time.Hour), durable.WithHeartbeatTimeout(36 * time.Hour)}, 0, nil, days(1), durable.ErrCallbackHeartbeat},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reminded{day: 24 * time.Hour, fail: c.fail}
			bubble(t, durable.Options{PollMax: time.Hour}, func(ctx *durable.Context, _ int) (int, error) {
				if c.answer > 0 && r.id() == "" {
					client := engineFor.Load()
					time.AfterFunc(c.answer, func() {
						if err := client.CompleteCallback(context.Background(), r.id(), "yes"); err != nil {
							t.Error(err)
						}
					})
				}
				got, err := r.wait(ctx, c.opts...)
				if err == nil && got != "yes" {
					t.Errorf("got %q, want the answer", got)
				}
				return 0, err
			}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
				if !errors.Is(err, c.err) || c.err == nil && err != nil {
					t.Errorf("got %v, want %v", err, c.err)
				}
			})
			if !slices.Equal(r.at, c.want) {
				t.Errorf("reminded after %v, want %v", r.at, c.want)
			}
			keys := []string{"x/1/approval/reminders/reminder", "x/1/approval/reminders/reminder#2"}
			if !slices.Equal(r.keys, keys[:len(c.want)]) {
				t.Errorf("under keys %q, want %q", r.keys, keys[:len(c.want)])
			}
		})
	}
}

func TestReminderWithoutTime(t *testing.T) {
	bubble(t, durable.Options{}, func(ctx *durable.Context, _ int) (int, error) {
		for _, opt := range []durable.CallbackOption{
			durable.WithReminder(0, func(context.Context, string) error { return nil }), durable.WithReminder(time.Hour, nil),
		} {
			_, err := durable.WaitForCallback[string](ctx, "approval", func(context.Context, string) error { return nil }, opt)
			if !errors.Is(err, durable.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		}
		return 0, nil
	}, func(_ *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
	})
}

// TestCrashReminders: under every crash each day has its reminder, again at most
// where a crash explains it, and the answer of the third day is the outcome.
func TestCrashReminders(t *testing.T) {
	stats := durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		r := &reminded{day: 10 * time.Minute} // who is cut off asks the store all the time
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (string, error) {
			return r.wait(ctx, durable.WithCallbackTimeout(3*r.day))
		})
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			time.Sleep(5 * r.day / 2)
			if err := w.Client.CompleteCallback(w.Context(), r.id(), "yes"); err != nil {
				w.Errorf("answer: %v", err)
			}
		}()
		return durabletest.Subject{
			Definitions: []durable.Registrable{def}, Pairs: 8, Options: durable.Options{PollMax: time.Minute},
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := def.Start(ctx, e, "x", 1)
				return err
			},
			Check: func() {
				<-answered
				rec, err := w.Store.Load(w.Context(), "x", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				linear(w, rec.Journal)
				succeeded(w, &rec.Head, `"yes"`)
				if got := slices.Compact(slices.Sorted(slices.Values(r.keys))); len(got) != 2 || len(r.keys) > 4 {
					w.Errorf("reminded under keys %q, want two, each at most again by a crash", r.keys)
				}
			},
		}
	})
	if stats.Runs < 50 {
		t.Errorf("only %d runs: the harness met hardly any write", stats.Runs)
	}
}
