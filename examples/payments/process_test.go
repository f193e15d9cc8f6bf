package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/sqlite"
)

// binary is the example as a user would run it, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "payments")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "payments")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// payments is one process of the example.
type payments struct {
	*exec.Cmd
	out, err bytes.Buffer
}

func start(t *testing.T, dir string, args ...string) *payments {
	t.Helper()
	p := &payments{Cmd: exec.Command(binary, append([]string{"-json"}, args...)...)}
	p.Dir, p.Stdout, p.Stderr = dir, &p.out, &p.err
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// finish waits for a clean end and returns the audit that it printed.
func (p *payments) finish(t *testing.T) result {
	t.Helper()
	if err := p.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, p.out.Bytes(), p.err.Bytes())
	}
	return p.result(t)
}

func (p *payments) result(t *testing.T) (r result) {
	t.Helper()
	if n := strings.Count(p.out.String(), "\n"); n != 1 {
		t.Fatalf("-json printed %d lines:\n%s", n, p.out.Bytes())
	}
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, p.out.Bytes())
	}
	return r
}

func (r result) clean(t *testing.T, orders int) {
	t.Helper()
	if r.Orders != orders || r.Committed+r.Undone != orders || r.Committed == 0 || r.Undone == 0 ||
		r.DuplicateEffects != 0 || r.MissingUndos != 0 || r.LedgerImbalanceCents != 0 {
		t.Errorf("audit of %d orders: %+v", orders, r)
	}
}

func TestWithoutFaultsNothingIsRepeated(t *testing.T) {
	r := start(t, t.TempDir(), "-orders", "100").finish(t)
	r.clean(t, 100)
	if r.RepeatedCalls != 0 {
		t.Errorf("%d calls repeated, want 0", r.RepeatedCalls)
	}
}

// TestKill9 kills the program at random moments, at least 30 times, and lets
// it finish: with and without outages.
func TestKill9(t *testing.T) {
	for _, c := range []struct {
		name   string
		outage string
		kills  int
	}{{"without outages", "0", 20}, {"with outages", "0.05", 14}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const orders, concurrency = 1200, 16
			dir := t.TempDir()
			args := []string{"-orders", strconv.Itoa(orders), "-concurrency", strconv.Itoa(concurrency), "-step-delay", "15ms", "-decline", "0.2", "-outage", c.outage}
			kills := 0
			for kills < c.kills {
				p := start(t, dir, args...)
				time.Sleep(20*time.Millisecond + rand.N(400*time.Millisecond))
				if err := p.Process.Kill(); err != nil {
					t.Fatalf("the program ended before it could be killed, after %d kills: raise the number of orders: %s%s", kills, p.out.Bytes(), p.err.Bytes())
				}
				if err := p.Wait(); err == nil {
					break // it finished in the very moment
				}
				kills++
			}
			r := start(t, dir, args...).finish(t)
			r.clean(t, orders)
			t.Logf("%d kills, %d repeated calls, %d orders undone", kills, r.RepeatedCalls, r.Undone)
			if kills < c.kills {
				t.Errorf("%d kills, want %d", kills, c.kills)
			}
			if c.outage == "0" && r.RepeatedCalls > kills*concurrency {
				t.Errorf("%d calls repeated, which %d kills of %d orders in flight do not explain", r.RepeatedCalls, kills, concurrency)
			}
		})
	}
}

// TestCrashAfterEveryWrite uses the program's own flag: one process dies
// after its k-th write, for every k of a short run.
func TestCrashAfterEveryWrite(t *testing.T) {
	t.Parallel()
	for k := 1; k <= 24; k++ {
		dir := t.TempDir()
		args := []string{"-orders", "4", "-decline", "0.4", "-concurrency", "2"}
		p := start(t, dir, append(args, "-crash-after", strconv.Itoa(k))...)
		if err := p.Wait(); err == nil {
			if k < 10 {
				t.Errorf("four orders took fewer than %d writes", k)
			}
			break
		}
		r := start(t, dir, args...).finish(t)
		r.clean(t, 4)
		if r.RepeatedCalls > 2 {
			t.Errorf("crash after write %d: %d calls repeated, want at most 2", k, r.RepeatedCalls)
		}
	}
}

// TestTwoProcessesShareOneFile: two workers, of which one is killed; the
// other takes its work over at once and not when the lease of 30 s ends.
func TestTwoProcessesShareOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-orders", "300", "-concurrency", "8", "-step-delay", "20ms", "-decline", "0.2"}
	a, b := start(t, dir, args...), start(t, dir, args...)
	db, err := sqlite.Open(filepath.Join(dir, "payments.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	both := time.Now().Add(time.Minute)
	for len(running(t, db)) <= 8 { // more than one of them can have: both have some
		if time.Now().After(both) {
			t.Fatalf("they do not share the work: %s%s", a.err.Bytes(), b.err.Bytes())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := a.Process.Kill(); err != nil {
		t.Fatalf("it ended too early: %s%s", a.out.Bytes(), a.err.Bytes())
	}
	_ = a.Wait()
	waitedFor := leasesThatRanOut(t, db)
	r := b.finish(t)
	r.clean(t, 300)
	if waitedFor > 0 {
		t.Errorf("%d orders of the dead were left until their lease had run out", waitedFor)
	}
	if r.RepeatedCalls > 8 {
		t.Errorf("%d calls repeated after one kill of 8 orders in flight", r.RepeatedCalls)
	}
}

// leasesThatRanOut waits until every order that runs now has ended or has
// another owner, and counts those for which that took longer than their lease.
func leasesThatRanOut(t *testing.T, db *sqlite.Store) (late int) {
	t.Helper()
	for _, was := range running(t, db) {
		for {
			rec, err := db.Load(t.Context(), was.ID, durable.LoadHead)
			if err != nil {
				t.Fatal(err)
			}
			if rec.Status != durable.StatusRunning || rec.Epoch != was.Epoch {
				break
			}
			if time.Now().After(was.Lease.Add(-2 * time.Second)) {
				late++
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return late
}

func running(t *testing.T, db *sqlite.Store) []durable.Head {
	t.Helper()
	page, err := db.List(t.Context(), &durable.ListQuery{Statuses: []durable.Status{durable.StatusRunning}, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return page.Heads
}

func TestTerminatedPolitelyItHandsOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-orders", "200", "-step-delay", "20ms", "-decline", "0.2"}
	p := start(t, dir, args...)
	time.Sleep(300 * time.Millisecond)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil {
		t.Error("an interrupted run ended with exit code 0")
	}
	r := start(t, dir, args...).finish(t)
	r.clean(t, 200)
	if r.RepeatedCalls != 0 {
		t.Errorf("%d calls repeated after an orderly end, want 0", r.RepeatedCalls)
	}
}
