package saga_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// desk is whom a saga asks: it notes what reaches it.
type desk struct {
	mu    sync.Mutex
	asked string
	notes []string
}

func (d *desk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *desk) callback() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// approval asks, reminds every day, and gives up after three, or after a day and
// a half without a heartbeat.
func (d *desk) approval(day time.Duration) *saga.Saga[order, string] {
	b := saga.New[order, string]("approval", "1")
	saga.Await[string](b, "ask", func(c saga.Context, _ order, id string) error {
		d.mu.Lock()
		d.asked = id
		d.mu.Unlock()
		d.note("asked %s", c.Key())
		return nil
	}).Timeout(3*day).Heartbeat(3*day/2).Remind(day, func(c saga.Context, o order, id string) error {
		if id != d.callback() {
			return durable.Permanent(errors.New("another callback"))
		}
		d.note("reminded %s", c.Key())
		if o.Card == "no mail" {
			return errors.New("mail is down")
		}
		return nil
	}).Retry(durable.Retry{MaxAttempts: 1}).Undo(func(c saga.UndoContext, _ order, _ saga.Maybe[string]) error {
		d.note("withdrawn %s", c.ForwardKey())
		return nil
	})
	sg, err := b.Build(nothing)
	if err != nil {
		panic(err)
	}
	return sg
}

// TestRemind: what is done while nobody answers, and how it ends.
func TestRemind(t *testing.T) {
	const (
		asked, first, second = "asked o1/1/ask", "reminded o1/1/ask/reminders/reminder", "reminded o1/1/ask/reminders/reminder#2"
		withdrawn            = "withdrawn o1/1/ask"
		day                  = 24 * time.Hour
	)
	type answers func(ctx context.Context, e *durable.Engine, d *desk) error
	beats := func(ctx context.Context, e *durable.Engine, d *desk, n int) (err error) {
		for range n {
			time.Sleep(day)
			err = errors.Join(err, e.HeartbeatCallback(ctx, d.callback()))
		}
		time.Sleep(time.Hour) // past the reminder of that day
		return err
	}
	for _, c := range []struct {
		name   string
		card   string
		answer answers
		want   []string
		status string
	}{
		{"answered", "", func(ctx context.Context, e *durable.Engine, d *desk) error {
			return errors.Join(beats(ctx, e, d, 2), e.CompleteCallback(ctx, d.callback(), "yes"))
		}, []string{asked, first, second}, "committed/none"},
		{"refused", "", func(ctx context.Context, e *durable.Engine, d *desk) error {
			return errors.Join(beats(ctx, e, d, 1), e.FailCallback(ctx, d.callback(), errors.New("no")))
		}, []string{asked, first, withdrawn}, "rejected/complete"},
		{"silent", "", nil, []string{asked, first, withdrawn}, "failed/complete"},
		{"alive and never done", "", func(ctx context.Context, e *durable.Engine, d *desk) error { return beats(ctx, e, d, 2) },
			[]string{asked, first, second, withdrawn}, "failed/complete"},
		{"mail is down", "no mail", func(ctx context.Context, e *durable.Engine, d *desk) error {
			return errors.Join(beats(ctx, e, d, 2), e.CompleteCallback(ctx, d.callback(), "yes"))
		}, []string{asked, first, second}, "committed/none"},
		{"cancelled", "", func(ctx context.Context, e *durable.Engine, d *desk) error {
			return errors.Join(beats(ctx, e, d, 1), e.Cancel(ctx, "o1", "ada", "enough"))
		}, []string{asked, first, withdrawn}, "cancelled/complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, store := &desk{}, mem.New()
				sg := d.approval(day)
				e, ctx, stop := running(t, store, durable.Options{PollMax: time.Hour}, sg)
				defer stop()
				x, err := sg.Start(ctx, e, "o1", order{Card: c.card})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if c.answer != nil {
					if err := c.answer(ctx, e, d); err != nil {
						t.Error(err)
					}
				}
				_, _ = x.Wait(ctx) // the head says what it came to
				rec, err := store.Load(ctx, "o1", durable.LoadAll)
				if err != nil {
					t.Fatal(err)
				}
				if got := saga.StatusOf(&rec.Head).String(); got != c.status || !slices.Equal(d.notes, c.want) {
					t.Errorf("got %s: %q\nwant %s: %q", got, d.notes, c.status, c.want)
				}
				if err := foretold(rec); err != nil {
					t.Errorf("effects: %v", err)
				}
			})
		})
	}
}

// TestAskTimeout: an attempt to ask, or to remind, that gets no answer is given up
// and repeated, whatever the answer may take.
func TestAskTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, d, store := time.Now(), &desk{}, mem.New()
		hangs := func(what string) func(saga.Context, order, string) error {
			return func(c saga.Context, _ order, id string) error {
				d.mu.Lock()
				d.asked = id
				d.mu.Unlock()
				d.note("%s at %v", what, time.Since(began).Round(time.Second))
				if c.Attempt() > 1 {
					return nil
				}
				<-c.Done()
				return c.Err()
			}
		}
		b := saga.New[order, string]("approval", "1")
		saga.Await[string](b, "ask", hangs("asked")).Timeout(48*time.Hour).AskTimeout(4*time.Second).
			Retry(durable.Retry{Initial: time.Second, NoJitter: true}).
			Remind(time.Hour, hangs("reminded")).Irreversible("a question")
		sg, err := b.Build(nothing)
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, store, durable.Options{PollMax: time.Hour}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Minute)
		if err := e.CompleteCallback(ctx, d.callback(), "yes"); err != nil {
			t.Error(err)
		}
		if _, err := x.Wait(ctx); err != nil {
			t.Error(err)
		}
		want := []string{"asked at 0s", "asked at 5s", "reminded at 1h0m5s", "reminded at 1h0m10s"}
		if !slices.Equal(d.notes, want) {
			t.Errorf("got %q, want %q", d.notes, want)
		}
	})
}

// TestCrashRemind: under every crash it is asked, reminded twice and withdrawn
// once nobody has answered, each again only where a crash explains it.
func TestCrashRemind(t *testing.T) {
	const day = 10 * time.Minute // who is cut off asks the store all the time
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		d := &desk{}
		sg := d.approval(day)
		var beaten sync.WaitGroup
		beaten.Go(func() {
			for range 2 {
				time.Sleep(day)
				if err := w.Client.HeartbeatCallback(w.Context(), d.callback()); err != nil {
					w.Errorf("heartbeat: %v", err)
				}
			}
		})
		return durabletest.Subject{
			Definitions: []durable.Registrable{sg}, Start: starter(sg), Pairs: 8, Options: durable.Options{PollMax: time.Minute},
			Check: func() {
				beaten.Wait()
				rec, err := w.Store.Load(w.Context(), "o1", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				if err := foretold(rec); err != nil {
					w.Errorf("effects: %v", err)
				}
				var order []string
				for _, n := range d.notes { // a repeat may come late, but a first does not
					if what, _, _ := strings.Cut(n, " "); !slices.Contains(order, n) {
						order = append(order, n)
					} else if what == "asked" && slices.Contains(order, "withdrawn o1/1/ask") {
						w.Errorf("asked after it was withdrawn: %q", d.notes)
					}
				}
				want := []string{"asked o1/1/ask", "reminded o1/1/ask/reminders/reminder", "reminded o1/1/ask/reminders/reminder#2", "withdrawn o1/1/ask"}
				if got := saga.StatusOf(&rec.Head).String(); got != "failed/complete" || !slices.Equal(order, want) || len(d.notes) > len(want)+2 {
					w.Errorf("got %s: %q\nwant failed/complete: %q", got, d.notes, want)
				}
			},
		}
	})
}
