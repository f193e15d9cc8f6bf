package durable_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// run has a session start or resume x of d@1, and returns how it was left.
func run(t *testing.T, e *durable.Engine, begin bool) (left *durable.Head) {
	t.Helper()
	err := e.Session(t.Context(), func(ctx context.Context) (err error) {
		if begin {
			left, err = e.StartJSON(ctx, "d", "1", "x", []byte("0"))
		} else {
			left, err = e.Resume(ctx, "d", "1", "x")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestSessionStartsNothingAfterDeafBodies: the time that a step waits for bodies
// that ignore their end is time that it does not have.
func TestSessionStartsNothingAfterDeafBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, ran := time.Now(), time.Duration(-1)
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			_, err := durable.Step(ctx, "deaf", func(context.Context) (int, error) { time.Sleep(40 * time.Second); return 0, nil },
				durable.WithTimeout(5*time.Second), durable.WithRetry(durable.Retry{MaxAttempts: 1}))
			if !errors.Is(err, durable.ErrAttemptTimeout) {
				return 0, err
			}
			return durable.Step(ctx, "after", func(context.Context) (int, error) { ran = time.Since(began); return 1, nil },
				durable.WithTimeout(30*time.Second), durable.AfterBodies())
		})
		store := mem.New()
		left := run(t, visit(t, store, time.Minute, def), true)
		if ran >= 0 || left.Status != durable.StatusSuspended {
			t.Errorf("got a start after %v of 58 s, of a step that may take 30 s, and %v; want it handed over", ran, left.Status)
		}
		time.Sleep(time.Until(left.Due))
		if left = run(t, visit(t, store, time.Minute, def), false); left.Status != durable.StatusSucceeded {
			t.Errorf("in the next one: got %v, want succeeded", left.Status)
		}
	})
}

// interrupted is a store whose first writes that must have seen all take long,
// and have something arrive meanwhile.
type interrupted struct {
	durable.Store
	n int
}

func (s *interrupted) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if c.IfSeen && c.Status == durable.StatusRunning && s.n > 0 {
		s.n--
		time.Sleep(9 * time.Second)
		d := &durable.Delivery{ID: c.ID, Key: fmt.Sprint("signal/s/", s.n), Nonce: fmt.Sprint(s.n), Kind: durable.DeliverSignal, Revision: -1, Now: time.Now()}
		if err := s.Store.Deliver(ctx, d); err != nil {
			return durable.Receipt{}, err
		}
	}
	return s.Store.Commit(ctx, c)
}

// TestSessionStartsNoPivotTooLate: a point of no return whose start is refused
// because something arrived is started anew, later, or not here.
func TestSessionStartsNoPivotTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, ran := time.Now(), time.Duration(-1)
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := durable.Step(ctx, "before", func(context.Context) (int, error) { return 0, nil }, durable.WithTimeout(time.Second)); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "pivot", func(context.Context) (int, error) { ran = time.Since(began); return 1, nil },
				durable.WithTimeout(30*time.Second), durable.PointOfNoReturn())
		})
		store := &interrupted{mem.New(), 3}
		left := run(t, visit(t, store, 50*time.Second, def), true)
		if store.n > 0 {
			t.Fatalf("%d interruptions have not happened", store.n)
		}
		if ran >= 0 || left.Status != durable.StatusSuspended {
			t.Errorf("got a start after %v of 48 s, of a step that may take 30 s, and %v; want it handed over", ran, left.Status)
		}
		if left = run(t, visit(t, store, 50*time.Second, def), false); left.Status != durable.StatusSucceeded {
			t.Errorf("in the next one: got %v, want succeeded", left.Status)
		}
	})
}

// TestSessionThatBeginsLate: an execution that gets its turn late in every
// session has found no host that has too little time, and is not parked for it.
func TestSessionThatBeginsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "half", func(context.Context) (int, error) { return 1, nil }, durable.WithTimeout(30*time.Second))
		})
		store := mem.New()
		for n := range 20 {
			var left *durable.Head
			e := visit(t, store, time.Minute, def)
			err := e.Session(t.Context(), func(ctx context.Context) (err error) {
				time.Sleep(40 * time.Second) // others had it
				if n == 0 {
					left, err = e.StartJSON(ctx, "d", "1", "x", []byte("0"))
				} else {
					left, err = e.Resume(ctx, "d", "1", "x")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if left.Status != durable.StatusSuspended || left.Due.After(time.Now()) {
				t.Fatalf("session %d: got %v due %v, park %+v, want it handed over at once", n, left.Status, left.Due, left.Park)
			}
		}
		if left := run(t, visit(t, store, time.Minute, def), false); left.Status != durable.StatusSucceeded {
			t.Errorf("in one of its own: got %v, want succeeded", left.Status)
		}
	})
}

// slowClaims is a store in which every claim takes long.
type slowClaims struct{ durable.Store }

func (s slowClaims) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	time.Sleep(5 * time.Second)
	return s.Store.Claim(ctx, c)
}

// TestSessionWithSlowClaims: what every host loses with the claim is time that no
// host has.
func TestSessionWithSlowClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if err := durable.Wait(ctx, "w", time.Minute); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "long", func(context.Context) (int, error) { return 1, nil }, durable.WithTimeout(55*time.Second))
		})
		store := slowClaims{mem.New()}
		left := run(t, visit(t, store, time.Minute, def), true)
		for n := 0; left.Status == durable.StatusSuspended; n++ {
			if n > 20 {
				t.Fatal("it is handed over for ever")
			}
			time.Sleep(time.Until(left.Due))
			left = run(t, visit(t, store, time.Minute, def), false)
		}
		if left.Status != durable.StatusParked || left.Park.Reason != durable.ParkNoTime {
			t.Errorf("got %v, park %+v, want it parked", left.Status, left.Park)
		}
	})
}
