package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clewdev/clew/saga"
)

func TestPlan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	defer stop()
	other := stay("1")
	if err := e.Register(other); err != nil {
		t.Fatal(err)
	}
	x, err := other.Start(t.Context(), e, "no saga", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		x, err := sg.Start(t.Context(), e, fmt.Sprint("o", i), i)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context()) // 0 is refused, the others park
	}
	store := "--store=sqlite:" + path
	contains(t, must(t, store, "plan", "o1"), "o1, shop@1: parked (pivot-in-doubt), running / stuck, revision", "The pivot: in doubt.",
		"│ 1 │ reserve │ undo it", `"r"`, "o1/1/reserve", "leave it: the pivot: nothing is undone before it is known", "possible: retry resolve abandon")
	contains(t, must(t, store, "plan", "o0"), "failed, rejected / complete", "undo nothing", "leave it: undone", "leave it: proven to have had no effect")
	var p struct {
		ID    string         `json:"id"`
		Pivot string         `json:"pivot"`
		Undo  []saga.Planned `json:"undo"`
	}
	out := must(t, store, "plan", "o1", "--json")
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.ID != "o1" || p.Pivot != "in doubt" || len(p.Undo) != 1 || p.Undo[0].UndoKey != "o1/1/reserve/undo" || string(p.Undo[0].Input) != "1" {
		t.Errorf("got %s (%v)", out, err)
	}
	out = must(t, store, "plan", "--definition", "shop", "--status", "parked", "--parked-for", "pivot-in-doubt")
	contains(t, out, "o1, shop@1", "o2, shop@1", "2 sagas, 2 steps to undo, of which 0 are in doubt; nothing was done")
	if strings.Contains(out, "o0, ") {
		t.Errorf("what is not parked is planned too:\n%s", out)
	}
	contains(t, must(t, store, "plan", "--parked-for", "undo-failed"), "0 sagas")
	fails(t, "unknown flag: --reason", store, "plan", "--reason", "undo-failed") // which is why one acts
	fails(t, "--parked-for is for many", store, "plan", "o1", "--parked-for", "undo-failed")
	fails(t, "is no saga", store, "plan", "no saga")
	fails(t, "no such execution", store, "plan", "nobody")
	fails(t, "unknown status", store, "plan", "--status", "sleepy")
}
