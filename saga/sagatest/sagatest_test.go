package sagatest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/saga/sagatest"
)

type trip struct{ Traveller string }

// step and undoing are calls to a participant that follows the rules.
func step(p *sagatest.Participant, effect string) func(saga.Context, trip) (string, error) {
	return func(c saga.Context, t trip) (string, error) { return effect + "-1", p.Do(c.Key(), effect, t) }
}

func undoing(p *sagatest.Participant) func(saga.UndoContext, trip, saga.Maybe[string]) error {
	return func(c saga.UndoContext, _ trip, _ saga.Maybe[string]) error { return p.Undo(c.ForwardKey()) }
}

// tripSaga is the saga under test: flight, then hotel and car beside each other,
// an approval, the charge, and the tickets.
func tripSaga(p *sagatest.Participant) *saga.Saga[trip, string] {
	rental := saga.New[trip, string]("rental", "1")
	car := saga.Step(rental, "car", step(p, "car")).Undo(undoing(p))
	rentals, err := rental.Build(func(c saga.Context, _ trip) (string, error) { return car.Of(c), nil })
	if err != nil {
		panic(err)
	}
	b := saga.New[trip, string]("trip", "1")
	flight := saga.Step(b, "flight", step(p, "flight")).Undo(undoing(p))
	g := saga.Parallel(b, "stay")
	saga.Step(g, "hotel", step(p, "hotel")).Undo(undoing(p))
	saga.Sub(g, "rental", rentals, func(_ saga.Context, t trip) (trip, error) { return t, nil })
	saga.Step(saga.When(b, "vip", func(_ saga.Context, t trip) bool { return t.Traveller == "the king" }), "lounge", step(p, "lounge")).Undo(undoing(p))
	saga.Run(b, "visa", func(ctx *durable.Context, t trip) (string, error) {
		return durable.Step(ctx, "ask", func(context.Context) (string, error) { return "visa", nil })
	}).Undo(func(saga.UndoContext, trip, saga.Maybe[string]) error { return nil })
	saga.Await[string](b, "approval", func(c saga.Context, t trip, id string) error {
		return p.Do(c.Key(), "approval", t)
	}).Timeout(time.Hour).Undo(undoing(p))
	saga.Pivot(b, "charge", step(p, "charge")).Verify(func(c saga.Context, _ trip) (saga.Verdict[string], error) {
		if p.Settle(c.Key()) {
			return saga.Happened("charge-1"), nil
		}
		return saga.NoEffect[string](), nil
	})
	saga.Step(b, "tickets", step(p, "tickets")).Retriable()
	sg, err := b.Build(func(c saga.Context, t trip) (string, error) { return flight.Of(c), nil })
	if err != nil {
		panic(err)
	}
	return sg
}

var approved = sagatest.Answer("approval", "yes")

// allOrNothing is what a trip must be whenever it has ended.
func allOrNothing(p *sagatest.Participant, effects ...string) func(*sagatest.Run) {
	all := map[string]int{}
	for _, effect := range effects {
		all[effect]++
	}
	return func(r *sagatest.Run) {
		stands := p.Of(r.ID)
		switch {
		case r.Head.Status == durable.StatusParked:
			if r.Head.Park.Message == "" {
				r.Error("parked without a word")
			}
		case r.Status.Forward == saga.ForwardCommitted && !maps.Equal(stands, all):
			r.Errorf("committed, and standing is %v", stands)
		case r.Status.Forward != saga.ForwardCommitted && len(stands) > 0:
			r.Errorf("%v, and standing is %v", r.Status, stands)
		}
	}
}

// shortTrip is what of the trip is enough under crashes.
func shortTrip(p *sagatest.Participant) *saga.Saga[trip, string] {
	b := saga.New[trip, string]("short", "1")
	flight := saga.Step(b, "flight", step(p, "flight")).Undo(undoing(p))
	saga.Await[string](b, "approval", func(c saga.Context, t trip, id string) error {
		return p.Do(c.Key(), "approval", t)
	}).Timeout(time.Hour).Undo(undoing(p))
	saga.Pivot(b, "charge", step(p, "charge")).ParkInDoubt()
	sg, err := b.Build(func(c saga.Context, t trip) (string, error) { return flight.Of(c), nil })
	if err != nil {
		panic(err)
	}
	return sg
}

func TestCrashEverywhere(t *testing.T) {
	p := &sagatest.Participant{}
	committed, parked := 0, 0
	sagatest.CrashEverywhere(t, shortTrip(p), trip{"Ada"}, func(r *sagatest.Run) {
		allOrNothing(p, "flight", "approval", "charge")(r)
		switch r.Head.Status {
		case durable.StatusSucceeded:
			committed++
		case durable.StatusParked:
			parked++
		}
	}, approved)
	if committed == 0 || parked == 0 {
		t.Errorf("%d runs committed and %d parked, want some of each", committed, parked)
	}
}

func TestCheckUndos(t *testing.T) {
	p := &sagatest.Participant{}
	sagatest.CheckUndos(t, tripSaga(p), trip{"Ada"}, p.Outside(), approved)
	sagatest.CheckUndos(t, tripSaga(p), trip{"the king"}, p.Outside(), approved)
}

func TestExplore(t *testing.T) {
	p := &sagatest.Participant{}
	cov := sagatest.Explore(t, tripSaga(p), trip{"Ada"}, allOrNothing(p, "flight", "hotel", "car", "approval", "charge", "tickets"), approved)
	for _, c := range []struct {
		step  string
		kind  saga.CallKind
		fault sagatest.Fault
		want  []string
	}{
		{"flight", saga.CallForward, sagatest.Rejected, []string{"rejected/complete"}},
		{"rental/car", saga.CallForward, sagatest.InDoubt, []string{"failed/complete"}},
		{"hotel", saga.CallForward, sagatest.Cancelled, []string{"cancelled/complete"}},
		{"hotel", saga.CallForward, sagatest.CrashedBefore, []string{"committed/none"}},
		{"approval", saga.CallForward, sagatest.CrashedAfter, []string{"committed/none"}},
		{"visa", saga.CallForward, sagatest.CrashedAfter, []string{"committed/none"}},
		{"charge", saga.CallVerify, sagatest.CrashedBefore, []string{"committed/none", "failed/complete"}},
		{"hotel", saga.CallUndo, sagatest.CrashedAfter, []string{"cancelled/complete", "failed/complete", "rejected/complete"}},
		{"hotel", saga.CallForward, sagatest.TimedOut, []string{"committed/none"}},
		{"visa", saga.CallForward, sagatest.Failed, []string{"failed/complete"}},
		{"charge", saga.CallForward, sagatest.InDoubt, []string{"committed/none"}},
		{"charge", saga.CallForward, sagatest.Failed, []string{"failed/complete"}},
		{"charge", saga.CallForward, sagatest.Panicked, []string{"running/none, parked: panic"}},
		{"charge", saga.CallVerify, sagatest.Unknown, []string{"running/stuck, parked: pivot-in-doubt"}},
		{"tickets", saga.CallForward, sagatest.Rejected, []string{"committed/stuck, parked: after-pivot-failed"}},
		{"tickets", saga.CallForward, sagatest.Cancelled, []string{"committed/none"}},
	} {
		if got := cov.Outcomes(sagatest.Injection{Step: c.step, Kind: c.kind, Fault: c.fault}); !slices.Equal(got, c.want) {
			t.Errorf("%s %s %s: got %q, want %q", c.step, c.kind, c.fault, got, c.want)
		}
	}
	got := cov.Outcomes(sagatest.Injection{Step: "flight", Kind: saga.CallUndo, Fault: sagatest.Failed})
	if want := "rejected/stuck, parked: undo-failed"; !slices.Contains(got, want) {
		t.Errorf("flight's undo fails: got %q, want %q among it", got, want)
	}
	for _, in := range cov.Unreached() {
		if in.Step != "lounge" {
			t.Errorf("%v was not reached", in)
		}
	}
	if n := len(cov.Unreached()); n == 0 || !strings.Contains(cov.String(), "NEVER REACHED") {
		t.Errorf("%d faults of the lounge were not reached, want all, and a table that says so", n)
	}
}

// TestAwaitWithoutAnswer says what is missing.
func TestAwaitWithoutAnswer(t *testing.T) {
	p := &sagatest.Participant{}
	said := ""
	sagatest.Explore(t, tripSaga(p), trip{"Ada"}, func(r *sagatest.Run) {
		if len(r.Injected) == 0 && r.Head.Error != nil {
			said = r.Head.Error.Message
		}
	})
	if want := `pass Answer("approval", …)`; !strings.Contains(said, want) {
		t.Errorf("got %q, want it to say %q", said, want)
	}
}

// TestParticipant keeps the rules that CheckUndos asks for.
func TestParticipant(t *testing.T) {
	var p sagatest.Participant
	for range 2 {
		if err := p.Do("k/1", "room", 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Do("k/1", "room", 8); !errors.Is(err, sagatest.ErrRefused) {
		t.Errorf("other input under the key: got %v, want ErrRefused", err)
	}
	if got := fmt.Sprint(p.Standing(), p.Of("k"), p.Of("other"), len(p.Outside().Requests())); got != "map[room:1] map[room:1] map[] 3" {
		t.Errorf("got %s", got)
	}
	if !p.Settle("k/1") || p.Settle("k/2") {
		t.Error("Settle does not tell which key has its effect")
	}
	_ = p.Undo("k/1")
	_ = p.Undo("k/3")
	for _, key := range []string{"k/1", "k/2", "k/3"} {
		if err := p.Do(key, "room", 7); !errors.Is(err, sagatest.ErrRefused) {
			t.Errorf("%s, late: got %v, want ErrRefused", key, err)
		}
	}
	if err := p.Do("k/4", "room", func() {}); err == nil {
		t.Error("an input that JSON cannot hold is taken")
	}
}
