package main

import (
	"path/filepath"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/sqlite"
)

// TestOldVersionInFlight: a program that died with orders on the first version of
// the saga is followed by one that starts the second, which ends and undoes the old
// ones as they began.
func TestOldVersionInFlight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-orders", "200", "-step-delay", "10ms", "-decline", "0.2", "-fraud", "0.2"}
	old := start(t, dir, append(args, "-version", "1", "-crash-after", "150")...)
	if err := old.Wait(); err == nil {
		t.Fatal("it was to be killed")
	}
	store, err := sqlite.Open(filepath.Join(dir, "payments.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	count := func(version string, ended bool) (n int) {
		q := &durable.ListQuery{Definition: "payment", Limit: 500}
		page, err := store.List(t.Context(), q)
		if err != nil || page.Next != "" {
			t.Fatalf("list: %v, next %q", err, page.Next)
		}
		for _, h := range page.Heads {
			if h.Version == version && h.Status.Ended() == ended {
				n++
			}
		}
		return n
	}
	inFlight := count("1", false)
	if inFlight == 0 {
		t.Fatal("nothing was in flight on the first version")
	}
	start(t, dir, args...).finish(t).clean(t, 200)
	if count("1", true) < inFlight || count("2", true) == 0 || count("1", false)+count("2", false) > 0 {
		t.Errorf("%d ended on the first version, of which %d were in flight, and %d on the second", count("1", true), inFlight, count("2", true))
	}
}
