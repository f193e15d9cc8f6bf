// Package mutant puts mistakes into copies of source files, for tests that
// prove that other tests would notice them.
package mutant

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Change is a mistake: in File, below the module's root, Old becomes New. Old
// must occur exactly once.
type Change struct {
	File, Old, New string
}

// Overlay writes changed copies of sources and returns the file for the flag
// -overlay of go build and go test. It fails the test when a change does not
// fit the source any more.
func Overlay(tb testing.TB, root string, changes ...Change) string {
	tb.Helper()
	dir, replace, sources := tb.TempDir(), map[string]string{}, map[string]string{}
	for _, c := range changes {
		path, err := filepath.Abs(filepath.Join(root, c.File))
		if err != nil {
			tb.Fatal(err)
		}
		source, read := sources[path]
		if !read {
			b, err := os.ReadFile(path)
			if err != nil {
				tb.Fatal(err)
			}
			source = string(b)
		}
		if n := strings.Count(source, c.Old); n != 1 {
			tb.Fatalf("%s has %d places to mutate, want 1: the mutant is stale:\n%s", c.File, n, c.Old)
		}
		sources[path] = strings.Replace(source, c.Old, c.New, 1)
		replace[path] = filepath.Join(dir, strings.ReplaceAll(c.File, "/", "_"))
	}
	for path, source := range sources {
		if err := os.WriteFile(replace[path], []byte(source), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}
