package main

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInABrowser visits the page with a real one: its forms, links and refreshes,
// under its own content security policy.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	playwright, err := filepath.Abs("../../.tools/browser/node_modules/playwright-core")
	if err != nil {
		t.Fatal(err)
	}
	chromium := cmp.Or(os.Getenv("CLEW_CHROMIUM"), "chromium")
	_, none := os.Stat(playwright)
	for _, program := range []string{chromium, "node"} {
		if _, err := exec.LookPath(program); err != nil {
			none = err
		}
	}
	if none != nil {
		lacking := "no browser: " + none.Error() + ": install node, npm and chromium (or set CLEW_CHROMIUM) and run make test-browser"
		if os.Getenv("CLEW_BROWSER_REQUIRED") != "" {
			t.Fatal(lacking)
		}
		t.Skip(lacking)
	}
	chromium, err = exec.LookPath(chromium)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, t.TempDir())
	cmd := exec.CommandContext(t.Context(), "node", "testdata/visit.cjs", s.url)
	cmd.Env = append(os.Environ(), "PLAYWRIGHT="+playwright, "CHROMIUM="+chromium)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "visited") {
		t.Errorf("%v\n%s\nthe server says: %s", err, out, s.err.String())
	}
}
