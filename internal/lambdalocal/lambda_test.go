package lambdalocal

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var bootstrap string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if bootstrap = os.Getenv("LAMBDALOCAL_BOOTSTRAP"); bootstrap != "" {
		return m.Run() // a process of TestEndsWithParent
	}
	dir, err := os.MkdirTemp("", "lambdalocal-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bootstrap = filepath.Join(dir, "bootstrap")
	if out, err := exec.Command("go", "build", "-o", bootstrap, "./testdata/bootstrap").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// pay is a function of the test's binary.
func pay(t *testing.T, l *Lambda, f Function) {
	t.Helper()
	f.Name, f.Bootstrap = orElse(f.Name, "pay"), bootstrap
	if err := l.Create(f); err != nil {
		t.Fatal(err)
	}
}

func invoke(t *testing.T, l *Lambda, function, payload string) *Result {
	t.Helper()
	r, err := l.Invoke(t.Context(), function, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decode[T any](t *testing.T, payload []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(payload, &v); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return v
}

func TestWarm(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{})
	for n := 1; n <= 3; n++ {
		r := invoke(t, l, "pay", `{"Do":"count"}`)
		got := decode[map[string]int](t, r.Payload)["invocations"]
		if got != n || r.ColdStart != (n == 1) || (r.InitDuration > 0) != r.ColdStart || r.FunctionError != "" {
			t.Errorf("invocation %d: %d in its sandbox, %+v", n, got, r)
		}
		t.Logf("init %v, duration %v, %d MB", r.InitDuration, r.Duration, r.MaxRSS>>20)
	}
	if s := l.Stats("pay"); s.Invocations != 3 || s.ColdStarts != 1 {
		t.Errorf("stats are %+v, want 3 invocations and 1 cold start", s)
	}
}

// until waits for a condition, for as long as a slow machine may need.
func until(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !what(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not come about within a minute")
		}
	}
}

// sandboxes are how many processes there are.
func (l *Lambda) sandboxes(function string) int {
	fn, _, err := l.find(function)
	if err != nil {
		return 0
	}
	fn.mu.Lock()
	defer fn.mu.Unlock()
	return len(fn.all)
}

// idle are how many processes are frozen.
func (l *Lambda) idle(function string) int {
	fn, _, err := l.find(function)
	if err != nil {
		return 0
	}
	fn.mu.Lock()
	defer fn.mu.Unlock()
	return len(fn.idle)
}

// lines are those of a file that a function adds to.
func lines(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
