package sagatest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// counter is a participant that counts rooms, and can make each mistake.
type counter struct {
	rooms    map[string]int // by key; a second effect under a key counts
	tombs    map[string]bool
	requests []Request
}

func newCounter() *counter { return &counter{rooms: map[string]int{}, tombs: map[string]bool{}} }

func (p *counter) book(key, input string) error {
	p.requests = append(p.requests, Request{key, input})
	if p.tombs[key] {
		return saga.Reject(errors.New("refused"))
	}
	p.rooms[key] = 1
	return nil
}

func (p *counter) free(key string) { p.tombs[key], p.rooms[key] = true, 0 }

func (p *counter) outside() Outside {
	return Outside{
		Standing: func() map[string]int {
			n := 0
			for _, rooms := range p.rooms {
				n += rooms
			}
			return map[string]int{"rooms": n}
		},
		Requests: func() []Request { return p.requests },
	}
}

type body = func(saga.Context, string) (string, error)
type undo = func(saga.UndoContext, string, saga.Maybe[string]) error

// hotel is a saga of a step that can be undone, and a pivot.
func hotel(t *testing.T, do body, un undo) *saga.Saga[string, string] {
	t.Helper()
	b := saga.New[string, string]("hotel", "1")
	room := saga.Step(b, "book", do).Undo(un)
	saga.Do(b, "look", func(saga.Context, string) error { return nil }).ReadOnly()
	saga.Pivot(b, "pay", func(saga.Context, string) (string, error) { return "", nil }).ParkInDoubt()
	sg, err := b.Build(func(c saga.Context, _ string) (string, error) { return room.Of(c), nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

// wrongs are sagas, or participants, with one mistake each.
var wrongs = []struct {
	name string
	make func(p *counter) (body, undo)
	want string // "" is nothing
}{
	{"nothing", right, ""},
	{"undo is not idempotent", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			p.tombs[c.ForwardKey()] = true
			if _, booked := p.rooms[c.ForwardKey()]; booked {
				p.rooms[c.ForwardKey()]--
			}
			return nil
		}
	}, "undo is not idempotent"},
	{"undo fails the second time", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			if p.tombs[c.ForwardKey()] {
				return errors.New("there is no such booking")
			}
			p.free(c.ForwardKey())
			return nil
		}
	}, "undo is not idempotent"},
	{"undo before do leaves no tombstone", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			if p.rooms[c.ForwardKey()] > 0 {
				p.free(c.ForwardKey())
			}
			return nil
		}
	}, "in doubt, not having happened: a forward request that arrives after the undo has an effect"},
	{"undo leaves no tombstone at all", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			p.rooms[c.ForwardKey()] = 0
			return nil
		}
	}, "after it succeeded: a forward request that arrives after the undo has an effect"},
	{"undo fails when there is nothing to undo", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error {
			if _, booked := p.rooms[c.ForwardKey()]; !booked {
				return errors.New("there is no such booking")
			}
			p.free(c.ForwardKey())
			return nil
		}
	}, "fails when there is nothing to undo"},
	{"undo reads a result that is absent", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, m saga.Maybe[string]) error {
			key, _ := m.Get() // which the body returned
			p.free(key)
			return nil
		}
	}, "in doubt, having happened: the step changed map[rooms:1], and its undo map[]"},
	{"undo panics over a result that is absent", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(c saga.UndoContext, _ string, m saga.Maybe[string]) error {
			key, _ := m.Get()
			p.free(key[:1] + key[1:])
			return nil
		}
	}, "its undo fails without the result: it panicked"},
	{"undo does nothing", func(p *counter) (body, undo) {
		do, _ := right(p)
		return do, func(saga.UndoContext, string, saga.Maybe[string]) error { return nil }
	}, "does not take that back"},
	{"body is not idempotent", func(p *counter) (body, undo) {
		_, un := right(p)
		return func(c saga.Context, in string) (string, error) {
			if p.tombs[c.Key()] {
				return "", saga.Reject(errors.New("refused"))
			}
			p.rooms[c.Key()]++
			return c.Key(), nil
		}, un
	}, "its body is not idempotent"},
	{"key is used again with other input", func(p *counter) (body, undo) {
		_, un := right(p)
		return func(c saga.Context, in string) (string, error) {
			return c.Key(), p.book(c.Key(), fmt.Sprint(in, time.Now()))
		}, un
	}, "/1/book\" came with input"},
	{"key is not the step's", func(p *counter) (body, undo) {
		return func(c saga.Context, in string) (string, error) { return "mine", p.book("mine", in) },
			func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error { p.free("mine"); return nil }
	}, "failed by itself"},
	{"nothing shows", func(p *counter) (body, undo) {
		return func(saga.Context, string) (string, error) { return "", nil },
			func(saga.UndoContext, string, saga.Maybe[string]) error { return nil }
	}, "Standing shows no effect"},
}

// TestCheckUndosFindsWhatIsWrong, and names it.
func TestCheckUndosFindsWhatIsWrong(t *testing.T) {
	for _, c := range wrongs {
		t.Run(c.name, func(t *testing.T) {
			p := newCounter()
			do, un := c.make(p)
			problems, passed := undoProblems(t, hotel(t, do, un), "Ada", p.outside())
			got := strings.Join(problems, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || len(passed) > 0 {
				t.Errorf("got %q, not checked %v; want %q", problems, passed, c.want)
			}
		})
	}
}

func right(p *counter) (body, undo) {
	return func(c saga.Context, in string) (string, error) { return c.Key(), p.book(c.Key(), in) },
		func(c saga.UndoContext, _ string, _ saga.Maybe[string]) error { p.free(c.ForwardKey()); return nil }
}

// TestCrashEverywhereShowsWhatIsWrong: a saga whose step is called irreversible
// although its effect must not stand, and one whose Verify does not tell the
// truth.
func TestCrashEverywhereShowsWhatIsWrong(t *testing.T) {
	p := &Participant{}
	stood := 0
	b := saga.New[string, string]("hotel", "1")
	saga.Do(b, "book", func(c saga.Context, in string) error { return p.Do(c.Key(), "room", in) }).Irreversible("so it says")
	saga.Pivot(b, "pay", func(c saga.Context, in string) (string, error) { return "", p.Do(c.Key(), "payment", in) }).
		Verify(func(c saga.Context, _ string) (saga.Verdict[string], error) { return saga.NoEffect[string](), nil })
	sg, err := b.Build(func(saga.Context, string) (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	lied := false
	CrashEverywhere(t, sg, "Ada", func(r *Run) {
		stands := p.Of(r.ID)
		if r.Status.Unwind == saga.UnwindComplete && stands["room"] > 0 {
			stood++
		}
		lied = lied || r.Status.Unwind == saga.UnwindComplete && stands["payment"] > 0
	}, WithOptions(durable.Options{PollMax: time.Minute}))
	if stood == 0 || !lied {
		t.Errorf("rooms stood %d times, and a payment %v; want both to show", stood, lied)
	}
}

// TestExploreShowsWhatOnlyACrashShows: a body that acts anew on each attempt, and an
// undo that takes one effect back, are seen when a process dies after the effect; a
// step that may not be repeated, that it is then in doubt.
func TestExploreShowsWhatOnlyACrashShows(t *testing.T) {
	rooms := map[string]int{} // by execution
	most := 0                 // faults in a run
	b := saga.New[string, string]("hotel", "1")
	saga.Do(b, "book", func(c saga.Context, _ string) error { rooms[strings.Split(c.Key(), "/")[0]]++; return nil }).
		Undo(func(c saga.UndoContext, _ string, _ bool) error { rooms[strings.Split(c.Key(), "/")[0]]--; return nil })
	saga.Do(b, "print", func(saga.Context, string) error { return nil }).AtMostOnce().Irreversible("paper is patient")
	sg, err := b.Build(func(saga.Context, string) (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	cov := Explore(t, sg, "Ada", func(r *Run) {
		seen[r.String()] = rooms[r.ID]
		most = max(most, len(r.Injected))
	})
	for run, want := range map[string]int{
		"without failures":                                                          1,
		"book forward crash before its effect":                                      1,
		"book forward crash after its effect":                                       2,
		"book forward crash after its effect, book forward rejected":                0, // one stood, and one was taken back
		"book forward crash after its effect, print forward rejected":               1,
		"print forward crash before its effect, book undo crash after its effect":   -1,
		"book forward crash before its effect, book forward crash after its effect": 2,
	} {
		if got, ran := seen[run]; !ran || got != want {
			t.Errorf("%s: %d rooms (ran %v), want %d", run, got, ran, want)
		}
	}
	for fault, want := range map[Fault]string{CrashedBefore: "failed/complete", CrashedAfter: "failed/complete", Transient: "committed/none"} {
		if got := cov.Outcomes(Injection{"print", saga.CallForward, fault}); len(got) != 1 || got[0] != want {
			t.Errorf("print, %s: got %v, want %s", fault, got, want)
		}
	}
	if most != 2 || !strings.Contains(cov.String(), "crash after its effect") {
		t.Errorf("up to %d faults in a run, want 2, and crashes in the table:\n%s", most, cov)
	}
}
