package durable_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// TestInvokedWaitsForRoom: an execution whose caller has no room to hear of its end
// asks ever more seldom, and is heard once there is.
func TestInvokedWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := durable.Define("child", "1", func(*durable.Context, int) (int, error) { return 7, nil })
		mended := false
		parent := durable.Define("d", "1", func(ctx *durable.Context, _ int) (int, error) {
			f := durable.Go(ctx, "call", func(ctx *durable.Context) (int, error) { return durable.Invoke(ctx, "i", child, 1) })
			if _, err := durable.Step(ctx, "s", func(context.Context) (int, error) { time.Sleep(time.Second); return 0, nil }); err != nil {
				return 0, err
			}
			if !mended {
				panic("a bug")
			}
			return f.Wait(ctx)
		})
		store := mem.New()
		left := run(t, visit(t, store, time.Minute, parent), true)
		if left.Status != durable.StatusParked {
			t.Fatalf("got %v, want parked", left.Status)
		}
		e := visit(t, store, time.Minute, parent)
		for i := range durable.MaxInbox {
			if err := e.Signal(t.Context(), "x", "n", i, fmt.Sprint("s", i)); err != nil {
				t.Fatal(err)
			}
		}
		page, err := store.List(t.Context(), &durable.ListQuery{Definition: "child"})
		if err != nil || len(page.Heads) != 1 {
			t.Fatalf("got %+v, %v, want the child", page, err)
		}
		id, turns := page.Heads[0].ID, 0
		turn := func() *durable.Head {
			rec, err := store.Load(t.Context(), id, durable.LoadHead)
			if err != nil {
				t.Fatal(err)
			}
			if rec.Status.Ended() {
				return &rec.Head
			}
			time.Sleep(time.Until(rec.Due))
			e := visit(t, store, time.Minute, child)
			err = e.Session(t.Context(), func(ctx context.Context) error {
				_, err := e.Resume(ctx, "child", "1", id)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			turns++
			return &rec.Head
		}
		for began := time.Now(); time.Since(began) < time.Hour; {
			turn()
		}
		if turns > 70 {
			t.Errorf("it asked %d times in an hour, want about once a minute", turns)
		}
		rec, err := store.Load(t.Context(), "x", durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		mended = true
		if err := e.Act(t.Context(), "x", rec.Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		run(t, visit(t, store, time.Minute, parent), false)
		for range 3 {
			turn()
		}
		if left := run(t, visit(t, store, time.Minute, parent), false); left.Status != durable.StatusSucceeded || string(left.Result) != "7" {
			t.Errorf("got %v %s, want 7", left.Status, left.Result)
		}
	})
}
