package durable_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// visit is an engine whose host ends after d.
func visit(t *testing.T, store durable.Store, d time.Duration, defs ...durable.Registrable) *durable.Engine {
	t.Helper()
	e, err := durable.New(store, durable.Options{Until: time.Now().Add(d), HotWait: -1, Host: "7"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(defs...); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSession: what starts in a Session runs there until it waits, and goes on
// in the next one.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		def := durable.Define("d", "1", func(ctx *durable.Context, in int) (int, error) {
			v, err := durable.Step(ctx, "double", func(context.Context) (int, error) { return 2 * in, nil })
			if err != nil {
				return 0, err
			}
			return v, durable.Wait(ctx, "day", 24*time.Hour)
		})
		e := visit(t, store, time.Minute, def)
		began := time.Now()
		err := e.Session(t.Context(), func(ctx context.Context) error {
			left, err := e.StartJSON(ctx, "d", "", "x", []byte(" 21 "))
			if err != nil {
				return err
			}
			if left.Status != durable.StatusSuspended || time.Until(left.Due) != 24*time.Hour {
				t.Errorf("got %v due %v, want suspended for a day", left.Status, left.Due)
			}
			return nil
		})
		if err != nil || time.Since(began) != 0 {
			t.Fatalf("got %v after %v, want nil at once: nothing runs any more", err, time.Since(began))
		}
		if err := e.Session(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, durable.ErrInvalid) {
			t.Errorf("a second Session: got %v, want ErrInvalid", err)
		}
		if _, err := e.Resume(t.Context(), "d", "1", "x"); !errors.Is(err, durable.ErrHostGone) {
			t.Errorf("Resume after the Session: got %v, want ErrHostGone", err)
		}
		time.Sleep(24 * time.Hour)
		e = visit(t, store, time.Minute, def)
		err = e.Session(t.Context(), func(ctx context.Context) error {
			left, err := e.Resume(ctx, "d", "1", "x")
			if err != nil {
				return err
			}
			if left.Status != durable.StatusSucceeded || string(left.Result) != "42" {
				t.Errorf("got %v %s, want succeeded with 42", left.Status, left.Result)
			}
			if again, err := e.StartJSON(ctx, "d", "1", "x", []byte("21")); err != nil || again.Status != durable.StatusSucceeded {
				t.Errorf("the same start again: got %+v, %v, want the ended one", again, err)
			}
			_, err = e.Resume(ctx, "d", "1", "x")
			return err
		})
		if !errors.Is(err, durable.ErrEnded) {
			t.Errorf("Resume of what has ended: got %v, want ErrEnded", err)
		}
	})
}

// TestSessionRefuses: what cannot be started or resumed is said with its name.
func TestSessionRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, in struct{ N int }) (int, error) { return in.N, nil })
		e := visit(t, mem.New(), time.Minute, def)
		err := e.Session(t.Context(), func(ctx context.Context) error {
			for _, c := range []struct {
				definition, version, id, input string
				want                           error
				names                          string
			}{
				{"d", "", "x", `{"N": "many"}`, durable.ErrInvalid, "d@1"},
				{"d", "", "x", `{"N": 1`, durable.ErrInvalid, "d@1"},
				{"d", "2", "x", `{"N": 1}`, durable.ErrUnknownDefinition, "registered are d@1"},
				{"e", "", "x", `{"N": 1}`, durable.ErrUnknownDefinition, `"e"`},
				{"d", "", "", `{"N": 1}`, durable.ErrInvalid, "ID"},
			} {
				_, err := e.StartJSON(ctx, c.definition, c.version, c.id, []byte(c.input))
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) {
					t.Errorf("start of %+v: got %v", c, err)
				}
			}
			if _, err := e.Resume(ctx, "d", "1", "nobody"); !errors.Is(err, durable.ErrNotFound) {
				t.Errorf("resume of nobody: got %v, want ErrNotFound", err)
			}
			if _, err := e.Resume(ctx, "e", "1", "x"); !errors.Is(err, durable.ErrUnknownDefinition) {
				t.Errorf("resume of another definition: got %v, want ErrUnknownDefinition", err)
			}
			if got := e.Definitions(); len(got) != 1 || got[0] != [2]string{"d", "1"} {
				t.Errorf("got definitions %v", got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for _, host := range []string{"a@b", strings.Repeat("x", 33)} {
			if _, err := durable.New(mem.New(), durable.Options{Host: host}); !errors.Is(err, durable.ErrInvalid) {
				t.Errorf("host %q: got %v, want ErrInvalid", host, err)
			}
		}
	})
}

// TestSessionStartsNothingThatCannotEnd: before the end of the host no attempt
// starts whose timeout reaches into the reserve, in branches neither; the lease
// never moves, and names the host.
func TestSessionStartsNothingThatCannotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		began := time.Now()
		var starts []time.Duration
		body := func(d time.Duration) func(context.Context) (int, error) {
			return func(context.Context) (int, error) {
				starts = append(starts, time.Since(began))
				time.Sleep(d)
				return 0, nil
			}
		}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := durable.Step(ctx, "a", body(6*time.Second), durable.WithTimeout(10*time.Second)); err != nil {
				return 0, err
			}
			if _, err := durable.Step(ctx, "b", body(4*time.Second), durable.WithTimeout(5*time.Second)); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "c", body(0), durable.WithTimeout(3*time.Second))
		})
		e := visit(t, store, 14*time.Second, def)
		err := e.Session(t.Context(), func(ctx context.Context) error {
			left, err := e.StartJSON(ctx, "d", "", "x", []byte("0"))
			if err != nil {
				return err
			}
			if left.Status != durable.StatusSuspended || left.Due.After(time.Now()) {
				t.Errorf("got %v due %v, want suspended and due", left.Status, left.Due)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// a until 6, b until 10; c could take until 13, and the reserve begins at 12.
		if len(starts) != 2 || starts[0] != 0 || starts[1] != 6*time.Second || time.Since(began) != 10*time.Second {
			t.Errorf("got starts at %v and the end at %v, want 0 and 6 s, and 10 s", starts, time.Since(began))
		}
		rec, err := store.Load(t.Context(), "x", durable.LoadAll)
		if err != nil || durable.HostOf(rec.Owner) != "7" || durable.HostOf("a/1") != "" {
			t.Errorf("got owner %q, %v, want one of host 7", rec.Owner, err)
		}
		e = visit(t, store, 14*time.Second, def)
		err = e.Session(t.Context(), func(ctx context.Context) error {
			left, err := e.Resume(ctx, "d", "1", "x")
			if err == nil && left.Status != durable.StatusSucceeded {
				t.Errorf("got %v, want succeeded", left.Status)
			}
			return err
		})
		if err != nil || len(starts) != 3 {
			t.Errorf("got %v and %d starts, want nil and 3", err, len(starts))
		}
	})
}

// TestSessionKeepsItsLease: however long it runs.
func TestSessionKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		end := time.Now().Add(10 * time.Minute)
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for range 5 {
				_, err := durable.Step(ctx, "a", func(context.Context) (int, error) {
					time.Sleep(time.Minute)
					rec, err := store.Load(context.Background(), "x", durable.LoadHead)
					if err != nil || !rec.Lease.Equal(end.Add(5*time.Second)) {
						t.Errorf("got lease %v, %v, want 5 s after %v", rec.Lease, err, end)
					}
					return 0, err
				}, durable.WithTimeout(90*time.Second))
				if err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		e := visit(t, store, 10*time.Minute, def)
		err := e.Session(t.Context(), func(ctx context.Context) error {
			left, err := e.StartJSON(ctx, "d", "", "x", []byte("0"))
			if err == nil && left.Status != durable.StatusSucceeded {
				t.Errorf("got %v, want succeeded", left.Status)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestSessionWithoutTime: a step that no host has time for is handed over ever
// more slowly, and parks in the end; a host with time takes it up after resume.
func TestSessionWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ran := mem.New(), 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			if _, err := durable.Step(ctx, "short", func(context.Context) (int, error) { return 0, nil }, durable.WithTimeout(time.Second)); err != nil {
				return 0, err
			}
			return durable.Step(ctx, "long", func(context.Context) (int, error) { ran++; return 1, nil }, durable.WithTimeout(time.Minute))
		})
		began, n := time.Now(), 0
		var left *durable.Head
		for left == nil || left.Status == durable.StatusSuspended {
			e := visit(t, store, time.Minute, def) // with the reserve, two seconds too few
			err := e.Session(t.Context(), func(ctx context.Context) (err error) {
				if n++; n == 1 {
					left, err = e.StartJSON(ctx, "d", "", "x", []byte("0"))
				} else {
					left, err = e.Resume(ctx, "d", "1", "x")
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(left.Due))
		}
		if left.Status != durable.StatusParked || left.Park.Reason != durable.ParkNoTime || !strings.Contains(left.Park.Message, `"long" may take 1m0s`) {
			t.Errorf("got %v, park %+v, want parked for lack of time for long", left.Status, left.Park)
		}
		if spent := time.Since(began); n != 10 || spent != 255*time.Second || ran != 0 {
			t.Errorf("got %d activations in %v, long ran %d times, want 10 in 4m15s and none", n, spent, ran)
		}
		e := visit(t, store, 2*time.Minute, def)
		rec, err := store.Load(t.Context(), "x", durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Act(t.Context(), "x", rec.Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "more time"}); err != nil {
			t.Fatal(err)
		}
		err = e.Session(t.Context(), func(ctx context.Context) error {
			left, err = e.Resume(ctx, "d", "1", "x")
			return err
		})
		if err != nil || left.Status != durable.StatusSucceeded || ran != 1 {
			t.Errorf("with time: got %v, %v, long ran %d times, want succeeded and once", left, err, ran)
		}
	})
}

// TestSessionTellsOfCodeThatRuns: a body that does not obey its context makes
// the Session end with ErrStillRunning before the host does.
func TestSessionTellsOfCodeThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			return durable.Step(ctx, "deaf", func(context.Context) (int, error) { <-release; return 0, nil }, durable.WithTimeout(5*time.Second), durable.WithRetry(durable.Retry{MaxAttempts: 1}))
		})
		e := visit(t, mem.New(), 20*time.Second, def)
		began := time.Now()
		err := e.Session(t.Context(), func(ctx context.Context) error {
			_, err := e.StartJSON(ctx, "d", "", "x", []byte("0"))
			return err
		})
		if d := time.Since(began); !errors.Is(err, durable.ErrStillRunning) || d >= 20*time.Second {
			t.Errorf("got %v after %v, want ErrStillRunning before 20 s", err, d)
		}
		close(release)
		synctest.Wait()
	})
}

// TestSessionDrains: the end of its context hands over what runs, and lets the
// running body end first.
func TestSessionDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := 0
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for range 3 {
				if _, err := durable.Step(ctx, "a", func(context.Context) (int, error) { time.Sleep(400 * time.Millisecond); ends++; return 0, nil }); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		e := visit(t, mem.New(), time.Hour, def)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := e.Session(ctx, func(ctx context.Context) error {
			left, err := e.StartJSON(ctx, "d", "", "x", []byte("0"))
			if err == nil && (left.Status != durable.StatusSuspended || left.Due.After(time.Now())) {
				t.Errorf("got %v due %v, want suspended and due", left.Status, left.Due)
			}
			return err
		})
		if err != nil || ends != 1 {
			t.Errorf("got %v with %d bodies run, want nil and 1", err, ends)
		}
	})
}
