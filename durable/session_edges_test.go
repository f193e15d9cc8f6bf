package durable_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// watched counts what reaches a store, and lets tests slow its commits down.
type watched struct {
	durable.Store
	claims, renewals atomic.Int64
	before           func(c *durable.Commit) error
}

func (s *watched) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, c)
}

func (s *watched) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if !c.Lease.IsZero() {
		s.renewals.Add(1)
	}
	if s.before != nil {
		if err := s.before(c); err != nil {
			return durable.Receipt{}, err
		}
	}
	return s.Store.Commit(ctx, c)
}

// TestSessionWaitsForAll: also for what was started and not waited for, and for
// what that has invoked here.
func TestSessionWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
				select {
				case <-time.After(5 * time.Second):
					return 1, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			})
		}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return step(ctx) })
		store := mem.New()
		e := visit(t, store, time.Minute, def)
		began := time.Now()
		err := e.Session(t.Context(), func(ctx context.Context) error {
			_, err := def.Start(ctx, e, "x", 0)
			return err
		})
		rec, lost := store.Load(t.Context(), "x", durable.LoadHead)
		if err != nil || lost != nil || rec.Status != durable.StatusSucceeded || time.Since(began) != 5*time.Second {
			t.Errorf("got %v, %v, %+v after %v, want it to succeed in 5 s", err, lost, rec, time.Since(began))
		}
	})
}

// TestSessionEndsItsContext: at Until less Reserve, so that do gives up.
func TestSessionEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := visit(t, mem.New(), time.Minute).Session(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 58*time.Second {
			t.Errorf("got %v after %v, want the end of the context after 58 s", err, time.Since(began))
		}
	})
}

// TestSessionThatIsOver: a session whose context has ended already runs nothing,
// and hands back what it is given.
func TestSessionThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := false
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if err := durable.Wait(ctx, "w", time.Minute); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "s", func(context.Context) (int, error) { ran = true; return 0, nil })
		})
		store := mem.New()
		run(t, visit(t, store, time.Minute, def), true)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			e := visit(t, store, time.Minute, def)
			err := e.Session(ctx, func(ctx context.Context) error {
				_, err := e.Resume(ctx, "d", "1", "x")
				return err
			})
			rec, lost := store.Load(t.Context(), "x", durable.LoadHead)
			if lost != nil || ran || rec.Status != durable.StatusSuspended || rec.Due.After(time.Now()) {
				t.Fatalf("got %v, %v, ran %v, %v due %v, want it suspended and due", err, lost, ran, rec.Status, rec.Due)
			}
		}
	})
}

// TestSessionResumesOnce: what runs here is not claimed again.
func TestSessionResumesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if err := durable.Wait(ctx, "w", time.Minute); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(53 * time.Second); return 0, nil }, durable.WithTimeout(57*time.Second))
		})
		store := &watched{Store: mem.New()}
		run(t, visit(t, store, time.Minute, def), true)
		time.Sleep(time.Minute)
		e := visit(t, store, time.Minute, def)
		var answers [8]error
		err := e.Session(t.Context(), func(ctx context.Context) error {
			done := make(chan int)
			for i := range answers {
				go func() {
					time.Sleep(time.Duration(i) * time.Second)
					_, answers[i] = e.Resume(ctx, "d", "1", "x")
					done <- i
				}()
			}
			for range answers {
				<-done
			}
			return nil
		})
		for i := range answers {
			if i == 0 && answers[i] != nil || i > 0 && !errors.Is(answers[i], durable.ErrNotDue) {
				t.Errorf("resume %d: got %v", i, answers[i])
			}
		}
		if err != nil || store.claims.Load() != 1 {
			t.Errorf("got %v and %d claims, want one", err, store.claims.Load())
		}
		if n := store.renewals.Load(); n != 0 {
			t.Errorf("got %d writes that move the lease, want none", n)
		}
	})
}

// TestSessionStartThenResume: a start that finds its execution there leaves nothing
// behind that would stand in the way of its resume.
func TestSessionStartThenResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return 1, nil })
		for range 50 {
			store := mem.New()
			if _, err := visit(t, store, time.Minute, def).StartJSON(t.Context(), "d", "", "x", []byte("0")); err != nil {
				t.Fatal(err)
			}
			e := visit(t, store, time.Minute, def)
			err := e.Session(t.Context(), func(ctx context.Context) error {
				if left, err := e.StartJSON(ctx, "d", "", "x", []byte("0")); err != nil || left.Status != durable.StatusPending {
					t.Errorf("start of what is there: got %+v, %v", left, err)
				}
				left, err := e.Resume(ctx, "d", "1", "x")
				if err == nil && left.Status != durable.StatusSucceeded {
					t.Errorf("got %v", left.Status)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSessionWithSlowMarkers: a start marker that took so long to write that the
// attempt would have to begin anew, for which there is no time, starts nothing.
func TestSessionWithSlowMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []time.Duration
		began := time.Now()
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
				at, _ := ctx.Deadline()
				ends = append(ends, at.Sub(began))
				return 1, nil
			}, durable.WithTimeout(30*time.Second))
		})
		fails := 2
		store := &watched{Store: mem.New(), before: func(c *durable.Commit) error {
			if c.Status != durable.StatusRunning || fails == 0 {
				return nil
			}
			fails--
			time.Sleep(9 * time.Second)
			return errors.New("no answer")
		}}
		run(t, visit(t, store, time.Minute, def), true)
		time.Sleep(time.Hour)
		began = time.Now()
		left := run(t, visit(t, store, 45*time.Second, def), false)
		if len(ends) != 0 || left.Status != durable.StatusSuspended {
			t.Errorf("got attempts until %v of 43 s, and %v, want it handed over", ends, left.Status)
		}
		for left.Status == durable.StatusSuspended {
			time.Sleep(time.Until(left.Due))
			left = run(t, visit(t, store, time.Minute, def), false)
		}
		if left.Status != durable.StatusSucceeded {
			t.Errorf("later: got %v, want succeeded", left.Status)
		}
	})
}

// TestSessionStopsBodies: once its context has ended, bodies get a quarter of the
// reserve, and then their contexts end; what they did is taken for lost, and repeated at once elsewhere, because they have returned.
func TestSessionStopsBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		runs := 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "s", func(ctx context.Context) (int, error) {
				if runs++; runs == 1 {
					<-ctx.Done()
				}
				return 1, ctx.Err()
			}, durable.WithTimeout(20*time.Second))
		})
		e := visit(t, store, time.Minute, def)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := e.Session(ctx, func(ctx context.Context) error {
			left, err := e.StartJSON(ctx, "d", "", "x", []byte("0"))
			if err == nil && (left.Status != durable.StatusSuspended || left.Due.After(time.Now())) {
				t.Errorf("got %v due %v, want suspended and due", left.Status, left.Due)
			}
			return err
		})
		if err != nil || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("got %v after %v, want nil after 1.5 s", err, time.Since(began))
		}
		left := run(t, visit(t, store, time.Minute, def), false)
		for left.Status == durable.StatusSuspended {
			time.Sleep(time.Until(left.Due))
			left = run(t, visit(t, store, time.Minute, def), false)
		}
		if left.Status != durable.StatusSucceeded || runs != 2 || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("got %v with %d runs after %v, want success in the second, at once: the first has returned", left.Status, runs, time.Since(began))
		}
	})
}

// TestSessionSleepsNotIntoItsEnd: a wait that would stay in memory does not if this
// host ends before it.
func TestSessionSleepsNotIntoItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) { return 1, durable.Wait(ctx, "w", 10*time.Second) })
		e, err := durable.New(mem.New(), durable.Options{Until: time.Now().Add(11 * time.Second), HotWait: time.Minute})
		if err == nil {
			err = e.Register(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if left := run(t, e, true); left.Status != durable.StatusSuspended || time.Since(began) != 0 {
			t.Errorf("got %v after %v, want suspended at once", left.Status, time.Since(began))
		}
	})
}
