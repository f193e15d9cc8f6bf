package saga_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// sketch writes nodes on one line.
func sketch(nodes []saga.Node) string {
	var all []string
	for _, n := range nodes {
		s := n.Kind + " " + n.Name
		for _, mark := range []struct {
			is   bool
			text string
		}{{n.Verify, "verified"}, {n.UndoTogether, "together"}, {n.Conditional, "when"}, {n.Why != "", "because " + n.Why},
			{n.Class != "", n.Class}, {n.Saga != "", "of " + n.Saga}, {n.Wait != 0, n.Wait.String()}} {
			if mark.is {
				s += " " + mark.text
			}
		}
		if n.Nodes != nil {
			s += "(" + sketch(n.Nodes) + ")"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

const tripSketch = "step check limits read-only, step reserve budget undoable, branch vip when(step assign host undoable), " +
	"group book together(step flight verified undoable, branch hotel(step hold room undoable, step tell guest because a second mail explains irreversible), " +
	"sub car of car rental(step find car read-only, step book car undoable)), " +
	"await approval read-only, run visa undoable, wait cool off 1h0m0s, step charge pivot, group afterwards(step send tickets retriable, step book revenue retriable)"

func TestShape(t *testing.T) {
	s := trip().Shape()
	if got := sketch(s.Nodes); got != tripSketch || s.Name != "trip" || s.Version != "2" || !strings.HasPrefix(s.Fingerprint, durable.SagaFingerprint) {
		t.Errorf("got  %s@%s %s: %s\nwant trip@2 saga:…: %s", s.Name, s.Version, s.Fingerprint, got, tripSketch)
	}
}

func TestManifest(t *testing.T) {
	var b bytes.Buffer
	if err := saga.WriteManifest(&b, trip(), newShop().build()); err != nil {
		t.Fatal(err)
	}
	stored := b.String()
	got, err := saga.ReadManifest(&b)
	want := []saga.Shape{trip().Shape(), newShop().build().Shape()}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	for _, c := range [][2]string{
		{"", "no manifest"}, {"[]", "no manifest"}, {"{}", "format 0"}, {strings.Replace(stored, `"format": 1`, `"format": 2`, 1), "format 2"},
		{strings.Replace(stored, `"fingerprint"`, `"digest"`, 1), "no name, version or fingerprint"},
	} {
		if _, err := saga.ReadManifest(strings.NewReader(c[0])); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("got %v, want it to say %q", err, c[1])
		}
	}
	if err := saga.WriteManifest(&b, trip(), trip()); err == nil || !strings.Contains(err.Error(), "trip@2 is given twice") {
		t.Errorf("got %v, want a refusal of two sagas of one version", err)
	}
}

// TestFingerprintTells: whatever moves operations in the journal makes another
// fingerprint, and what does not makes none.
func TestFingerprintTells(t *testing.T) {
	undo := func(saga.UndoContext, order, saga.Maybe[string]) error { return nil }
	fingerprint := func(declare func(b *saga.Builder[order, string])) string {
		b := saga.New[order, string]("s", "1")
		declare(b)
		sg, err := b.Build(nothing)
		if err != nil {
			t.Fatal(err)
		}
		return sg.Shape().Fingerprint
	}
	seen := map[string]int{}
	for i, declare := range []func(b *saga.Builder[order, string]){
		func(b *saga.Builder[order, string]) { saga.Step(b, "a", body).ReadOnly() },
		func(b *saga.Builder[order, string]) { saga.Step(b, "b", body).ReadOnly() },
		func(b *saga.Builder[order, string]) { saga.Step(b, "a", body).Undo(undo) },
		func(b *saga.Builder[order, string]) { saga.Wait(b, "a", time.Hour) },
		func(b *saga.Builder[order, string]) {
			saga.Await[string](b, "a", func(saga.Context, order, string) error { return nil }).ReadOnly()
		},
		func(b *saga.Builder[order, string]) {
			saga.Await[string](b, "a", tell).Remind(time.Hour, tell).ReadOnly()
		},
		func(b *saga.Builder[order, string]) {
			saga.Run(b, "a", func(*durable.Context, order) (string, error) { return "", nil }).ReadOnly()
		},
		func(b *saga.Builder[order, string]) { saga.Step(saga.Parallel(b, "g"), "a", body).ReadOnly() },
		func(b *saga.Builder[order, string]) {
			saga.Step(saga.Parallel(b, "g").UndoTogether(), "a", body).ReadOnly()
		},
		func(b *saga.Builder[order, string]) {
			saga.Step(saga.Parallel(b, "g").Branch("r"), "a", body).ReadOnly()
		},
		func(b *saga.Builder[order, string]) {
			saga.Step(saga.When(saga.Parallel(b, "g"), "r", func(saga.Context, order) bool { return true }), "a", body).ReadOnly()
		},
	} {
		f := fingerprint(declare)
		if first, taken := seen[f]; taken {
			t.Errorf("sagas %d and %d have the same fingerprint", first, i)
		}
		seen[f] = i
	}
	settings := fingerprint(func(b *saga.Builder[order, string]) {
		saga.Step(b, "a", body).Timeout(time.Second).Retry(durable.Retry{MaxAttempts: 2}).ReadOnly()
	})
	if seen[settings] != 0 {
		t.Error("settings have changed the fingerprint")
	}
	verified := fingerprint(func(b *saga.Builder[order, string]) { saga.Step(b, "a", body).Verify(ask).Undo(undo) })
	unverified := fingerprint(func(b *saga.Builder[order, string]) { saga.Step(b, "a", body).Undo(undo) })
	for name, f := range map[string]string{"a Verify": verified, "a deadline of the unwinding": fingerprint(func(b *saga.Builder[order, string]) {
		saga.Step(b.UnwindTimeout(time.Hour), "a", body).Undo(undo)
	}), "independent undos": fingerprint(func(b *saga.Builder[order, string]) { saga.Step(b.UndoIndependently(), "a", body).Undo(undo) })} {
		if f == unverified || f[:21] != unverified[:21] {
			t.Errorf("%s makes it %s of %s, want another end of the same", name, f, unverified)
		}
	}
}
