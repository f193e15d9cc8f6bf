package durable_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// diary is an observer that writes everything down, and marks contexts.
type diary struct {
	mu    sync.Mutex
	lines []string
	panic bool
}

type diaryKey struct{}

func (d *diary) Observe(ctx context.Context, o *durable.Observation) context.Context {
	if d.panic {
		panic("the observer is broken")
	}
	names := []string{"", "activation", "activation ends", "op", "op ends", "attempt", "attempt ends"}
	line := strings.TrimSpace(fmt.Sprintf("%s %s %s", names[o.Kind], o.Path, o.Subtype))
	if o.Replayed {
		line += " again"
	}
	if o.Attempt > 1 {
		line += fmt.Sprint(" ", o.Attempt)
	}
	if o.Err != nil {
		line += ": " + o.Err.Error()
	}
	if o.Kind == durable.ObserveActivationEnd {
		line += " " + o.Status.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	within, _ := ctx.Value(diaryKey{}).(string)
	return context.WithValue(ctx, diaryKey{}, within+">"+names[o.Kind])
}

func observedHandler(t *testing.T) func(*durable.Context, int) (int, error) {
	failed := false
	return func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.Child(ctx, "kid", func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
				if got := ctx.Value(diaryKey{}); got != nil && got != ">activation>attempt" {
					t.Errorf("the body's context is that of %v", got)
				}
				if !failed {
					failed = true
					return 0, errors.New("once")
				}
				return 1, nil
			}, durable.WithRetry(durable.Retry{Initial: time.Hour, NoJitter: true, Max: time.Hour}))
		})
		return 2, err
	}
}

func TestObserver(t *testing.T) {
	d := &diary{}
	bubble(t, durable.Options{Observer: d, HotWait: -1}, observedHandler(t), func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		w.stop()
	})
	want := []string{
		"activation", "op kid", "op kid/s", "attempt kid/s", "attempt ends kid/s: once", "activation ends suspended",
		"activation", "attempt kid/s 2", "attempt ends kid/s 2", "op ends kid/s 2", "op ends kid", "activation ends succeeded",
	}
	if !slices.Equal(d.lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestObserverReplayed: what an earlier activation did is marked.
func TestObserverReplayed(t *testing.T) {
	d := &diary{}
	bubble(t, durable.Options{Observer: d, HotWait: -1}, func(ctx *durable.Context, _ int) (int, error) {
		_, err := durable.Step(ctx, "s", func(context.Context) (int, error) { return 1, nil })
		return 0, errors.Join(err, durable.Wait(ctx, "w", time.Hour))
	}, func(w *world, _ *durable.Execution[int], _ int, err error) {
		if err != nil {
			t.Error(err)
		}
		w.stop()
	})
	if !slices.Contains(d.lines, "op ends s again") {
		t.Errorf("got %q, want the step's end again", d.lines)
	}
}

// TestObserverPanics: a broken observer harms nothing.
func TestObserverPanics(t *testing.T) {
	bubble(t, durable.Options{Observer: &diary{panic: true}, HotWait: -1}, observedHandler(t), func(w *world, _ *durable.Execution[int], out int, err error) {
		if out != 2 || err != nil {
			t.Errorf("got %d, %v", out, err)
		}
	})
}
