package lambdalocal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lives says whether a process runs, as other than a zombie.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func pidOf(t *testing.T, l *Lambda, function string) int {
	t.Helper()
	return int(decode[map[string]any](t, invoke(t, l, function, `{"Do":"describe"}`).Payload)["pid"].(float64))
}

// Nothing is left after Close, whatever runs.
func TestClose(t *testing.T) {
	t.Parallel()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	pay(t, l, Function{Timeout: time.Hour})
	idle := pidOf(t, l, "pay")
	file := t.TempDir() + "/begun"
	for range 2 { // one of them in the sandbox that was idle
		if _, err := l.InvokeAsync("pay", []byte(`{"Do":"sleep","For":"1h","File":"`+file+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return len(lines(file)) == 2 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if lives(idle) {
		t.Error("the sandbox lives on")
	}
	if _, err := l.Invoke(t.Context(), "pay", nil); err != ErrClosed {
		t.Errorf("an invocation after Close gives %v", err)
	}
	if _, err := os.Stat(l.dir); err == nil {
		t.Errorf("%s is left", l.dir)
	}
}

// Sandboxes end with the process that started them, however that ends: one
// that is frozen, and one that is busy.
func TestEndsWithParent(t *testing.T) {
	if os.Getenv("LAMBDALOCAL_PARENT") != "" {
		parent(t)
		return
	}
	t.Parallel()
	for _, end := range []string{"kill", "panic", "exit"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEndsWithParent$")
		cmd.Env = append(os.Environ(), "LAMBDALOCAL_PARENT="+end, "LAMBDALOCAL_BOOTSTRAP="+bootstrap, "TMPDIR="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var pids []int
		for in := bufio.NewScanner(out); in.Scan(); {
			if n, ok := strings.CutPrefix(in.Text(), "sandbox "); ok {
				pid, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
		}
		if err := cmd.Wait(); err == nil || len(pids) != 2 {
			t.Fatalf("the parent ended with %v, sandboxes %v", err, pids)
		}
		for _, pid := range pids {
			until(t, func() bool { return !lives(pid) })
		}
	}
}

// parent starts two sandboxes, and ends without closing anything.
func parent(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	pay(t, l, Function{Timeout: time.Hour})
	pay(t, l, Function{Name: "frozen"})
	fmt.Printf("sandbox %d\nsandbox %d\n", pidOf(t, l, "pay"), pidOf(t, l, "frozen"))
	file := t.TempDir() + "/begun"
	if _, err := l.InvokeAsync("pay", []byte(`{"Do":"sleep","For":"1h","File":"`+file+`"}`)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(lines(file)) == 1 && l.Stats("frozen").Freezes == 1 })
	switch os.Getenv("LAMBDALOCAL_PARENT") {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "panic":
		panic("on purpose")
	}
	os.Exit(3)
}
