package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
)

// fails runs the tool and wants an error that says something.
func fails(t *testing.T, says string, args ...string) string {
	t.Helper()
	out, err := clew(t, args...)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("clew %s: got %v, want it to say %q", strings.Join(args, " "), err, says)
	}
	return out
}

func TestBulk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	defer stop()
	store := "--store=sqlite:" + path
	for i := range 4 {
		x, err := sg.Start(t.Context(), e, fmt.Sprint("o", i), i, durable.WithTags(map[string]string{"odd": fmt.Sprint(i % 2)}))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context()) // 0 is refused, the others park
	}
	out := must(t, store, "retry", "--all", "--reason", "the gateway is back")
	contains(t, out, "o1", "o2", "o3", "pivot-in-doubt", "would retry 3 of these 3", "--yes")
	if strings.Contains(out, "o0") {
		t.Errorf("what is not parked is to be retried:\n%s", out)
	}
	if rec, err := e.Store().Load(t.Context(), "o1", durable.LoadAll); err != nil || rec.Status != durable.StatusParked || len(rec.Inbox) != 0 {
		t.Errorf("a dry run has done something: %v, %v, %v", rec.Status, rec.Inbox, err)
	}
	contains(t, must(t, store, "skip", "--all", "--reason", "r"), "leave it alone: cannot skip", "possible is retry resolve abandon", "would skip 0 of these 3")
	contains(t, must(t, store, "abandon", "--all", "--tag", "odd=1", "--parked-for", "pivot-in-doubt", "--reason", "r"), "would abandon 2 of these 2")
	contains(t, must(t, store, "abandon", "--all", "--parked-for", "undo-failed", "--reason", "r"), "would abandon 0 of these 0")

	out = must(t, store, "abandon", "--all", "--tag", "odd=1", "--actor", "ada", "--reason", "settled by hand", "--yes")
	contains(t, out, "abandon of o1 at revision", "abandon of o3 at revision", "abandon of 2 accepted")
	for _, id := range []string{"o1", "o3"} {
		if _, err := sg.Attach(e, id).Wait(t.Context()); !errors.Is(err, durable.ErrTerminated) {
			t.Errorf("%s: got %v, want terminated", id, err)
		}
		contains(t, must(t, store, "history", id), "SagaAbandoned", "left: reserve, charge", "settled by hand")
		contains(t, must(t, store, "show", id), "terminated / abandoned", "left, not undone", "reserve, charge")
	}
	contains(t, must(t, store, "terminate", "--all", "--reason", "r", "--json"), `"id":"o2"`, `"parked_for":"pivot-in-doubt"`, `"dry_run":true`, `"accepted":false`)
	contains(t, must(t, store, "terminate", "--all", "--reason", "r", "--json", "--yes"), `"id":"o2"`, `"accepted":true`)
	if _, err := sg.Attach(e, "o2").Wait(t.Context()); !errors.Is(err, durable.ErrTerminated) {
		t.Errorf("o2: got %v, want terminated", err)
	}
	contains(t, must(t, store, "cancel", "--all", "--reason", "r"), "would cancel 0 of these 0")
}

// TestBulkGoesOn: one that has moved on since it was shown is left alone, the
// others are acted on, and the exit code tells.
func TestBulkGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	sg, e, stop := shop(t, path)
	for i := range 3 {
		x, err := sg.Start(t.Context(), e, fmt.Sprint("o", i+1), 1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = x.Wait(t.Context())
	}
	stop() // nobody serves them: what is decided waits
	store := "--store=sqlite:" + path
	must(t, store, "retry", "o2", "--actor", "bob", "--reason", "I was first")
	out := fails(t, "retry failed for 1 of 3", store, "retry", "--all", "--actor", "ada", "--reason", "r", "--yes")
	contains(t, out, "retry of o1 at revision", "retry of o2 at revision", "FAILED", "already delivered, by", "bob", "retry of o3 at revision")
}

func TestBulkBadUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	_, _, stop := shop(t, path)
	defer stop()
	store := "--store=sqlite:" + path
	fails(t, "name an ID, or pass --all", store, "retry", "--reason", "r")
	fails(t, "either one ID or --all", store, "retry", "o1", "--all", "--reason", "r")
	fails(t, "--revision is for one ID", store, "retry", "--all", "--revision", "3", "--reason", "r")
	fails(t, "--yes goes with --all", store, "retry", "o1", "--yes", "--reason", "r")
	fails(t, "--tag is for many", store, "retry", "o1", "--tag", "a=b", "--reason", "r")
	fails(t, `unknown status "sleepy"`, store, "retry", "--all", "--status", "sleepy", "--reason", "r")
	fails(t, `"reason" not set`, store, "retry", "--all")
}

func TestPauseAndContinue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.db")
	_, _, stop := shop(t, path)
	defer stop()
	store := "--store=sqlite:" + path
	contains(t, must(t, store, "pause", "shop", "--actor", "ada", "--reason", "the gateway is down"), "shop is paused: no new starts, no unwinding", "is that its name?")
	fails(t, `by "ada"`, store, "pause", "shop", "--starts", "--reason", "r")
	contains(t, must(t, store, "versions"), "shop is PAUSED: no new starts, no unwinding", "by ada: the gateway is down")
	contains(t, must(t, store, "versions", "--json"), `"definition":"shop"`, `"paused":{"definition":"shop","starts":true,"unwinding":true,"actor":"ada"`)
	contains(t, must(t, store, "continue", "shop", "--reason", "it is back"), "shop goes on")
	contains(t, must(t, store, "versions"), "nothing is in flight")
	fails(t, "which is not paused: possible is pause", store, "continue", "shop", "--reason", "r")
	fails(t, "reason", store, "pause", "shop", "--starts")
	contains(t, must(t, store, "pause", "shop", "--unwinding", "--reason", "r"), "shop is paused: no unwinding.")
	contains(t, must(t, store, "ls", "--definition", "clew.pause"), "clew.pause/shop@")
}
