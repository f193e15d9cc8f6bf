package durable_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// TestTerminateAsShown: what was shown as it ran is not terminated once it has
// parked, or, a saga, once it stands elsewhere.
func TestTerminateAsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, way string) (int, error) {
			ctx.SetStatus("running/none")
			if err := durable.Wait(ctx, "w", time.Hour); err != nil {
				return 0, err
			}
			switch ctx.SetStatus("committed/none"); way {
			case "parks":
				_, err := ctx.Park("p", durable.Park{Reason: "test", Verbs: []durable.Verb{durable.VerbRetry}})
				return 0, err
			case "ends":
				return 0, nil
			}
			return 0, durable.Wait(ctx, "w2", 10*time.Hour)
		}, durable.WithFingerprint(durable.SagaFingerprint+"1"))
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		for id, way := range map[string]string{"a": "parks", "b": "goes on", "c": "ends"} {
			if _, err := def.Start(t.Context(), w.e, id, way); err != nil {
				t.Fatal(err)
			}
		}
		terminate := func(*durable.Head) (durable.Decision, bool) {
			return durable.Decision{Verb: durable.VerbTerminate, Actor: "ada", Reason: "test"}, true
		}
		time.Sleep(time.Minute)
		acts, err := w.e.Decide(t.Context(), durable.ListQuery{}, terminate)
		if err != nil || len(acts) != 3 {
			t.Fatalf("decided on %d (%v), want 3", len(acts), err)
		}
		time.Sleep(2 * time.Hour)
		wants := map[string]error{"a": durable.ErrRevision, "b": durable.ErrRevision, "c": durable.ErrEnded}
		for a := range w.e.ActAll(t.Context(), acts) {
			if want := wants[a.Head.ID]; !errors.Is(a.Err, want) || !errors.Is(a.Err, durable.ErrVerb) {
				t.Errorf("%s: got %v, want %v", a.Head.ID, a.Err, want)
			}
		}
		if acts, err = w.e.Decide(t.Context(), durable.ListQuery{}, terminate); err != nil {
			t.Fatal(err)
		}
		for a := range w.e.ActAll(t.Context(), acts) {
			if (a.Err == nil) != (a.Head.ID != "c") {
				t.Errorf("%s, seen as it is: got %v", a.Head.ID, a.Err)
			}
		}
	})
}

// TestActAll: what was decided is done to what is still as it was, each by
// itself.
func TestActAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(ctx *durable.Context, park bool) (int, error) {
			if !park {
				return 0, durable.Wait(ctx, "w", time.Hour)
			}
			for {
				d, err := ctx.Park("p", durable.Park{Reason: "test", Verbs: []durable.Verb{durable.VerbRetry, durable.VerbSkip}})
				if err != nil || d.Verb == durable.VerbSkip {
					return 0, err
				}
			}
		})
		w := newWorld(t, mem.New(), durable.Options{}, def)
		defer w.stop()
		ctx := t.Context()
		for i := range 6 {
			if _, err := def.Start(ctx, w.e, fmt.Sprint("x", i), i < 3); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		decide := func(verb durable.Verb) []durable.Act {
			acts, err := w.e.Decide(ctx, durable.ListQuery{Limit: 2}, func(h *durable.Head) (durable.Decision, bool) {
				return durable.Decision{Verb: verb, Actor: "ada", Reason: "test"}, h.ID != "x2" && h.ID != "x5"
			})
			if err != nil {
				t.Fatal(err)
			}
			return acts
		}
		acts := decide(durable.VerbSkip)
		if len(acts) != 4 || acts[0].Err != nil || acts[1].Err != nil || !errors.Is(acts[2].Err, durable.ErrVerb) || !errors.Is(acts[3].Err, durable.ErrVerb) {
			t.Fatalf("got %+v, want x0 and x1 possible, x3 and x4 not", acts)
		}
		d := durable.Decision{Verb: durable.VerbRetry, Actor: "bob", Reason: "I was first"}
		if err := w.e.Act(ctx, "x0", acts[0].Head.Revision, d); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // it has parked again since
		var errs []error
		for a := range w.e.ActAll(ctx, acts) {
			errs = append(errs, a.Err)
		}
		if len(errs) != 4 || !errors.Is(errs[0], durable.ErrDelivered) || errs[1] != nil || !errors.Is(errs[2], durable.ErrVerb) {
			t.Errorf("got %v, want that bob was first, done, not possible twice", errs)
		}
		time.Sleep(time.Minute)
		for a := range w.e.ActAll(ctx, decide(durable.VerbTerminate)) {
			if want := a.Head.ID == "x1"; errors.Is(a.Err, durable.ErrVerb) != want {
				t.Errorf("terminate of %s (%v): got %v", a.Head.ID, a.Head.Status, a.Err)
			}
		}
		time.Sleep(time.Minute)
		for id, want := range map[string]durable.Status{"x0": durable.StatusTerminated, "x1": durable.StatusSucceeded, "x2": durable.StatusParked,
			"x3": durable.StatusTerminated, "x4": durable.StatusTerminated, "x5": durable.StatusSuspended} {
			if rec, err := w.e.Store().Load(ctx, id, durable.LoadHead); err != nil || rec.Status != want {
				t.Errorf("%s is %v (%v), want %v", id, rec.Status, err, want)
			}
		}
		for a := range w.e.ActAll(ctx, []durable.Act{{Head: durable.Head{Identity: durable.Identity{ID: "nobody"}}, Decision: d}}) {
			if !errors.Is(a.Err, durable.ErrNotFound) {
				t.Errorf("an unknown one: got %v, want ErrNotFound", a.Err)
			}
		}
	})
}
