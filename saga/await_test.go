package saga_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// asking is a saga that asks once it has authorized. No answer comes.
func asking(s *shop, ask func(saga.Context) error, with func(*saga.Forward[order, string])) *saga.Saga[order, string] {
	b := saga.New[order, string]("shop", "1")
	s.undoable(b, "authorize")
	f := saga.Await[string](b, "reserve", func(c saga.Context, _ order, _ string) error {
		s.do(c, "reserve", s.takes)
		return ask(c)
	}).Timeout(3 * time.Hour)
	with(f)
	f.Undo(s.undoing("reserve"))
	return built(b)
}

// asked counts the calls of what asks.
func (s *shop) asked() (n int) {
	for _, call := range s.calls {
		if call == "reserve" {
			n++
		}
	}
	return n
}

// TestAskAtMostOnce: a question of which nobody knows whether it was put is not put
// again, unless Verify says that it was not.
func TestAskAtMostOnce(t *testing.T) {
	hangs := func(c saga.Context) error { <-c.Done(); return context.Cause(c) }
	for name, c := range map[string]struct {
		verdict     saga.Verdict[string]
		asked       int
		status      string
		left, undos string
	}{
		"unknown":   {saga.Unknown[string](), 1, "failed/complete", "none", "reserve authorize"},
		"no effect": {saga.NoEffect[string](), 6, "failed/complete", "reserve", "authorize"}, // as Verify has it
		"happened":  {saga.Happened("yes"), 1, "committed/none", "authorize+reserve", ""},
	} {
		t.Run(name, func(t *testing.T) {
			serveSaga(t, func(s *shop) *saga.Saga[order, string] {
				return asking(s, hangs, func(f *saga.Forward[order, string]) {
					f.AtMostOnce().Verify(func(saga.Context, order) (saga.Verdict[string], error) { return c.verdict, nil })
				})
			}, func(r *ran) {
				r.is(c.status, c.left, c.undos)
				if r.asked() != c.asked {
					t.Errorf("asked %d times, want %d", r.asked(), c.asked)
				}
			})
		})
	}
	t.Run("without a Verify", func(t *testing.T) {
		serveSaga(t, func(s *shop) *saga.Saga[order, string] {
			return asking(s, hangs, func(f *saga.Forward[order, string]) { f.AtMostOnce() })
		}, func(r *ran) {
			if r.is("failed/complete", "none", "reserve authorize"); r.asked() != 1 {
				t.Errorf("asked %d times, want once", r.asked())
			}
		})
	})
}

// TestAskUnderAKeyThatExpires parks, as any step.
func TestAskUnderAKeyThatExpires(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		return asking(s, func(saga.Context) error { return durable.RetryAfter(errOutage, 2*time.Hour) },
			func(f *saga.Forward[order, string]) { f.KeyLifetime(time.Hour) })
	}, func(r *ran) {
		r.parked(saga.ParkKeyExpired)
		if p := r.head.Park; r.asked() != 1 || p.Key != "o1/1/reserve" || !p.Expired(time.Now()) {
			t.Errorf("asked %d times, parked over %q since %v", r.asked(), p.Key, p.Since)
		}
		r.act(durable.Decision{Verb: durable.VerbUnwind})
		r.is("cancelled/complete", "none", "reserve authorize")
	})
}

// TestAskedAnew: an operator's retry is another question, under another key, which
// what is shown names.
func TestAskedAnew(t *testing.T) {
	var keys, ids []string
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		b := saga.New[order, string]("shop", "1")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		saga.Await[string](b, "reserve", func(c saga.Context, _ order, id string) error {
			keys, ids = append(keys, c.Key()), append(ids, id)
			return nil
		}).Timeout(time.Hour).Retriable()
		return built(b)
	}, func(r *ran) {
		for n := 1; n <= 3; n++ {
			r.parked(saga.ParkAfterPivot)
			p := saga.PlanOf(r.record())
			if last := p.Stays[len(p.Stays)-1]; len(keys) != n || r.head.Park.Key != keys[n-1] || last.Key != keys[n-1] {
				t.Errorf("asked under %q, parked over %q, planned %q", keys, r.head.Park.Key, last.Key)
			}
			r.act(durable.Decision{Verb: durable.VerbRetry})
		}
		seen := map[string]bool{}
		for _, id := range append(keys, ids...) {
			seen[id] = true
		}
		if len(seen) != 8 {
			t.Errorf("keys %q and IDs of callbacks %q, want all different", keys, fmt.Sprint(ids))
		}
	})
}

// TestNobodyWasAsked: an Await that is stopped before its question could be put is
// not undone.
func TestNobodyWasAsked(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		limit := saga.NewLimit(1, 0)
		b := saga.New[order, string]("shop", "1").Timeout(10 * time.Minute)
		g := saga.Parallel(b, "both")
		saga.Do(g, "busy", func(ctx saga.Context, _ order) error { <-ctx.Done(); return ctx.Err() }).Limit(limit).Timeout(time.Hour).ReadOnly()
		way := g.Branch("way")
		saga.Wait(way, "a moment", time.Second)
		saga.Await[string](way, "reserve", func(c saga.Context, _ order, _ string) error {
			s.do(c, "reserve", s.takes)
			return nil
		}).Limit(limit).Retry(durable.Retry{MaxAttempts: -1}).Undo(s.undoing("reserve"))
		return built(b)
	}, func(r *ran) {
		r.is("timed-out/complete", "none", "")
		if p := saga.PlanOf(r.record()); len(p.Stays) != 2 || p.Stays[1].Why != "proven to have had no effect" {
			t.Errorf("planned %+v", p.Stays)
		}
	})
}
