package saga_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// coded is the shop's saga as code: with undos on a Stack up to capture, and
// ship after it.
func (s *shop) coded() *durable.Definition[order, string] {
	return durable.Define("shop", "1", func(ctx *durable.Context, o order) (string, error) {
		undos := saga.NewStack(ctx)
		for _, name := range allSteps[:3] {
			if err := undos.Register(name, s.undoOf(name)); err != nil {
				return "", undos.Unwind(err)
			}
			if _, err := s.step(ctx, name, o); err != nil {
				return "", undos.Unwind(err)
			}
		}
		undos.Release()
		return s.step(ctx.Shielded(), "ship", o)
	})
}

func (s *shop) step(ctx *durable.Context, name string, o order) (string, error) {
	return durable.Step(ctx, name, func(c context.Context) (string, error) {
		return s.body(name)(saga.Context{Context: c}, o)
	})
}

func (s *shop) undoOf(name string) func(saga.UndoContext) error {
	return func(c saga.UndoContext) error {
		if want := "o1/1/" + name; c.ForwardKey() != want || c.Key() != want+"/undo" || c.Cause() == nil {
			s.wrong = append(s.wrong, "undo of "+c.ForwardKey()+" under "+c.Key())
		}
		return s.undoing(name)(c, order{}, saga.Maybe[string]{})
	}
}

// crashedCode runs the coded shop under every crash.
func crashedCode(t *testing.T, status, stands, undos string, prepare func(w *durabletest.World, s *shop)) {
	t.Helper()
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		s := newShop()
		prepare(w, s)
		def := s.coded()
		return durabletest.Subject{
			Definitions: []durable.Registrable{def}, Options: fast, Pairs: 12,
			Start: func(ctx context.Context, e *durable.Engine) error {
				_, err := def.Start(ctx, e, "o1", order{})
				return err
			},
			Check: func() {
				rec, err := w.Store.Load(w.Context(), "o1", durable.LoadHead)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				// With a cancel it depends on the crash whether the next undo was registered.
				order := strings.TrimSpace(strings.TrimPrefix(s.undoOrder()+" ", "capture "))
				if got := rec.Status.String() + " " + rec.Detail; len(s.wrong) > 0 || got != status || s.verdict(allSteps...) != stands || order != undos {
					w.Errorf("got %s, standing %s, undone %q, %v; want %s, %s, %q; error: %v; calls: %s",
						got, s.verdict(allSteps...), s.undoOrder(), s.wrong, status, stands, undos, rec.Error, s.history())
				}
			},
		}
	})
}

func TestCrashStackReleased(t *testing.T) {
	crashedCode(t, "succeeded ", "all", "", func(*durabletest.World, *shop) {})
}

func TestCrashStackUnwound(t *testing.T) {
	crashedCode(t, "failed failed/complete", "none", "reserve authorize", func(_ *durabletest.World, s *shop) {
		s.after["capture"] = always(durable.Permanent(errOutage)) // it took effect
	})
}

func TestCrashStackCancelled(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 7 * time.Second} {
		crashedCode(t, "cancelled cancelled/complete", "none", "reserve authorize", func(w *durabletest.World, s *shop) {
			s.takes = takes
			s.before["reserve"] = func(saga.Context) error {
				return ignore(w.Client.Cancel(w.Context(), "o1", "customer", "changed my mind"))
			}
		})
	}
}

func TestCrashStackUndoFails(t *testing.T) {
	crashedCode(t, "parked failed/stuck", "authorize+reserve", "", func(_ *durabletest.World, s *shop) {
		s.before["capture"] = rejecting
		s.before["undo reserve"] = always(durable.Permanent(errOutage))
	})
}

// codeRun runs a handler with undos until it has ended or is parked.
func codeRun(t *testing.T, handler func(*durable.Context, order) (string, error), then func(r *ran)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("shop", "1", handler)
		r := &ran{shop: newShop(), t: t, store: mem.New()}
		var stop func()
		r.e, _, stop = running(t, r.store, durable.Options{PollMax: time.Minute}, def)
		defer stop()
		x, err := def.Start(t.Context(), r.e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		_, r.err = x.Wait(t.Context())
		r.reload()
		then(r)
	})
}

// decide lets an operator act, and waits.
func (r *ran) decide(verb durable.Verb) {
	r.t.Helper()
	d := durable.Decision{Verb: verb, Actor: "ada", Reason: "test"}
	if err := r.e.Act(r.t.Context(), "o1", r.head.Revision, d); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Hour)
	r.reload()
}

func TestStackOperatorsWayOut(t *testing.T) {
	for verb, want := range map[durable.Verb][]string{
		durable.VerbRetry: {"b", "a", "undone: b, a"},
		durable.VerbSkip:  {"a", "undone: a; skipped: b"},
	} {
		t.Run(string(verb), func(t *testing.T) {
			var undone []string
			mended := false
			codeRun(t, func(ctx *durable.Context, _ order) (string, error) {
				undos := saga.NewStack(ctx)
				for _, name := range []string{"a", "b"} {
					err := undos.Register(name, func(saga.UndoContext) error {
						if name == "b" && !mended {
							return durable.Permanent(errOutage)
						}
						undone = append(undone, name)
						return nil
					})
					if err != nil {
						return "", err
					}
				}
				return "", undos.Unwind(errDeclined)
			}, func(r *ran) {
				r.parked(saga.ParkUndoFailed)
				mended = true
				r.decide(verb)
				if !slices.Equal(undone, want[:len(want)-1]) || r.head.Error == nil || !strings.Contains(r.head.Error.Message, want[len(want)-1]) || r.head.Detail != "failed/complete" {
					t.Errorf("undone %v, %v, %s, want %v", undone, r.head.Error, r.head.Detail, want)
				}
			})
		})
	}
}

// TestStackKeys: each undo gets the key of its own operation, however
// registrations and operations by one name follow each other.
func TestStackKeys(t *testing.T) {
	var keys, undone []string
	book := func(ctx *durable.Context) error {
		_, err := durable.Step(ctx, "seat", func(c context.Context) (int, error) {
			info, _ := durable.StepInfoFrom(c)
			keys = append(keys, info.Key)
			return 0, nil
		})
		return err
	}
	codeRun(t, func(ctx *durable.Context, _ order) (string, error) {
		undos := saga.NewStack(ctx)
		register := func() error {
			return undos.Register("seat", func(c saga.UndoContext) error {
				undone = append(undone, c.ForwardKey())
				return nil
			})
		}
		nothing := book(ctx) // not to be undone
		err := errors.Join(nothing, register(), book(ctx), register(), register(), book(ctx), book(ctx))
		if err != nil {
			return "", err
		}
		first := undos.Unwind(errDeclined)
		if err := errors.Join(register(), book(ctx)); err != nil { // it may be used again
			return "", err
		}
		return "", errors.Join(first, undos.Unwind(errDeclined))
	}, func(r *ran) {
		slices.Reverse(undone[:3])
		if len(keys) != 5 || !slices.Equal(undone, keys[1:]) {
			t.Errorf("got undos of %v, want of %v", undone, keys[1:])
		}
	})
}

// TestStackIsNotLeft: an end that would lose an undo parks, in a child context
// too, and code that unwinds goes on from there.
func TestStackIsNotLeft(t *testing.T) {
	mended, undone := false, 0
	careless := func(ctx *durable.Context) (string, error) {
		undos := saga.NewStack(ctx)
		err := undos.Register("a", func(saga.UndoContext) error { undone++; return nil })
		if err != nil || !mended {
			return "", err
		}
		return "", undos.Unwind(errDeclined)
	}
	for name, handler := range map[string]func(ctx *durable.Context, _ order) (string, error){
		"handler": func(ctx *durable.Context, _ order) (string, error) { return careless(ctx) },
		"child":   func(ctx *durable.Context, _ order) (string, error) { return durable.Child(ctx, "c", careless) },
	} {
		t.Run(name, func(t *testing.T) {
			mended, undone = false, 0
			codeRun(t, handler, func(r *ran) {
				r.parked(durable.ParkUndosLeft)
				mended = true
				r.decide(durable.VerbResume)
				if undone != 1 || r.head.Status != durable.StatusFailed {
					t.Errorf("undone %d times, %v", undone, r.head.Status)
				}
			})
		})
	}
}

func TestStackRefuses(t *testing.T) {
	nop := func(saga.UndoContext) error { return nil }
	for name, misuse := range map[string]func(ctx *durable.Context, undos *saga.Stack) error{
		"continue as new": func(ctx *durable.Context, undos *saga.Stack) error {
			_ = undos.Register("a", nop)
			defer undos.Release()
			return durable.ContinueAsNew(ctx, order{})
		},
		"branch": func(ctx *durable.Context, _ *saga.Stack) error {
			f := durable.Go(ctx, "b", func(ctx *durable.Context) (int, error) {
				return 0, saga.NewStack(ctx).Register("a", nop)
			})
			_, err := f.Wait(ctx)
			return err
		},
		"no undo": func(_ *durable.Context, undos *saga.Stack) error { return undos.Register("a", nil) },
		"negative timeout": func(_ *durable.Context, undos *saga.Stack) error {
			return undos.Register("a", nop, saga.UndoTimeout(-1))
		},
		"no cause": func(_ *durable.Context, undos *saga.Stack) error { return undos.Unwind(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			codeRun(t, func(ctx *durable.Context, _ order) (string, error) {
				return "", misuse(ctx, saga.NewStack(ctx))
			}, func(r *ran) {
				if !errors.Is(r.err, durable.ErrInvalid) {
					t.Errorf("got %v, want ErrInvalid", r.err)
				}
			})
		})
	}
}

// TestStackContinuesReleased: once nothing is left to undo a run may follow.
func TestStackContinuesReleased(t *testing.T) {
	codeRun(t, func(ctx *durable.Context, o order) (string, error) {
		if o.Card == "second" {
			return "done", nil
		}
		undos := saga.NewStack(ctx)
		if err := undos.Register("a", func(saga.UndoContext) error { return nil }); err != nil {
			return "", err
		}
		undos.Release()
		return "", durable.ContinueAsNew(ctx, order{Card: "second"})
	}, func(r *ran) {
		if r.err != nil || string(r.head.Result) != `"done"` {
			t.Errorf("got %s, %v", r.head.Result, r.err)
		}
	})
}

// TestStackInARun: what is undone in a step is the step's. The saga's status, and
// so the verbs that there are and what is said of an abandoned one, stay its own.
func TestStackInARun(t *testing.T) {
	mended := false
	serveSaga(t, func(s *shop) *saga.Saga[order, string] {
		b := saga.New[order, string]("shop", "1")
		s.undoable(b, "authorize")
		saga.Run(b, "reserve", func(ctx *durable.Context, _ order) (string, error) {
			undos := saga.NewStack(ctx)
			err := undos.Register("first choice", func(saga.UndoContext) error {
				if !mended {
					return durable.Permanent(errOutage)
				}
				return nil
			})
			if err == nil {
				_, err = durable.Step(ctx, "first choice", func(context.Context) (int, error) { return 0, durable.Permanent(errOutage) })
			}
			if unwound := undos.Unwind(err); errors.Is(unwound, durable.ErrSuspended) {
				return "", unwound
			}
			return "reserve-ed", nil // the second choice
		}).Undo(s.undoing("reserve"))
		s.before["capture"] = func(saga.Context) error { panic("oops") }
		s.undoable(b, "capture")
		return built(b)
	}, func(r *ran) {
		r.parked(saga.ParkUndoFailed)
		r.is("running/stuck", "authorize", "")
		mended = true
		r.act(durable.Decision{Verb: durable.VerbRetry})
		r.parked(durable.ParkPanic)
		r.is("running/none", "authorize", "")
		if got := r.head.Verbs(); !slices.Contains(got, durable.VerbUnwind) {
			t.Errorf("possible are %v, want unwind among them", got)
		}
		r.act(durable.Decision{Verb: durable.VerbAbandon})
		r.is("terminated/abandoned", "authorize", "")
	})
}

// TestAbandonedStack: the status of a durable function that unwound says so too.
func TestAbandonedStack(t *testing.T) {
	codeRun(t, func(ctx *durable.Context, _ order) (string, error) {
		undos := saga.NewStack(ctx)
		if err := undos.Register("a", func(saga.UndoContext) error { return durable.Permanent(errOutage) }); err != nil {
			return "", err
		}
		return "", undos.Unwind(errDeclined)
	}, func(r *ran) {
		r.parked(saga.ParkUndoFailed)
		r.decide(durable.VerbAbandon)
		if got := saga.StatusOf(&r.head).String(); got != "failed/abandoned" {
			t.Errorf("got %s, want it abandoned", got)
		}
	})
}

// TestStackWhoseUndoPanicsIsStuck as one of a declared saga.
func TestStackWhoseUndoPanicsIsStuck(t *testing.T) {
	codeRun(t, func(ctx *durable.Context, _ order) (string, error) {
		undos := saga.NewStack(ctx)
		if err := undos.Register("a", func(saga.UndoContext) error { panic("oops") }); err != nil {
			return "", err
		}
		return "", undos.Unwind(errDeclined)
	}, func(r *ran) {
		r.parked(durable.ParkPanic)
		if got := saga.StatusOf(&r.head).String(); got != "failed/stuck" {
			t.Errorf("got %s, want it stuck", got)
		}
	})
}
