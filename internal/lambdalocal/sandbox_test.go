package lambdalocal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A frozen sandbox stands still, and goes on where it was.
func TestFrozen(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	file := filepath.Join(t.TempDir(), "ticks")
	pay(t, l, Function{Env: map[string]string{"TICKER": file}, Timeout: time.Minute})
	read := func() []byte {
		text, _ := os.ReadFile(file)
		return text
	}
	invoke(t, l, "pay", `{"Do":"sleep","For":"50ms"}`)
	until(t, func() bool {
		before := read()
		time.Sleep(100 * time.Millisecond)
		return bytes.Equal(before, read())
	})
	before := read()
	time.Sleep(500 * time.Millisecond)
	if after := read(); !bytes.Equal(before, after) {
		t.Errorf("between invocations it went from %s to %s", before, after)
	}
	if n := l.Stats("pay").Freezes; n != 1 {
		t.Errorf("%d freezes are counted, want 1", n)
	}
	if r := invoke(t, l, "pay", `{"Do":"sleep","For":"50ms"}`); r.ColdStart || bytes.Equal(before, read()) {
		t.Errorf("after its thaw it is at %s still; cold start: %v", before, r.ColdStart)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 1, Timeout: 300 * time.Millisecond})
	r := invoke(t, l, "pay", `{"Do":"sleep","For":"1h"}`)
	e, ok := r.Err().(*FunctionError)
	if !ok || e.Type != TypeTimeout || !strings.HasSuffix(e.Message, "Task timed out after 0.30 seconds") {
		t.Errorf("the error is %v", r.Err())
	}
	if r.Duration < 300*time.Millisecond {
		t.Errorf("it was killed after %v", r.Duration)
	}
	again := invoke(t, l, "pay", `{}`) // with room for one, so the first is gone
	if !again.ColdStart || again.Err() != nil || again.Sandbox == r.Sandbox {
		t.Errorf("after a timeout the result is %+v, want a new sandbox", again)
	}
	if s := l.Stats("pay"); s.Timeouts != 1 || s.Exits != 0 || s.Errors != 0 {
		t.Errorf("stats are %+v, want one timeout and nothing else", s)
	}
}

func TestExit(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 1})
	r := invoke(t, l, "pay", `{"Do":"exit"}`)
	e, ok := r.Err().(*FunctionError)
	if !ok || e.Type != TypeExit || !strings.HasSuffix(e.Message, "Runtime exited with error: exit status 1") {
		t.Errorf("the error is %v", r.Err())
	}
	if !strings.Contains(r.LogTail, `doing "exit"`) || !strings.Contains(r.LogTail, "REPORT RequestId: "+r.RequestID) {
		t.Errorf("the log is\n%s", r.LogTail)
	}
	if again := invoke(t, l, "pay", `{}`); !again.ColdStart || again.Err() != nil {
		t.Errorf("after an exit the result is %+v, want a new sandbox", again)
	}
}

// A sandbox that dies while it is frozen harms no invocation.
func TestExitWhileFrozen(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 1})
	invoke(t, l, "pay", `{}`)
	until(t, func() bool { return l.idle("pay") == 1 })
	fn, _, err := l.find("pay")
	if err != nil {
		t.Fatal(err)
	}
	fn.mu.Lock()
	dead := fn.idle[0]
	fn.mu.Unlock()
	if err := syscall.Kill(dead.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return l.sandboxes("pay") == 0 })
	fn.mu.Lock()
	fn.idle = append(fn.idle, dead) // as if it had ended since it was chosen
	fn.mu.Unlock()
	if r := invoke(t, l, "pay", `{}`); !r.ColdStart || r.Err() != nil {
		t.Errorf("the result is %+v, want a new sandbox", r)
	}
	if s := l.Stats("pay"); s.Invocations != 2 || s.Exits != 0 {
		t.Errorf("stats are %+v, want two invocations that went well", s)
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	file := filepath.Join(t.TempDir(), "once")
	for _, test := range []struct{ name, start, kind string }{
		{"exits", "exit", TypeExit}, {"hangs", "hang", TypeTimeout}, {"exits-once", "exit-once", ""}} {
		pay(t, l, Function{Name: test.name, Env: map[string]string{"START": test.start, "ONCE_FILE": file},
			InitTimeout: 3 * time.Second, Timeout: 3 * time.Second})
		r := invoke(t, l, test.name, `{}`)
		kind := ""
		if e, ok := r.Err().(*FunctionError); ok {
			kind = e.Type
		}
		if kind != test.kind || !r.ColdStart {
			t.Errorf("a sandbox that %s at its start gives %q (%s), want %q", test.name, kind, r.Payload, test.kind)
		}
		if n := l.Stats(test.name).ColdStarts; n != 2 {
			t.Errorf("a sandbox that %s at its start was started %d times, want twice", test.name, n)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Env: map[string]string{"START": "silent"}})
	for range 2 {
		if e, ok := invoke(t, l, "pay", `{}`).Err().(*FunctionError); !ok || e.Type != TypeNoAnswer {
			t.Errorf("a runtime that does not answer gives %v", e)
		}
	}
	if s := l.Stats("pay"); s.Errors != 2 || s.ColdStarts != 1 {
		t.Errorf("stats are %+v, want two errors of one sandbox", s)
	}
}

// SIGTERM comes only to a sandbox that has asked for it by registering an
// extension.
func TestRetire(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	file := filepath.Join(t.TempDir(), "terminated")
	pay(t, l, Function{Name: "polite", Env: map[string]string{"TERM_FILE": file}})
	pay(t, l, Function{Name: "plain"})
	for _, name := range []string{"polite", "plain"} {
		invoke(t, l, name, `{}`)
		until(t, func() bool { return l.idle(name) == 1 })
		if err := l.Retire(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if r := invoke(t, l, name, `{}`); !r.ColdStart {
			t.Errorf("%s was retired, and is warm", name)
		}
	}
	if got := lines(file); len(got) != 1 || got[0] != "terminated" {
		t.Errorf("the handler of SIGTERM wrote %q", got)
	}
}

func TestStaleAnswer(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{})
	if r := invoke(t, l, "pay", `{"Do":"stale"}`); string(r.Payload) != "null" || r.Err() != nil {
		t.Errorf("the result is %s", r.Payload)
	}
	if n := l.Stats("pay").StaleAnswers; n != 1 {
		t.Errorf("%d stale answers are counted, want 1", n)
	}
}

// As many sandboxes as needed, at once, each with one invocation at a time.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Concurrency: 4, Timeout: time.Minute})
	dir := t.TempDir()
	begun, end := filepath.Join(dir, "begun"), filepath.Join(dir, "end")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			r, err := l.Invoke(t.Context(), "pay", []byte(`{"Do":"await","File":"`+begun+`","Await":"`+end+`"}`))
			if err != nil || r.Err() != nil {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	until(t, func() bool { return len(lines(begun)) == 4 })
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if s := l.Stats("pay"); s.ColdStarts != 4 || s.Invocations != 4 || s.Throttles != 0 {
		t.Errorf("stats are %+v, want 4 sandboxes", s)
	}
	if logs := l.Logs("pay"); strings.Count(logs, "the sandbox has started") != 4 || strings.Count(logs, "REPORT RequestId") != 4 {
		t.Errorf("the logs are\n%s", logs)
	}
}
