package durable_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/store/sqlite"
)

func nothing(name string) *durable.Definition[int, int] {
	return durable.Define(name, "1", func(*durable.Context, int) (int, error) { return 0, nil })
}

func engineOf(t *testing.T, store durable.Store, defs ...durable.Registrable) *durable.Engine {
	t.Helper()
	e, err := durable.New(store, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(defs...); err != nil {
		t.Fatal(err)
	}
	return e
}

func pause(definition string) durable.Pause {
	return durable.Pause{Definition: definition, Starts: true, Actor: "ada", Reason: "the gateway is down"}
}

// TestPauseOfStarts: nothing new starts, here at once and elsewhere in a moment;
// what exists is found, and other definitions go on.
func TestPauseOfStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, def, other := mem.New(), nothing("d"), nothing("other")
		here, elsewhere := engineOf(t, store, def, other), engineOf(t, store, def, other)
		ctx := t.Context()
		start := func(e *durable.Engine, id string) error {
			_, err := def.Start(ctx, e, id, 1)
			return err
		}
		if err := start(elsewhere, "before"); err != nil {
			t.Fatal(err)
		}
		if err := here.Pause(ctx, pause("d")); err != nil {
			t.Fatal(err)
		}
		var paused *durable.PausedError
		if err := start(here, "x"); !errors.As(err, &paused) || !errors.Is(err, durable.ErrPaused) || paused.Pause.Actor != "ada" || paused.Pause.Reason != "the gateway is down" {
			t.Errorf("start: got %v, want ErrPaused by ada", err)
		}
		time.Sleep(10 * time.Second)
		if err := start(elsewhere, "x"); !errors.Is(err, durable.ErrPaused) {
			t.Errorf("start elsewhere: got %v, want ErrPaused", err)
		}
		if err := start(here, "before"); err != nil {
			t.Errorf("start of what exists: got %v", err)
		}
		if _, err := def.Start(ctx, here, "before", 2); !errors.Is(err, durable.ErrExists) {
			t.Errorf("start of what exists, with other input: got %v, want ErrExists", err)
		}
		if _, err := other.Start(ctx, here, "y", 1); err != nil {
			t.Errorf("start of another definition: got %v", err)
		}
		if err := here.Continue(ctx, "d", "bob", "it is back"); err != nil {
			t.Fatal(err)
		}
		if err := start(here, "x"); err != nil {
			t.Errorf("start after continue: got %v", err)
		}
		time.Sleep(10 * time.Second)
		if err := start(elsewhere, "z"); err != nil {
			t.Errorf("start elsewhere after continue: got %v", err)
		}
	})
}

// TestPauseIsRecorded: who paused what and why, and who ended it; on every kind
// of store that needs no server.
func TestPauseIsRecorded(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "p.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for name, store := range map[string]durable.Store{"mem": mem.New(), "sqlite": db} {
		t.Run(name, func(t *testing.T) {
			e, ctx := engineOf(t, store), t.Context()
			for range 2 { // a pause can come again
				if p, err := e.Paused(ctx, "d"); p != nil || err != nil {
					t.Fatalf("before: got %v, %v, want nothing", p, err)
				}
				if err := e.Pause(ctx, pause("d")); err != nil {
					t.Fatal(err)
				}
				var paused *durable.PausedError
				again := pause("d")
				again.Actor = "bob"
				if err := e.Pause(ctx, again); !errors.As(err, &paused) || paused.Pause.Actor != "ada" {
					t.Errorf("a second pause: got %v, want that ada's is there", err)
				}
				all, err := e.Pauses(ctx)
				if err != nil || len(all) != 1 || all[0].Definition != "d" || !all[0].Starts || all[0].Unwinding || all[0].Continued != nil {
					t.Errorf("got %+v, %v, want one of d", all, err)
				}
				if err := e.Continue(ctx, "d", "bob", "it is back"); err != nil {
					t.Fatal(err)
				}
			}
			page, err := store.List(ctx, &durable.ListQuery{Definition: durable.PauseDefinition})
			if err != nil || len(page.Heads) != 2 || !strings.Contains(string(page.Heads[0].Result), `"continued":{"actor":"bob","reason":"it is back"`) {
				t.Errorf("got %+v, %v, want two pauses that bob has ended", page.Heads, err)
			}
			for _, h := range page.Heads {
				if err := store.Delete(ctx, h.ID); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
			if due, err := store.Due(ctx, &durable.DueQuery{Definition: durable.PauseDefinition, Version: "1", Now: time.Now().Add(time.Hour)}); err != nil || len(due.IDs()) != 0 {
				t.Errorf("due: got %v, %v, want nothing", due, err)
			}
		})
	}
}

func TestPauseIsRefused(t *testing.T) {
	e, ctx := engineOf(t, mem.New()), t.Context()
	for name, c := range map[string]struct {
		err error
		is  error
	}{
		"without a reason":     {e.Pause(ctx, durable.Pause{Definition: "d", Starts: true, Actor: "ada"}), durable.ErrInvalid},
		"of nothing":           {e.Pause(ctx, durable.Pause{Definition: "d", Actor: "ada", Reason: "r"}), durable.ErrInvalid},
		"of no definition":     {e.Pause(ctx, durable.Pause{Starts: true, Actor: "ada", Reason: "r"}), durable.ErrInvalid},
		"of a long name":       {e.Pause(ctx, pause(strings.Repeat("d", 190))), durable.ErrInvalid},
		"continue, not paused": {e.Continue(ctx, "d", "ada", "r"), durable.ErrVerb},
		"continue, no reason":  {e.Continue(ctx, "d", "ada", ""), durable.ErrInvalid},
		"reserved definition":  {e.Register(nothing(durable.PauseDefinition)), durable.ErrInvalid},
	} {
		if !errors.Is(c.err, c.is) {
			t.Errorf("%s: got %v, want %v", name, c.err, c.is)
		}
	}
	def := nothing("d")
	e = engineOf(t, mem.New(), def)
	if _, err := def.Start(ctx, e, "clew.pause/d", 1); !errors.Is(err, durable.ErrInvalid) {
		t.Errorf("start under a reserved ID: got %v, want ErrInvalid", err)
	}
}

// loads counts the reads of pauses.
type loads struct {
	*mem.Store
	n atomic.Int64
}

func (l *loads) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if strings.HasPrefix(id, durable.PauseDefinition) {
		l.n.Add(1)
	}
	return l.Store.Load(ctx, id, what)
}

// TestPauseCosts: a look in ten seconds of starts, and none for an engine that
// starts nothing, whatever it runs.
func TestPauseCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loads{Store: mem.New()}
		def := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			for range 100 {
				if err := durable.Wait(ctx, "w", time.Minute); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
		e := engineOf(t, store, def)
		for i := range 100 {
			if _, err := def.Start(t.Context(), e, strings.Repeat("x", i+1), 1); err != nil {
				t.Fatal(err)
			}
		}
		if got := store.n.Load(); got != 1 {
			t.Errorf("%d looks for 100 starts, want one", got)
		}
		w := newWorld(t, store, durable.Options{}, def)
		time.Sleep(time.Hour)
		w.stop()
		if got := store.n.Load(); got != 1 {
			t.Errorf("%d looks after an hour of running, want no more", got)
		}
	})
}
