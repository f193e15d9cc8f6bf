package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/sqlite"
)

// shop serves sagas whose pivot nobody can tell the outcome of, until stop.
func shop(t *testing.T, path string) (sg *saga.Saga[int, string], e *durable.Engine, stop func()) {
	t.Helper()
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := saga.New[int, string]("shop", "1")
	saga.Step(b, "reserve", func(saga.Context, int) (string, error) { return "r", nil }).
		Undo(func(saga.UndoContext, int, saga.Maybe[string]) error { return nil })
	charged := saga.Pivot(b, "charge", func(_ saga.Context, n int) (string, error) {
		if n == 0 {
			return "", saga.Reject(errors.New("declined"))
		}
		return "", durable.Permanent(errors.New("no answer"))
	}).KeyLifetime(24 * time.Hour).ParkInDoubt()
	sg, err = b.Build(func(c saga.Context, _ int) (string, error) { return charged.Of(c), nil })
	if err != nil {
		t.Fatal(err)
	}
	if e, err = durable.New(db, durable.Options{PollMax: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if err := e.Register(sg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return sg, e, func() {
		cancel()
		<-done
		_ = db.Close()
	}
}

// clew runs the tool as a user would.
func clew(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := command(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func contains(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwant it to say %q", got, want)
		}
	}
}

func TestOperatorsWayOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	defer stop()
	store := "--store=sqlite:" + path
	parked, err := sg.Start(t.Context(), e, "doubtful", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parked.Wait(t.Context()); !errors.Is(err, durable.ErrParked) {
		t.Fatalf("got %v, want parked", err)
	}
	refused, err := sg.Start(t.Context(), e, "refused", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = refused.Wait(t.Context())

	out, err := clew(t, store, "ls")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, "doubtful", "pivot-in-doubt", "stuck", "refused", "rejected", "complete", "2 executions")
	if out, _ := clew(t, store, "ls", "--status", "parked"); strings.Contains(out, "refused") {
		t.Errorf("ls --status parked shows what is not parked:\n%s", out)
	}
	out, err = clew(t, store, "show", "doubtful")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, "pivot charge", "no answer", `Key "doubtful/1/charge"`, "still honoured", "resolve doubtful (--output JSON | --no-effect)", "retry doubtful")
	out, err = clew(t, store, "show", "doubtful", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var shown line
	if err := json.Unmarshal([]byte(out), &shown); err != nil || strings.Count(out, "\n") != 1 || shown.Unwind != saga.UnwindStuck || len(shown.Journal) == 0 {
		t.Fatalf("show --json: %v: %s", err, out)
	}

	out, err = clew(t, store, "retry", "doubtful", "--actor", "ada", "--reason", "once more")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, `Key "doubtful/1/charge" is`, "accepted and durable")
	again := awaitParked(t, e, shown.Revision)

	if _, err := clew(t, store, "resolve", "doubtful", "--output", `"by hand"`, "--actor", "ada", "--reason", "statement", "--revision", "3"); !errors.Is(err, durable.ErrRevision) {
		t.Errorf("resolve on an old revision: got %v, want ErrRevision", err)
	}
	if _, err := clew(t, store, "resolve", "doubtful", "--output", `"by hand"`, "--actor", "ada", "--reason", "found on the statement"); err != nil {
		t.Fatal(err)
	}
	for {
		result, err := sg.Attach(e, "doubtful").Wait(t.Context())
		if errors.Is(err, durable.ErrParked) {
			continue
		}
		if err != nil || result != "by hand" {
			t.Errorf("got %q, %v", result, err)
		}
		break
	}
	out, _ = clew(t, store, "show", "doubtful")
	contains(t, out, "committed / none", "by ada: found on the statement")
	if again <= shown.Revision {
		t.Errorf("the retry left no trace: revision %d, before %d", again, shown.Revision)
	}
}

// awaitParked waits until the saga is parked at a later revision.
func awaitParked(t *testing.T, e *durable.Engine, after int64) int64 {
	t.Helper()
	for {
		rec, err := e.Store().Load(t.Context(), "doubtful", durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Status == durable.StatusParked && rec.Revision > after {
			return rec.Revision
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestBadUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	defer stop()
	x, err := sg.Start(t.Context(), e, "refused", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = x.Wait(t.Context())
	if y, err := sg.Start(t.Context(), e, "parked", 1); err != nil {
		t.Fatal(err)
	} else if _, err := y.Wait(t.Context()); !errors.Is(err, durable.ErrParked) {
		t.Fatal(err)
	}
	store := "--store=sqlite:" + path
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ls"}, "which store"},
		{[]string{"--store=postgres:x", "ls"}, `unknown kind "postgres"`},
		{[]string{"--store=nothing", "ls"}, "sqlite:PATH"},
		{[]string{"--store=sqlite:" + path + ".not", "ls"}, "there is no file"},
		{[]string{store, "ls", "--status", "sleepy"}, `unknown status "sleepy"`},
		{[]string{store, "show", "nobody"}, "no such execution"},
		{[]string{store, "show"}, "accepts 1 arg"},
		{[]string{store, "cancel", "refused", "--reason", "r"}, "which is failed: possible is nothing"},
		{[]string{store, "cancel", "parked"}, `"reason" not set`},
		{[]string{store, "cancel", "parked", "--reason", " "}, "needs an actor and a reason"},
		{[]string{store, "retry", "refused", "--reason", "r"}, "which is failed: possible is nothing"},
		{[]string{store, "resume", "parked", "--reason", "r"}, "possible is retry resolve abandon"},
		{[]string{store, "skip", "parked", "--reason", "r"}, "possible is retry resolve abandon"},
		{[]string{store, "unwind", "parked", "--reason", "r"}, "possible is retry resolve abandon"},
		{[]string{store, "unwind", "nobody", "--reason", "r"}, "no such execution"},
		{[]string{store, "rerun", "refused", "--from", "pay", "--reason", "r"}, "which has reserve, charge"},
		{[]string{store, "resolve", "parked", "--reason", "r"}, "either the operation's output or that it had no effect"},
		{[]string{store, "resolve", "parked", "--reason", "r", "--output", "{"}, "not JSON"},
		{[]string{store, "retry", "parked", "--reason", "r", "--revision", "1"}, "moved on"},
	} {
		t.Setenv("CLEW_STORE", "")
		_, err := clew(t, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("clew %s: got %v, want it to say %q", strings.Join(c.args, " "), err, c.want)
		}
	}
}
