package saga_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

func body(saga.Context, order) (string, error)               { return "", nil }
func undo(saga.UndoContext, order, saga.Maybe[string]) error { return nil }
func ask(saga.Context, order) (saga.Verdict[string], error)  { return saga.Unknown[string](), nil }
func tell(saga.Context, order, string) error                 { return nil }
func nothing(saga.Context, order) (string, error)            { return "", nil }

// TestBuildRefuses: every mistake that only the whole declaration shows is
// named with file and line of the declaration, and with the ways to mend it.
func TestBuildRefuses(t *testing.T) {
	type builder = saga.Builder[order, string]
	for _, c := range []struct {
		name    string
		declare func(b *builder)
		want    []string
	}{
		{"unclassified", func(b *builder) { saga.Step(b, "a", body) }, []string{`"a" is not classified`, "Undo", "ReadOnly", "Irreversible"}},
		{"duplicate name", func(b *builder) { saga.Step(b, "a", body).Undo(undo); saga.Step(b, "a", body).ReadOnly() }, []string{"name of the step at build_test.go", "another"}},
		{"undoable after the pivot", func(b *builder) { saga.Pivot(b, "p", body).Verify(ask); saga.Step(b, "a", body).Undo(undo) }, []string{"after the pivot \"p\"", "move it before"}},
		{"two pivots", func(b *builder) { saga.Pivot(b, "p", body).Verify(ask); saga.Pivot(b, "q", body).Verify(ask) }, []string{"second pivot", "Retriable"}},
		{"pivot without a way out, unused", func(b *builder) { saga.Pivot(b, "p", body) }, []string{"way out of doubt", "ParkInDoubt"}},
		{"retriable without pivot", func(b *builder) { saga.Step(b, "a", body).Retriable() }, []string{"no pivot comes before", "Pivot first", "AfterPivot"}},
		{"irreversible without reason", func(b *builder) { saga.Step(b, "a", body).Irreversible(" ") }, []string{"without a reason"}},
		{"read-only with verify", func(b *builder) { saga.Step(b, "a", body).Verify(ask).ReadOnly() }, []string{"nothing to verify"}},
		{"nil body", func(b *builder) { saga.Step[order, string](b, "a", nil).ReadOnly() }, []string{"nil body"}},
		{"nil do", func(b *builder) { saga.Do[order](b, "a", nil).ReadOnly() }, []string{"nil body"}},
		{"nil undo", func(b *builder) { saga.Step(b, "a", body).Undo(nil) }, []string{"Undo got a nil func"}},
		{"nil undo of a do", func(b *builder) { saga.Do(b, "a", func(saga.Context, order) error { return nil }).Undo(nil) }, []string{"Undo got a nil func"}},
		{"nil verify", func(b *builder) { saga.Step(b, "a", body).Verify(nil).Undo(undo) }, []string{"Verify got a nil func"}},
		{"bad name", func(b *builder) { saga.Step(b, "a/b", body).ReadOnly() }, []string{`neither "/" nor "#"`}},
		{"no name", func(b *builder) { saga.Step(b, "", body).ReadOnly() }, []string{"1 to 100 bytes"}},
		{"bad timeout", func(b *builder) { saga.Step(b, "a", body).Timeout(-1).ReadOnly() }, []string{"Timeout(-1ns)", "above zero"}},
		{"bad key lifetime", func(b *builder) { saga.Step(b, "a", body).KeyLifetime(0).ReadOnly() }, []string{"KeyLifetime(0s)"}},
		{"bad undo timeout", func(b *builder) { saga.Step(b, "a", body).Undo(undo, saga.UndoTimeout(-1)) }, []string{"options of Undo"}},
		{"bad deadline", func(b *builder) { b.Timeout(0); saga.Step(b, "a", body).ReadOnly() }, []string{"Timeout(0s)"}},
		{"undoable in one that stands after a pivot", func(b *builder) { b.AfterPivot(); saga.Step(b, "a", body).Undo(undo) }, []string{`comes after the pivot "of the saga around this one" (build_test.go:`, "make it Retriable"}},
		{"pivot in one that stands after a pivot", func(b *builder) { b.AfterPivot(); saga.Pivot(b, "p", body).Verify(ask) }, []string{`second pivot after "of the saga around this one"`}},
		{"a sub-saga before the pivot that stands after one", func(b *builder) {
			saga.Sub(b, "mail", afterwards(), func(saga.Context, order) (order, error) { return order{}, nil })
			saga.Pivot(b, "p", body).Verify(ask)
		}, []string{`sub-saga "mail" is declared to stand AfterPivot (build_test.go:`, "no pivot comes before", "move it behind"}},
		{"and on a way without the pivot", func(b *builder) {
			saga.Pivot(saga.When(b, "dear", func(saga.Context, order) bool { return true }), "p", body).Verify(ask)
			saga.Sub(b, "mail", afterwards(), func(saga.Context, order) (order, error) { return order{}, nil })
		}, []string{`sub-saga "mail" is declared`, "on every way here"}},
		{"attempts of a durable function", func(b *builder) {
			saga.Run(b, "a", func(*durable.Context, order) (string, error) { return "", nil }).Retry(durable.Retry{MaxAttempts: 2}).
				Timeout(time.Hour).AtMostOnce().KeyLifetime(time.Hour).Limit(saga.NewLimit(1, 0)).Undo(undo)
		}, []string{"a durable function", "Retry, Timeout, AtMostOnce, KeyLifetime, Limit does nothing", "the operations in"}},
		{"heartbeat of a step", func(b *builder) { saga.Step(b, "a", body).Heartbeat(time.Hour).ReadOnly() }, []string{"Heartbeat is for Await", "drop the call"}},
		{"reminders of a step", func(b *builder) { saga.Step(b, "a", body).Remind(time.Hour, tell).ReadOnly() }, []string{"Remind is for Await", "drop the call"}},
		{"ask timeout of a step", func(b *builder) { saga.Step(b, "a", body).AskTimeout(time.Hour).ReadOnly() }, []string{"AskTimeout is for Await", "drop the call"}},
		{"bad ask timeout", func(b *builder) { saga.Await[string](b, "a", tell).AskTimeout(-1).ReadOnly() }, []string{"AskTimeout(-1ns)", "above zero"}},
		{"bad heartbeat", func(b *builder) { saga.Await[string](b, "a", tell).Heartbeat(0).ReadOnly() }, []string{"Heartbeat(0s)", "above zero"}},
		{"bad reminders", func(b *builder) { saga.Await[string](b, "a", tell).Remind(-1, tell).ReadOnly() }, []string{"Remind(-1ns)", "above zero"}},
		{"nil reminder", func(b *builder) { saga.Await[string](b, "a", tell).Remind(time.Hour, nil).ReadOnly() }, []string{"Remind got a nil func"}},
		{"no steps", func(*builder) {}, []string{"no steps"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := saga.New[order, string]("s", "1")
			c.declare(b)
			_, err := b.Build(nothing)
			var refused *saga.BuildError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a BuildError", err)
			}
			for _, want := range append(c.want, "build_test.go:") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to say %q", err, want)
				}
			}
			if len(refused.Problems) != 1 {
				t.Errorf("%d problems, want the one: %v", len(refused.Problems), err)
			}
		})
	}
}

func TestBuildNamesEveryMistakeAtOnce(t *testing.T) {
	b := saga.New[order, string]("", "1")
	saga.Step(b, "a", body)
	saga.Step[order, string](b, "b", nil).ReadOnly()
	_, err := b.Build(nil)
	var refused *saga.BuildError
	if !errors.As(err, &refused) || len(refused.Problems) != 4 {
		t.Errorf("got %v, want four problems", err)
	}
}

// TestCapturedBuilderParks: declaring inside a body is refused at run time.
func TestCapturedBuilderIsRefused(t *testing.T) {
	b := saga.New[order, string]("s", "1")
	saga.Step(b, "a", body).ReadOnly()
	if _, err := b.Build(nothing); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "after Build") {
			t.Errorf("got %v, want a panic that names Build", p)
		}
	}()
	saga.Step(b, "late", body)
}

// afterwards is a saga that stands behind the pivot of others.
func afterwards() *saga.Saga[order, string] {
	b := saga.New[order, string]("afterwards", "1").AfterPivot()
	saga.Step(b, "look", body).ReadOnly()
	g := saga.Parallel(b, "both")
	saga.Step(g, "mail", body).Retriable()
	saga.Step(g, "print", body).Irreversible("paper is patient")
	return built(b)
}

// TestAfterPivotHasNoExecutions: by itself nothing would be behind it that lets it
// go only forward.
func TestAfterPivotHasNoExecutions(t *testing.T) {
	e, err := durable.New(mem.New(), durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Register(afterwards())
	if !errors.Is(err, durable.ErrInvalid) || !strings.Contains(err.Error(), "afterwards@1") || !strings.Contains(err.Error(), "behind the pivot of others") {
		t.Errorf("got %v, want it refused with the way to mend it", err)
	}
}
