package saga_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompilerRefuses builds small programs, each with one mistake on the line
// marked REFUSED, and expects the compiler to stop at that line and no other.
func TestCompilerRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*/main.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d programs, %v", len(files), err)
	}
	args := []string{"build", "-o", os.DevNull}
	for _, file := range files {
		args = append(args, "./"+filepath.Dir(file))
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err == nil {
		t.Fatal("all of them compile")
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, _, _ := strings.Cut(string(source), "// REFUSED")
		want := fmt.Sprintf("%s:%d:", file, strings.Count(before, "\n")+1)
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: no error at %s", filepath.Base(filepath.Dir(file)), want)
		}
		if n := strings.Count(string(out), file+":"); n != 1 {
			t.Errorf("%s: %d errors, want the one", filepath.Base(filepath.Dir(file)), n)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
