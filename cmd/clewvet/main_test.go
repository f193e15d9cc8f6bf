package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	root    string // of the module
	clewvet string // the command, built
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clewvet")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if root, err = filepath.Abs("../.."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		clewvet = filepath.Join(dir, "clewvet")
		if out, err := exec.Command("go", "build", "-o", clewvet, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// run runs a command and returns what it printed and its exit code.
func run(t *testing.T, dir, name string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

const handler = `package shop

import (
	"time"

	"github.com/clewdev/clew/durable"
)

var Nap = durable.Define("nap", "1", func(ctx *durable.Context, _ int) (time.Time, error) {
	err := durable.Wait(ctx, "nap", time.Second)
	if err != nil {
		return time.Time{}, err
	}
	return MISTAKE
})
`

// shop writes a module that uses this one, with the requirements of this one,
// so that nothing has to be downloaded.
func shop(t *testing.T, mistake string) string {
	t.Helper()
	dir := t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	own, _, _ := strings.Cut(strings.Replace(string(mod), "module github.com/clewdev/clew", "module example.com/shop", 1), "\ntool ")
	own += fmt.Sprintf("\nrequire github.com/clewdev/clew v0.0.0\n\nreplace github.com/clewdev/clew => %s\n", root)
	for name, content := range map[string]string{
		"go.mod": own, "go.sum": string(sum), "shop.go": strings.Replace(handler, "MISTAKE", mistake, 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestVetOfAModule: both ways of running it stop a build for a mistake, and
// name the place and the remedy.
func TestVetOfAModule(t *testing.T) {
	ways := []struct {
		name string
		code int
		args []string
	}{
		{"go vet", 1, []string{"go", "vet", "-vettool=" + clewvet, "./..."}},
		{"alone", 3, []string{clewvet, "./..."}},
	}
	wrong, right := shop(t, "time.Now(), nil"), shop(t, "durable.Now(ctx)")
	const want = "shop.go:14:14: nondeterminism: time.Now in a handler differs on every run: use durable.Now, or read the clock in a step"
	for _, w := range ways {
		if out, code := run(t, wrong, w.args[0], w.args[1:]...); code != w.code || !strings.Contains(out, want) {
			t.Errorf("%s: got exit code %d and\n%s\nwant %d and %s", w.name, code, out, w.code, want)
		}
		if out, code := run(t, right, w.args[0], w.args[1:]...); code != 0 || out != "" {
			t.Errorf("%s, mended: got exit code %d and\n%s\nwant 0 and nothing", w.name, code, out)
		}
	}
}

// readSources reads what go vet is about to read: a test's result is cached by
// the files that it has opened itself.
func readSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isExample tells whether a test file shows people how it is done.
func isExample(file string) bool {
	return strings.HasPrefix(filepath.Base(file), "example") || strings.Contains(filepath.ToSlash(file), "examples/")
}

// TestVetOfThisModule: nothing is found in this module's code and examples.
// Its other tests make every mistake there is, on purpose.
func TestVetOfThisModule(t *testing.T) {
	readSources(t)
	out, _ := run(t, root, "go", "vet", "-vettool="+clewvet, "./...")
	place := regexp.MustCompile(`^(\S+\.go):\d+:\d+: (?:output-of-[a-z-]+|captured-handle|effects-in-defer|nondeterminism|ignored-error|ignore): `)
	deliberate := 0
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		found := place.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "#"):
		case found == nil:
			t.Errorf("go vet says: %s", line)
		case strings.HasSuffix(found[1], "_test.go") && !isExample(found[1]):
			deliberate++
		default:
			t.Errorf("found: %s", line)
		}
	}
	if deliberate == 0 {
		t.Error("nothing was found in the tests of package durable, which call operations in bodies and deferred functions: did it run at all?")
	}
}
