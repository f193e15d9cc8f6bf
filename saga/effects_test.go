package saga_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// effectsOf are the effects in a record as short texts.
func effectsOf(rec *durable.Record) string {
	var all []string
	for _, e := range saga.Effects(rec) {
		s := e.Name
		if e.Class != "undoable" {
			s += " (" + e.Class + ")"
		}
		s += ": " + e.End
		if e.InDoubt {
			s += " in doubt"
		}
		if e.Undo != "" {
			s += ", undo " + e.Undo
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

// foretold checks that the journal up to the first undo has foretold which steps
// are undone, and in which order.
func foretold(rec *durable.Record) error {
	if err := leftAgrees(rec); err != nil {
		return err
	}
	if rec.Status.Ended() && strings.HasSuffix(rec.Detail, "/complete") {
		for _, e := range saga.Effects(rec) {
			if e.ToUndo() || e.Started.IsZero() || e.Ended.IsZero() {
				return fmt.Errorf("after the unwinding, effect %+v", e)
			}
		}
	}
	out := func(e durable.Entry) bool { return e.Subtype == durable.SubtypeUndo || e.Scope == durable.ScopeUnwind }
	cut := slices.IndexFunc(rec.Journal, out)
	if cut < 0 {
		return nil
	}
	var undone, want []string
	for _, e := range rec.Journal[cut:] {
		if e.First && e.Subtype == durable.SubtypeUndo && !slices.Contains(undone, e.Name) {
			undone = append(undone, e.Name)
		}
	}
	before := *rec
	before.Journal, before.Status = rec.Journal[:cut], durable.StatusRunning
	effects := saga.Effects(&before)
	slices.SortFunc(effects, func(a, b saga.Effect) int { return int(b.Number - a.Number) })
	for _, e := range effects {
		if e.ToUndo() {
			want = append(want, e.Name)
		}
	}
	if !rec.Status.Ended() {
		want = want[:min(len(want), len(undone))] // the rest is still to come
	}
	var planned []string
	for _, step := range saga.PlanOf(&before).Undo {
		planned = append(planned, step.Name)
	}
	if len(want) > len(planned) || !slices.Equal(planned[:len(want)], want) {
		return fmt.Errorf("planned %q, want %q", planned, want)
	}
	if !slices.Equal(undone, want) {
		return fmt.Errorf("got %q undone, want %q", undone, want)
	}
	return nil
}

// leftAgrees checks at every length of the journal that, were the saga ended from
// outside there, its history would name what Effects says stands.
func leftAgrees(rec *durable.Record) error {
	for n := range len(rec.Journal) + 1 {
		ended := *rec
		ended.Journal, ended.Status = rec.Journal[:n], durable.StatusTerminated
		var want []string
		for _, e := range saga.Effects(&ended) {
			if e.Stands() && e.Class != "read-only" {
				want = append(want, e.Name)
			}
		}
		if got := left(&ended); !slices.Equal(got, want) {
			return fmt.Errorf("after entry %d: left %q, want %q", n, got, want)
		}
	}
	return nil
}

// left is what the history of a saga that was ended from outside says it left.
func left(rec *durable.Record) (names []string) {
	for e := range durable.History(rec) {
		if e.Type == "SagaAbandoned" {
			names = append(names, e.Details.Left...)
		}
	}
	return names
}

func TestEffects(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*shop)
		act     []durable.Decision
		want    string
	}{
		"committed": {want: "authorize: succeeded; reserve: succeeded; capture (pivot): succeeded; ship (retriable): succeeded"},
		"rejected": {
			prepare: func(s *shop) { s.before["capture"] = rejecting },
			want:    "authorize: succeeded, undo done; reserve: succeeded, undo done; capture (pivot): failed",
		},
		"step in doubt": {
			prepare: func(s *shop) { s.after["reserve"] = always(durable.Permanent(errors.New("no answer"))) },
			want:    "authorize: succeeded, undo done; reserve: failed in doubt, undo done",
		},
		"never started": {
			prepare: func(s *shop) { s.before["authorize"] = rejecting },
			want:    "authorize: failed",
		},
		"pivot in doubt": {
			prepare: func(s *shop) { s.after["capture"] = always(durable.Permanent(errors.New("no answer"))) },
			want:    "authorize: succeeded; reserve: succeeded; capture (pivot): failed in doubt",
		},
		"pivot resolved": {
			prepare: func(s *shop) { s.after["capture"] = always(durable.Permanent(errors.New("no answer"))) },
			act:     []durable.Decision{{Verb: durable.VerbResolve, Output: []byte(`"c"`)}},
			want:    "authorize: succeeded; reserve: succeeded; capture (pivot): succeeded; ship (retriable): succeeded",
		},
		"pivot resolved as none": {
			prepare: func(s *shop) { s.after["capture"] = always(durable.Permanent(errors.New("no answer"))) },
			act:     []durable.Decision{{Verb: durable.VerbResolve, NoEffect: true}},
			want:    "authorize: succeeded, undo done; reserve: succeeded, undo done; capture (pivot): failed",
		},
		"verified as happened": {
			prepare: func(s *shop) {
				s.after["capture"] = always(durable.Permanent(errors.New("no answer")))
				s.verify = s.truth
			},
			want: "authorize: succeeded; reserve: succeeded; capture (pivot): succeeded; ship (retriable): succeeded",
		},
		"verified as none": {
			prepare: func(s *shop) {
				s.before["capture"] = always(durable.Permanent(errors.New("no answer")))
				s.verify = s.truth
			},
			want: "authorize: succeeded, undo done; reserve: succeeded, undo done; capture (pivot): failed",
		},
		"undo failed": {
			prepare: undoFails,
			want:    "authorize: succeeded; reserve: succeeded, undo failed; capture (pivot): failed",
		},
		"undo skipped": {
			prepare: undoFails,
			act:     []durable.Decision{{Verb: durable.VerbSkip}},
			want:    "authorize: succeeded, undo done; reserve: succeeded, undo skipped; capture (pivot): failed",
		},
		"stuck after the pivot": {
			prepare: func(s *shop) { s.after["ship"] = rejecting },
			want:    "authorize: succeeded; reserve: succeeded; capture (pivot): succeeded; ship (retriable): failed",
		},
		"a stated result is not one of the step's": {
			prepare: func(s *shop) { s.after["ship"] = rejecting },
			act:     []durable.Decision{{Verb: durable.VerbResolve, Output: []byte(`1`)}},
			want:    "authorize: succeeded; reserve: succeeded; capture (pivot): succeeded; ship (retriable): failed in doubt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			prepare := c.prepare
			if prepare == nil {
				prepare = func(*shop) {}
			}
			serve(t, prepare, func(r *ran) {
				for _, d := range c.act {
					r.act(d)
				}
				rec, err := r.store.Load(t.Context(), "o1", durable.LoadAll)
				if err != nil {
					t.Fatal(err)
				}
				if got := effectsOf(rec); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if err := foretold(rec); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func undoFails(s *shop) {
	s.before["capture"] = rejecting
	s.before["undo reserve"] = always(durable.Permanent(errors.New("closed")))
}

// waiting declares a group of a durable function and a sub-saga, and an approval
// that is awaited; none of them has an undo.
func waiting(ask error) *saga.Saga[order, string] {
	inner := saga.New[int, string]("inner", "1")
	saga.Step(inner, "look", func(saga.Context, int) (string, error) { return "", nil }).ReadOnly()
	sub, err := inner.Build(func(saga.Context, int) (string, error) { return "", nil })
	if err != nil {
		panic(err)
	}
	b := saga.New[order, string]("waiting", "1")
	g := saga.Parallel(b, "group")
	saga.Run(g, "flow", func(ctx *durable.Context, _ order) (string, error) {
		_, err := durable.Child(ctx, "child", func(ctx *durable.Context) (int, error) { return 1, nil })
		return "", err
	}).Irreversible("nobody minds")
	saga.Sub(g, "sub", sub, func(saga.Context, order) (int, error) { return 1, nil })
	saga.Await[string](b, "approval", func(saga.Context, order, string) error { return ask }).ReadOnly()
	sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
	if err != nil {
		panic(err)
	}
	return sg
}

func TestEffectsOfContexts(t *testing.T) {
	const rest = "; flow (irreversible): succeeded; sub/look (read-only): succeeded"
	for _, c := range []struct {
		name, want string
		ask        error
	}{
		{name: "asked", want: "approval (read-only):  in doubt" + rest},
		{"refused to ask", "approval (read-only): failed" + rest, saga.Reject(errors.New("no"))},
		{"asked in vain", "approval (read-only): failed in doubt" + rest, durable.Permanent(errors.New("no answer"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, sg := mem.New(), waiting(c.ask)
				e, ctx, stop := running(t, store, durable.Options{}, sg)
				defer stop()
				if _, err := sg.Start(ctx, e, "w1", order{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				rec, err := store.Load(ctx, "w1", durable.LoadAll)
				if err != nil {
					t.Fatal(err)
				}
				parts := strings.Split(effectsOf(rec), "; ")
				slices.Sort(parts) // members of the group start in any order
				if got := strings.Join(parts, "; "); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

func TestEffectsOfNoSaga(t *testing.T) {
	rec := &durable.Record{Journal: []durable.Entry{{Kind: durable.EntryStart, Op: 1, First: true, Type: durable.OpStep, Name: "a", Attempt: 1}}}
	if got := saga.Effects(rec); got != nil {
		t.Errorf("got %v, want nothing of what is no saga", got)
	}
}
