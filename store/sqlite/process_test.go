package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// The test binary runs itself as other processes, which do one of these.
var roles = map[string]func(path string) error{
	"hold":  hold,
	"serve": serve,
	"write": writeOnly,
	"tell":  tell,
}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv("CLEW_TEST_ROLE")]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv("CLEW_TEST_PATH")); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is another process.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, role, path string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLEW_TEST_ROLE="+role, "CLEW_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9; the process is gone when it returns.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// await reads lines up to this one and returns those before it.
func (p *process) await(line string) (before []string) {
	p.t.Helper()
	for p.out.Scan() {
		if p.out.Text() == line {
			return before
		}
		before = append(before, p.out.Text())
	}
	p.t.Fatalf("process ended after %q, want %q", before, line)
	return nil
}

// hold claims executions for an hour in every way there is, and waits.
func hold(path string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range 20 {
		if err := s.Create(ctx, running(fmt.Sprintf("born-%02d", i))); err != nil {
			return err
		}
	}
	claimed := pending("claimed")
	if err := s.Create(ctx, claimed); err != nil {
		return err
	}
	if _, err := s.Claim(ctx, &durable.Claim{ID: "claimed", Owner: "holder/1", Now: now, Lease: late}); err != nil {
		return err
	}
	if err := s.Create(ctx, running("suspended")); err != nil {
		return err
	}
	released := step("suspended", 1, 2, durable.StatusSuspended)
	released.Due = late
	if _, err := s.Commit(ctx, released); err != nil {
		return err
	}
	fmt.Println("holding")
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	fmt.Println("closed", s.Close())
	in.Scan()
	return nil
}

// After kill -9 the next Due has everything that the process held, whatever
// its leases say, and its epochs are safe.
func TestKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	p := start(t, "hold", path)
	p.await("holding")
	if ids := due(t, s); len(ids) != 0 {
		t.Fatalf("due while the owner lives: got %q, want nothing", ids)
	}
	if _, err := s.Claim(t.Context(), &durable.Claim{ID: "claimed", Owner: "x", Now: now, Lease: late}); !errors.Is(err, durable.ErrNotDue) {
		t.Fatalf("claim while the owner lives: got %v, want ErrNotDue", err)
	}
	p.kill()
	killed := time.Now()
	var ids []string
	for len(ids) == 0 && time.Since(killed) < 5*time.Second {
		ids = due(t, s)
		time.Sleep(time.Millisecond)
	}
	took := time.Since(killed)
	if len(ids) != 21 || slices.Contains(ids, "suspended") {
		t.Fatalf("due after the death: got %q, want the 20 born and the claimed", ids)
	}
	t.Logf("due again %v after the death", took)
	if took > time.Second {
		t.Errorf("took %v, want it at the next poll", took)
	}
	for _, id := range ids {
		rec, err := s.Claim(t.Context(), &durable.Claim{ID: id, Owner: "heir/" + id, Now: now, Lease: late})
		if err != nil || rec.Epoch != 2 || rec.SafeEpoch != 1 || rec.Crashes != 1 {
			t.Fatalf("claim of %q: got %+v, %v, want epoch 2, safe up to 1, 1 crash", id, rec, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(s.self.dir, "*")); len(files) != 1 {
		t.Errorf("lock files: got %q, want only our own", files)
	}
}

// A claim finds out about the death by itself, without a Due before it.
func TestClaimFromKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	p := start(t, "hold", path)
	p.await("holding")
	p.kill()
	for _, id := range []string{"claimed", "born-07"} {
		rec, err := s.Claim(t.Context(), &durable.Claim{ID: id, Owner: "heir/" + id, Now: now, Lease: late})
		if err != nil || rec.Epoch != 2 || rec.SafeEpoch != 1 {
			t.Fatalf("claim of %q: got %+v, %v, want epoch 2, safe up to 1", id, rec, err)
		}
	}
}

// That an owner was dead is known for ever, also when its lease had run out
// before, and after everybody who saw it is gone.
func TestDeathIsRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	p := start(t, "hold", path)
	p.await("holding")
	p.kill()
	witness := openAt(t, path)
	if ids := due(t, witness); len(ids) != 21 {
		t.Fatalf("due: got %q, want 21", ids)
	}
	witness.Close()
	s := openAt(t, path)
	rec, err := s.Claim(t.Context(), &durable.Claim{ID: "claimed", Owner: "heir", Now: late, Lease: late.Add(time.Hour)})
	if err != nil || rec.SafeEpoch != 1 {
		t.Fatalf("got %+v, %v, want epoch 1 safe", rec, err)
	}
}

// A lease that ran out while its owner lives proves nothing.
func TestLeaseProvesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	start(t, "hold", path).await("holding")
	rec, err := s.Claim(t.Context(), &durable.Claim{ID: "claimed", Owner: "heir", Now: late, Lease: late.Add(time.Hour)})
	if err != nil || rec.Epoch != 2 || rec.SafeEpoch != 0 {
		t.Fatalf("got %+v, %v, want epoch 2 and none safe", rec, err)
	}
}

// A process that closes the store with claims in hand may still run their
// code: they come free when it ends, not before.
func TestCloseKeepsClaimsUntilTheProcessEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	p := start(t, "hold", path)
	p.await("holding")
	io.WriteString(p.in, "close\n")
	p.await("closed <nil>")
	s.lastReap = time.Time{}
	if ids := due(t, s); len(ids) != 0 {
		t.Fatalf("due while code of the closed store may run: got %q, want nothing", ids)
	}
	p.kill()
	s.lastReap = time.Time{}
	if ids := due(t, s); len(ids) != 21 {
		t.Fatalf("due after its end: got %q, want 21", ids)
	}
}

// serve claims, appends and ends whatever is due, until there is nothing for
// a while, and names what it ended.
func serve(path string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	for idle := 0; idle < 20; idle++ {
		page, err := s.Due(ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: now, Limit: 20})
		if err != nil {
			return err
		}
		for _, id := range page.IDs() {
			rec, err := s.Claim(ctx, &durable.Claim{ID: id, Owner: fmt.Sprint(os.Getpid(), "/", id), Now: now, Lease: late})
			if errors.Is(err, durable.ErrNotDue) || errors.Is(err, durable.ErrEnded) {
				continue // the other one was quicker
			}
			if err != nil {
				return err
			}
			idle = 0
			for seq, status := range []durable.Status{durable.StatusRunning, durable.StatusSucceeded} {
				if _, err := s.Commit(ctx, step(id, rec.Epoch, int64(seq)+1, status)); err != nil {
					return fmt.Errorf("commit of %s: %w", id, err)
				}
			}
			fmt.Println(id)
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("done")
	return nil
}

// Two processes share the work: each execution is run by one of them, once.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	const n = 300
	for i := range n {
		create(t, s, pending(fmt.Sprintf("order-%03d", i)))
	}
	a, b := start(t, "serve", path), start(t, "serve", path)
	for _, p := range []*process{a, b} {
		p.await("ready")
	}
	for _, p := range []*process{a, b} {
		io.WriteString(p.in, "go\n")
	}
	byA, byB := a.await("done"), b.await("done")
	t.Logf("one ended %d, the other %d", len(byA), len(byB))
	all := append(byA, byB...)
	slices.Sort(all)
	if got := len(slices.Compact(all)); len(all) != n || got != n {
		t.Fatalf("ended %d times %d executions, want each of %d once", len(all), got, n)
	}
	page, err := s.List(t.Context(), &durable.ListQuery{Statuses: []durable.Status{durable.StatusSucceeded}, Limit: n + 1})
	if err != nil || len(page.Heads) != n {
		t.Fatalf("succeeded: got %d, %v, want %d", len(page.Heads), err, n)
	}
	for i := range page.Heads {
		if h := &page.Heads[i]; h.Epoch != 1 || h.Revision != 2 {
			t.Errorf("%s: got epoch %d, revision %d, want 1, 2", h.ID, h.Epoch, h.Revision)
		}
	}
}

// writeOnly writes without a pause from many goroutines, until its input ends.
func writeOnly(path string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for worker := range 32 {
		go func() {
			for i := 0; ; i++ {
				if err := s.Create(ctx, pending(fmt.Sprint("busy-", worker, "-", i))); err != nil {
					fmt.Println("error:", err)
					os.Exit(1)
				}
			}
		}()
	}
	if _, err := s.Due(ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: now, Limit: 1}); err != nil {
		return err
	}
	fmt.Println("writing")
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		// As its engine would, it looks for work now and then, which is how
		// it knows that it is not alone.
		if _, err := s.Due(ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: now, Limit: 1}); err != nil {
			return err
		}
	}
}

// tell writes without a pause and names each write that was acknowledged.
func tell(path string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprint("order-", worker, "-", i)
				err := s.Create(context.Background(), running(id))
				if err == nil {
					_, err = s.Commit(context.Background(), step(id, 1, 2, durable.StatusRunning))
				}
				mu.Lock()
				fmt.Println(id, err)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// What was acknowledged before a kill -9 is there after it, and what was not
// is there whole or not at all.
func TestKilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	var acknowledged []string
	p := start(t, "tell", path)
	for p.out.Scan() && len(acknowledged) < 500 {
		id, err, _ := strings.Cut(p.out.Text(), " ")
		if err != "<nil>" {
			t.Fatalf("%s: got %s, want nil", id, err)
		}
		acknowledged = append(acknowledged, id)
	}
	p.cmd.Process.Kill()
	for p.out.Scan() { // what it still said
		if id, _, whole := strings.Cut(p.out.Text(), " "); whole {
			acknowledged = append(acknowledged, id)
		}
	}
	p.cmd.Wait()
	s := openAt(t, path)
	for _, id := range acknowledged {
		if rec, err := s.Load(t.Context(), id, durable.LoadAll); err != nil || rec.Seq != 2 || len(rec.Journal) != 2 {
			t.Fatalf("%s was acknowledged: got %+v, %v, want commit 2", id, rec, err)
		}
	}
	page, err := s.List(t.Context(), &durable.ListQuery{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Heads {
		if _, err := s.Load(t.Context(), page.Heads[i].ID, durable.LoadAll); err != nil {
			t.Errorf("%s, in the file: got %v, want it whole", page.Heads[i].ID, err)
		}
	}
	t.Logf("%d acknowledged, %d in the file", len(acknowledged), len(page.Heads))
}

// A process that writes without end leaves gaps for others.
func TestBusyProcessLeavesRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s := openAt(t, path)
	start(t, "write", path).await("writing")
	time.Sleep(150 * time.Millisecond)
	var worst time.Duration
	for i := range 40 {
		began := time.Now()
		create(t, s, pending(fmt.Sprint("polite-", i)))
		worst = max(worst, time.Since(began))
	}
	t.Logf("the longest wait was %v", worst)
	if worst > 2*time.Second {
		t.Errorf("a write beside a busy process took %v, want far less than the busy timeout", worst)
	}
}

// A file that stays locked is an error to try again on, and not one for a
// person.
func TestLockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	s, err := Open(path, Options{BusyTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := dial(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	other.exec(qBegin)
	err = s.Create(t.Context(), pending("a"))
	if err == nil || errors.Is(err, durable.ErrStoreBroken) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("got %v, want an error that says locked and can be tried again on", err)
	}
	other.exec(qEnd)
	if err := other.take(); err != nil {
		t.Fatal(err)
	}
	create(t, s, pending("a"))
}
