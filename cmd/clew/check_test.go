package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/sqlite"
)

// manifest writes that of a build's sagas, and returns its path.
func manifest(t *testing.T, sagas ...saga.Described) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sagas.json")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(saga.WriteManifest(f, sagas...), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// another makes a saga of the shop's name with one step that can be undone.
func another(t *testing.T, version, step string) *saga.Saga[int, string] {
	t.Helper()
	b := saga.New[int, string]("shop", version)
	saga.Step(b, step, func(saga.Context, int) (string, error) { return "", nil }).
		Undo(func(saga.UndoContext, int, saga.Maybe[string]) error { return nil })
	sg, err := b.Build(func(saga.Context, int) (string, error) { return "", nil })
	if err != nil {
		t.Fatal(err)
	}
	return sg
}

func TestCheckForCI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	parked, err := sg.Start(t.Context(), e, "doubtful", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parked.Wait(t.Context()); !errors.Is(err, durable.ErrParked) {
		t.Fatalf("got %v, want parked", err)
	}
	stop()
	store := "--store=sqlite:" + path

	out, err := clew(t, store, "check", "--manifest", manifest(t, sg))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, "continue", "doubtful", "1 can continue, 0 can only unwind, 0 cannot run")

	out, err = clew(t, store, "check", "--manifest", manifest(t, another(t, "2", "reserve")))
	if err == nil || !strings.Contains(err.Error(), "cannot run 1 of the sagas in flight") {
		t.Errorf("got %v, want a refusal", err)
	}
	contains(t, out, "neither", "doubtful", `it can only go forward since "charge"`)

	out, err = clew(t, store, "check", "--json", "--manifest", manifest(t, another(t, "2", "reserve")))
	var c saga.Checked
	if jerr := json.Unmarshal([]byte(out), &c); jerr != nil || err == nil || c.Fit != saga.FitNone || len(c.IDs) != 1 {
		t.Errorf("got %s, %v, want one that cannot run, and an error", out, err)
	}

	if out, err = clew(t, store, "check", "--saga", "other", "--manifest", manifest(t, sg)); err != nil {
		t.Fatal(err)
	}
	contains(t, out, "0 can continue, 0 can only unwind, 0 cannot run")
	for _, args := range [][]string{{"check"}, {"check", "--manifest", "nowhere.json"}, {"check", "--manifest", path}} {
		if out, err := clew(t, append(args, store)...); err == nil {
			t.Errorf("%v: got %s, want an error", args, out)
		}
	}
}

func TestCheckStrict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := durable.New(db, durable.Options{}) // which runs nothing
	if err != nil {
		t.Fatal(err)
	}
	old := another(t, "1", "reserve")
	if err := e.Register(old); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"o1", "o2", "o3", "o4"} {
		if _, err := old.Start(t.Context(), e, id, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"--store=sqlite:" + path, "check", "--manifest", manifest(t, another(t, "2", "reserve"))}
	out, err := clew(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, "only unwind", "o1, o2, o3, …", "version 1 is not in this build", "0 can continue, 4 can only unwind, 0 cannot run")
	if _, err := clew(t, append(args, "--strict")...); err == nil || !strings.Contains(err.Error(), "can only unwind 4") {
		t.Errorf("got %v, want --strict to refuse", err)
	}
}

func TestDiagramNeedsNoStore(t *testing.T) {
	t.Setenv("CLEW_STORE", "")
	one, two := manifest(t, another(t, "1", "reserve")), manifest(t, another(t, "1", "reserve"), another(t, "2", "hold"))
	for _, c := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"--manifest", one}, []string{"flowchart TB", "undo reserve"}},
		{[]string{"--manifest", two, "--saga", "shop", "--format", "svg"}, []string{"<svg ", "undo hold"}},
		{[]string{"--manifest", two, "--version", "1"}, []string{"undo reserve"}},
		{[]string{"--manifest", one, "--json"}, []string{`"format":"mermaid"`}},
	} {
		out, err := clew(t, append([]string{"diagram"}, c.args...)...)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
		contains(t, out, c.wants...)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--manifest", one, "--saga", "order"}, "it has shop@1"},
		{[]string{"--manifest", one, "--format", "dot"}, `"mermaid" or "svg"`},
		{nil, "manifest"},
	} {
		if out, err := clew(t, append([]string{"diagram"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %s, %v, want an error that says %q", c.args, out, err, c.want)
		}
	}
}
