package saga_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// TestNothingUnwindsPastThePivot: also where what fails is none of the steps.
func TestNothingUnwindsPastThePivot(t *testing.T) {
	for name, after := range map[string]func(b *saga.Builder[order, string], mended *bool){
		"the input of a sub-saga": func(b *saga.Builder[order, string], mended *bool) {
			saga.Sub(b, "mail", afterwards(), func(saga.Context, order) (order, error) {
				if !*mended {
					return order{}, errors.New("no address")
				}
				return order{}, nil
			})
		},
		"of one in a group": func(b *saga.Builder[order, string], mended *bool) {
			g := saga.Parallel(b, "tell")
			saga.Step(g, "ledger", body).Retriable()
			saga.Sub(g, "mail", afterwards(), func(saga.Context, order) (order, error) {
				if !*mended {
					return order{}, errors.New("no address")
				}
				return order{}, nil
			})
		},
		"the result of a sub-saga": func(b *saga.Builder[order, string], mended *bool) {
			inner := saga.New[order, string]("inner", "1").AfterPivot()
			saga.Step(inner, "mail", body).Retriable()
			child, err := inner.Build(func(saga.Context, order) (string, error) {
				if !*mended {
					return "", errors.New("no address")
				}
				return "", nil
			})
			if err != nil {
				panic(err)
			}
			saga.Sub(b, "inner", child, func(saga.Context, order) (order, error) { return order{}, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			mended := false
			serveSaga(t, func(s *shop) *saga.Saga[order, string] {
				b := saga.New[order, string]("shop", "1")
				s.undoable(b, "authorize")
				saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
				after(b, &mended)
				return built(b)
			}, func(r *ran) {
				r.parked(durable.ParkPanic)
				r.parkedAt("", "failed after the pivot, where nothing can be undone: no address")
				r.is("committed/none", "authorize+capture", "")
				mended = true
				r.act(durable.Decision{Verb: durable.VerbResume})
				r.is("committed/none", "authorize+capture", "")
				if r.err != nil {
					t.Errorf("after the deploy: %v, want a commit", r.err)
				}
			})
		})
	}
}

// TestOutOfOperationsAfterThePivot: what the engine refuses there, it parks over.
func TestOutOfOperationsAfterThePivot(t *testing.T) {
	serveWith(t, durable.Options{MaxOperations: 2}, func(s *shop) *saga.Saga[order, string] {
		b := saga.New[order, string]("shop", "1")
		s.undoable(b, "authorize")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		saga.Wait(b, "a day", 24*time.Hour)
		return built(b)
	}, func(r *ran) {
		r.parked(durable.ParkPanic)
		r.parkedAt("", "too many operations")
		r.is("committed/none", "authorize+capture", "")
	})
}

// TestAwaitAfterThePivotSitsAnOutageOut, as any step there.
func TestAwaitAfterThePivotSitsAnOutageOut(t *testing.T) {
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		until := time.Now().Add(5 * time.Minute)
		b := saga.New[order, string]("shop", "1")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		saga.Await[string](b, "ask", func(saga.Context, order, string) error {
			if time.Now().Before(until) {
				return errOutage
			}
			return saga.Reject(errDeclined) // it is heard
		}).Retriable()
		return built(b)
	}, func(r *ran) {
		r.parked(saga.ParkAfterPivot)
		r.parkedAt("ask", "declined")
	})
}

// TestRunAgainUnderTheSameKeys: a durable function after the pivot that has failed
// on its way is run again as a whole when an operator says so, and its participants
// know what they have done already.
func TestRunAgainUnderTheSameKeys(t *testing.T) {
	var keys []string
	down := true
	pay := func(ctx *durable.Context, name string) error {
		_, err := durable.Step(ctx, name, func(c context.Context) (int, error) {
			info, _ := durable.StepInfoFrom(c)
			keys = append(keys, info.Key)
			if name == "bonus" && down {
				return 0, durable.Permanent(errOutage)
			}
			return 1, nil
		})
		return err
	}
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		b := saga.New[order, string]("shop", "1")
		saga.Pivot(b, "capture", s.body("capture")).ParkInDoubt()
		saga.Run(b, "pay out", func(ctx *durable.Context, _ order) (string, error) {
			if err := pay(ctx, "wage"); err != nil {
				return "", err
			}
			return "paid", pay(ctx, "bonus")
		}).Retriable()
		return built(b)
	}, func(r *ran) {
		r.parked(saga.ParkAfterPivot)
		for _, again := range []bool{true, false} {
			down = again
			r.act(durable.Decision{Verb: durable.VerbRetry})
		}
		if want := strings.Fields("wage bonus wage bonus wage bonus"); r.err != nil || len(keys) != len(want) {
			t.Fatalf("got %v, keys %q", r.err, keys)
		}
		slices.Sort(keys)
		if keys = slices.Compact(keys); len(keys) != 2 || keys[0] != "o1/1/pay out/bonus" || keys[1] != "o1/1/pay out/wage" {
			t.Errorf("paid out under %q, want one key for each", keys)
		}
	})
}
