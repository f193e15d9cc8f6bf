package saga_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// TestClassesOnTheWayOut: what is undone of each class of step, with what.
func TestClassesOnTheWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var undone []string
		b := saga.New[order, string]("s", "1")
		saga.Step(b, "look", func(saga.Context, order) (string, error) { return "", nil }).ReadOnly()
		saga.Do(b, "log", func(saga.Context, order) error { return nil }).Irreversible("a log line harms nobody")
		saga.Do(b, "known", func(saga.Context, order) error { return nil }).Undo(func(c saga.UndoContext, _ order, inDoubt bool) error {
			undone = append(undone, fmt.Sprintf("known %v %s %s", inDoubt, c.ForwardKey(), c.Key()))
			return nil
		})
		saga.Do(b, "doubtful", func(saga.Context, order) error { return durable.Permanent(errOutage) }).Undo(func(c saga.UndoContext, _ order, inDoubt bool) error {
			undone = append(undone, fmt.Sprintf("doubtful %v %v", inDoubt, strings.Contains(c.Cause().Error(), "outage") && c.Err() == nil))
			return nil
		})
		sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(ctx); err == nil {
			t.Error("the saga committed")
		}
		want := []string{"doubtful true true", "known false o1/1/known o1/1/known/undo"}
		if !reflect.DeepEqual(undone, want) {
			t.Errorf("undone %q, want %q", undone, want)
		}
	})
}

// TestUndoKeyThatExpiresParks: an undo is not repeated under a key that its
// participant honours no more, unless a person says so.
func TestUndoKeyThatExpiresParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := saga.New[order, string]("s", "1")
		saga.Step(b, "reserve", func(saga.Context, order) (string, error) { return "r", nil }).
			Undo(func(saga.UndoContext, order, saga.Maybe[string]) error {
				if calls++; calls == 1 {
					return durable.RetryAfter(errOutage, 2*time.Hour)
				}
				return nil
			}, saga.UndoKeyLifetime(time.Hour), saga.UndoTimeout(time.Second), saga.UndoAtMostOnce(), saga.UndoRetry(durable.Retry{MaxAttempts: 5}))
		saga.Step(b, "check", func(saga.Context, order) (string, error) { return "", saga.Reject(errDeclined) }).ReadOnly()
		sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{PollMax: time.Minute}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		var parked *durable.ParkedError
		if _, err := x.Wait(ctx); !errors.As(err, &parked) || parked.Park.Reason != saga.ParkUndoFailed || calls != 1 {
			t.Fatalf("got %v after %d calls, want parked after one", err, calls)
		}
		rec, err := e.Store().Load(ctx, "o1", durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		d := durable.Decision{Verb: durable.VerbRetry, Actor: "ada", Reason: "they say it is safe"}
		if err := e.Act(ctx, "o1", rec.Revision, d); !errors.Is(err, durable.ErrKeyExpired) {
			t.Errorf("retry: got %v, want ErrKeyExpired", err)
		}
		d.Force = true
		if err := e.Act(ctx, "o1", rec.Revision, d); err != nil {
			t.Fatal(err)
		}
		var failed error
		if _, failed = x.Wait(ctx); errors.Is(failed, durable.ErrParked) || calls != 2 {
			t.Errorf("after the forced retry: %v, %d calls", failed, calls)
		}
		if rec, _ = e.Store().Load(ctx, "o1", durable.LoadHead); saga.StatusOf(&rec.Head).String() != "rejected/complete" {
			t.Errorf("status %v", saga.StatusOf(&rec.Head))
		}
	})
}

// TestOutputsThatAreNotThere: reading them is a bug of the saga and parks.
func TestOutputsThatAreNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := saga.New[order, string]("other", "1")
		foreign := saga.Step(other, "a", body).ReadOnly()
		b := saga.New[order, string]("s", "1")
		saga.Step(b, "a", func(c saga.Context, _ order) (string, error) { return foreign.Of(c), nil }).ReadOnly()
		sg, err := b.Build(func(saga.Context, order) (string, error) { return "", nil })
		if err != nil {
			t.Fatal(err)
		}
		e, ctx, stop := running(t, mem.New(), durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{})
		if err != nil {
			t.Fatal(err)
		}
		var parked *durable.ParkedError
		if _, err := x.Wait(ctx); !errors.As(err, &parked) || parked.Park.Reason != durable.ParkPanic {
			t.Errorf("got %v, want parked for panic", err)
		}
		if _, ok := foreign.Get(saga.Context{}); ok {
			t.Error("an output is there outside of any run")
		}
	})
}

// TestStatusOfReadsBothAxes, also of a saga that has not written any yet.
func TestStatusOfReadsBothAxes(t *testing.T) {
	for detail, want := range map[string]string{"": "running/none", "rejected/stuck": "rejected/stuck", "nonsense": "running/none"} {
		if got := saga.StatusOf(&durable.Head{Detail: detail}).String(); got != want {
			t.Errorf("%q: got %s, want %s", detail, got, want)
		}
	}
}
