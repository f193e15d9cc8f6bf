package saga_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// planned is a plan as a short text.
func planned(p saga.Plan) string {
	all := []string{"pivot " + p.Pivot}
	for _, s := range p.Undo {
		what := string(s.Result)
		if s.InDoubt {
			what = "in doubt"
		}
		if s.Undo != "" {
			what += ", " + s.Undo
		}
		all = append(all, fmt.Sprintf("undo %s (%s) by %s", s.Name, what, s.UndoKey))
	}
	for _, s := range p.Stays {
		all = append(all, fmt.Sprintf("%s stays: %s", s.Name, s.Why))
	}
	return strings.Join(all, "; ") + fmt.Sprintf("; verbs %v", p.Verbs)
}

func TestPlanOf(t *testing.T) {
	authorized := `undo authorize ("authorize-ed") by o1/1/authorize/undo`
	for name, c := range map[string]struct {
		make func(*shop) *saga.Saga[order, string]
		want string
	}{
		"an undo that fails": {func(s *shop) *saga.Saga[order, string] { undoFails(s); return s.build() },
			`pivot had no effect; undo reserve ("reserve-ed", failed) by o1/1/reserve/undo; ` + authorized + `; capture stays: proven to have had no effect; verbs [retry skip abandon]`},
		"a pivot in doubt": {func(s *shop) *saga.Saga[order, string] {
			s.after["capture"] = always(durable.Permanent(errOutage))
			return s.build()
		}, `pivot in doubt; undo reserve ("reserve-ed") by o1/1/reserve/undo; ` + authorized + `; capture stays: the pivot: nothing is undone before it is known; verbs [retry resolve abandon]`},
		"after the pivot": {func(s *shop) *saga.Saga[order, string] { s.before["ship"] = rejecting; return s.build() },
			"pivot happened; authorize stays: the pivot has happened: the saga only goes forward; reserve stays: the pivot has happened: the saga only goes forward; " +
				"capture stays: the pivot has happened: the saga only goes forward; ship stays: proven to have had no effect; verbs [retry resolve abandon]"},
		"a key that expired": {keyed, `pivot not started; undo reserve (in doubt) by o1/1/reserve/undo; ` + authorized + `; verbs [retry resolve unwind abandon]`},
		"a bug": {func(s *shop) *saga.Saga[order, string] {
			b := saga.New[order, string]("shop", "1")
			saga.Step(b, "look", s.body("look")).ReadOnly()
			saga.Step(b, "mail", s.body("mail")).Irreversible("nobody minds")
			s.before["reserve"] = func(saga.Context) error { panic("oops") }
			s.undoable(b, "reserve")
			return built(b)
		}, `pivot not started; undo reserve (in doubt) by o1/1/reserve/undo; look stays: read-only: it has no effect; mail stays: irreversible; verbs [resume unwind abandon]`},
		"committed": {func(s *shop) *saga.Saga[order, string] { return s.build() },
			"pivot happened; authorize stays: the saga has ended; reserve stays: the saga has ended; capture stays: the saga has ended; ship stays: the saga has ended; verbs []"},
		"undone": {func(s *shop) *saga.Saga[order, string] { s.before["reserve"] = rejecting; return s.build() },
			"pivot not started; authorize stays: undone; reserve stays: proven to have had no effect; verbs []"},
	} {
		t.Run(name, func(t *testing.T) {
			serveSaga(t, c.make, func(r *ran) {
				p := saga.PlanOf(r.record())
				if got := planned(p); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if p.Revision != r.head.Revision || p.Status != saga.StatusOf(&r.head) || (p.Park != nil) != (r.head.Status == durable.StatusParked) {
					t.Errorf("got revision %d, %v, parked %v", p.Revision, p.Status, p.Park)
				}
			})
		})
	}
}

func TestPlanShowsKeyAges(t *testing.T) {
	serveSaga(t, keyed, func(r *ran) {
		p := saga.PlanOf(r.record())
		if age := p.Undo[0].KeyAge(time.Now()); age < 2*time.Hour || age > 3*time.Hour || !p.Park.Expired(time.Now()) {
			t.Errorf("the key of %s is %v old, want two hours, and expired", p.Undo[0].Name, age)
		}
	})
}

// TestPlanOfATree: keys, inputs and results of steps in branches, groups and
// sub-sagas are those that their bodies have seen.
func TestPlanOfATree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := newShop(), mem.New()
		keys, undoKeys := map[string]string{}, map[string]string{}
		note := func(keys map[string]string, name string) func(saga.Context) error {
			return func(c saga.Context) error { // bodies run beside each other
				s.mu.Lock()
				defer s.mu.Unlock()
				keys[name] = c.Key()
				return nil
			}
		}
		for _, name := range treeSteps {
			s.before[name], s.before["undo "+name] = note(keys, name), note(undoKeys, name)
		}
		captured := s.before["capture"]
		s.before["capture"] = func(c saga.Context) error { _ = captured(c); panic("oops") }
		var e *durable.Engine
		client, err := durable.New(store, durable.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sg := s.tree(client, func(id string) error { return ignore(client.CompleteCallback(t.Context(), id, "yes")) })
		e, ctx, stop := running(t, store, durable.Options{}, sg)
		defer stop()
		x, err := sg.Start(ctx, e, "o1", order{Card: "red"})
		if err != nil {
			t.Fatal(err)
		}
		r := &ran{shop: s, t: t, e: e, sg: sg, store: store}
		_, r.err = x.Wait(ctx)
		r.parked(durable.ParkPanic)
		r.reload()
		p := saga.PlanOf(r.record())
		planned := map[string]string{}
		for _, step := range append(p.Undo, p.Stays...) {
			name := step.Name[strings.LastIndexByte(step.Name, '/')+1:]
			planned[name] = step.Key
			input := `{"Card":"red"}`
			if name == "inner a" {
				input = "7"
			}
			if string(step.Input) != input || !step.InDoubt && !json.Valid(step.Result) {
				t.Errorf("%s has input %s and result %s, want %s", step.Name, step.Input, step.Result, input)
			}
		}
		if delete(planned, "flow"); !maps.Equal(planned, keys) {
			t.Errorf("got keys %v\nwant %v", planned, keys)
		}
		s.before["capture"] = rejecting
		r.act(durable.Decision{Verb: durable.VerbResume})
		if got := saga.StatusOf(&r.head).String(); got != "rejected/complete" {
			t.Errorf("got %s, want everything undone", got)
		}
		for _, step := range p.Undo {
			name := step.Name[strings.LastIndexByte(step.Name, '/')+1:]
			if name != "flow" && undoKeys[name] != step.UndoKey {
				t.Errorf("undo of %s ran under %q, planned %q", name, undoKeys[name], step.UndoKey)
			}
		}
	})
}
