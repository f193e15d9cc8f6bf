package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga/sagatest"
	"github.com/clewdev/clew/store/mem"
)

func booksAt(t *testing.T, path string) *books {
	t.Helper()
	b, err := openBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestBooks: a key is one effect, in all processes; what was undone stays so.
func TestBooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outside.db")
	a, b, ctx := booksAt(t, path), booksAt(t, path), t.Context()
	e := Effect{Hire: "ada", Kind: kindAccount, Text: "ada"}
	var ids sync.Map
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			id, err := []*books{a, b}[i%2].Do(ctx, "k", e)
			if err != nil {
				t.Error(err)
			}
			ids.Store(id, true)
		})
	}
	wg.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if all, err := b.all(ctx); err != nil || len(all) != 1 || all[0].Effect != e || all[0].State != stands || n != 1 {
		t.Errorf("one key is %d IDs and %+v, %v", n, all, err)
	}
	if _, err := a.Do(ctx, "k", Effect{Hire: "bob", Kind: kindAccount}); err == nil || errors.Is(err, errRefused) {
		t.Errorf("a key for another hire: got %v, want an error that proves nothing", err)
	}
	if _, done, err := a.Settle(ctx, "k"); !done || err != nil {
		t.Errorf("it was done: got %v, %v", done, err)
	}
	for range 2 {
		if err := a.Undo(ctx, "k"); err != nil {
			t.Error(err)
		}
		if _, err := b.Do(ctx, "k", e); !errors.Is(err, errRefused) {
			t.Errorf("after its undo: got %v, want a refusal", err)
		}
		if _, done, err := b.Settle(ctx, "k"); done || err != nil {
			t.Errorf("it was undone: got %v, %v", done, err)
		}
	}
	if err := a.Undo(ctx, "late"); err != nil {
		t.Error(err)
	}
	if _, done, err := a.Settle(ctx, "later"); done || err != nil {
		t.Errorf("nothing was done: got %v, %v", done, err)
	}
	for _, key := range []string{"late", "later"} {
		if _, err := b.Do(ctx, key, e); !errors.Is(err, errRefused) {
			t.Errorf("%s: got %v, want a refusal", key, err)
		}
	}
	if _, err := b.Do(ctx, "laptop", Effect{Hire: "ada", Kind: kindLaptop, Text: discontinued}); !errors.Is(err, errRefused) {
		t.Errorf("a discontinued laptop: got %v, want a refusal", err)
	}
	if all, err := a.all(ctx); err != nil || len(all) != 1 || all[0].State != undone {
		t.Errorf("got %+v, %v, want the account, undone", all, err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := a.Do(stopped, "new", e); err == nil {
		t.Error("it works for somebody who has gone")
	}
	if _, err := a.Do(ctx, "new", e); err != nil {
		t.Errorf("after somebody has gone: %v", err)
	}
}

// TestUndosOfBooks: the books themselves keep what the saga's undos rely on.
func TestUndosOfBooks(t *testing.T) {
	b := booksAt(t, filepath.Join(t.TempDir(), "outside.db"))
	s, err := onboard(deps{outside: b, day: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	sagatest.CheckUndos(t, s, ada, sagatest.Outside{Standing: func() map[string]int {
		all, err := b.all(context.Background())
		if err != nil {
			t.Error(err)
		}
		n := map[string]int{}
		for _, e := range all {
			if e.State == stands {
				n[e.Kind]++
			}
		}
		return n
	}}, yes...)
}

func TestBooksOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outside.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openBooks(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move that file away") {
		t.Errorf("got %v, want an error that names the file and what to do", err)
	}
}

// jammed is an outside world that takes nothing back.
type jammed struct{ outside }

func (jammed) Undo(context.Context, string) error { return durable.Permanent(errors.New("jammed")) }

// TestAudit: each hire is done, undone, under way, parked or broken, and only the
// books say so.
func TestAudit(t *testing.T) {
	b := booksAt(t, filepath.Join(t.TempDir(), "outside.db"))
	store, ctx := mem.New(), t.Context()
	working, err := newDesk(store, b, b, time.Hour, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(d *desk, f func()) {
		ctx, stop := context.WithCancel(ctx)
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			_ = d.engine.Run(ctx) // fails only when run twice
		}()
		f()
		stop()
		<-ran
	}
	hire := func(d *desk, name, laptop string) string {
		h, err := d.hire(ctx, Hire{Name: name, Manager: "grace@example.com", Laptop: laptop})
		if err != nil {
			t.Fatal(err)
		}
		return h.ID
	}
	say := func(d *desk, id, step, answer string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			h, rec, err := load(ctx, d.engine, id)
			if err != nil {
				t.Fatal(err)
			}
			if q, ok := open(rec, step); ok {
				if err := deliver(ctx, d.engine, h, q, reply{Answer: answer}); err != nil {
					t.Error(err)
				}
				return
			}
		}
		t.Fatalf("%s is never asked for the %s", id, step)
	}
	ended := func(d *desk, id string) {
		_, _ = d.saga.Attach(d.engine, id).Wait(ctx) // the audit says how
	}
	run(working, func() {
		for _, name := range []string{"Done", "Undone", "Forgotten", "Waiting", "Stolen", "Twice"} {
			hire(working, name, laptops[0])
		}
		for _, id := range []string{"done", "stolen", "twice"} {
			say(working, id, stepCheck, "pass")
			say(working, id, stepApproval, "approve")
			ended(working, id)
		}
		say(working, "undone", stepCheck, "fail")
		ended(working, "undone")
		say(working, "forgotten", stepCheck, "pass")
		if err := working.engine.Terminate(ctx, "forgotten", "ada", "a test"); err != nil {
			t.Error(err)
		}
		ended(working, "forgotten")
		say(working, "waiting", stepCheck, "working")
	})
	stuck, err := newDesk(store, jammed{b}, b, time.Hour, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(stuck, func() {
		hire(stuck, "Parked", laptops[0])
		say(stuck, "parked", stepCheck, "fail")
		ended(stuck, "parked")
	})
	// Somebody carries a laptop away, and orders one for nobody, and one too many.
	if err := b.write(ctx, func() error {
		return sqlitex.Execute(b.conn, `UPDATE effects SET state = ? WHERE hire = 'stolen' AND kind = ?`, &sqlitex.ExecOptions{Args: []any{undone, kindLaptop}})
	}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"nobody", "twice"} {
		if _, err := b.Do(ctx, id+" again", Effect{Hire: id, Kind: kindLaptop, Text: laptops[0]}); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := audit(ctx, working)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range findings {
		got[f.ID] = f.Class
	}
	want := map[string]string{"done": allDone, "undone": allUndone, "waiting": underWay, "parked": isParked, "forgotten": abandoned, "stolen": broken, "twice": broken, "nobody": broken}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var out strings.Builder
	if err := report(&out, findings); !errors.Is(err, errAudit) {
		t.Errorf("got %v, want that not all is well", err)
	}
	for _, says := range []string{"1 all done, 1 all undone, 1 under way, 1 parked, 1 abandoned, 3 BROKEN", "clew show parked", "0 × laptop order", "2 × laptop order", "whom no saga knows"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("it does not say %q:\n%s", says, out.String())
		}
	}
	if err := report(&out, findings[:0]); err != nil {
		t.Errorf("of nobody: %v", err)
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{"Ada Lovelace": "ada-lovelace", "  Zoë  O'Neil ": "zoë-o-neil", "../etc/passwd": "etc-passwd", "李 小龍": "李-小龍", "--": "", "a\x00b#c/d": "a-b-c-d"} {
		if got := slug(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
