package analysis_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/clewdev/clew/analysis"
)

// TestRules runs the rules over testdata: one package for each, with a file
// whose lines are flagged as its comments want, and one much like it that
// passes.
func TestRules(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for i, dir := range dirs {
		dirs[i] = "./analysis/" + dir
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return path.Base(dir) == "standin" })
	// All at once: the packages that they import are read only once.
	results := analysistest.Run(t, root, analysis.Analyzer, dirs...)
	flagged := map[string]bool{}
	for _, r := range results {
		for _, d := range r.Action.Diagnostics {
			flagged[d.Category] = true
		}
	}
	for rule := range strings.SplitSeq("output-of-another-saga output-of-sibling output-of-later-step output-of-untaken-branch captured-handle effects-in-defer nondeterminism ignored-error ignore", " ") {
		if !flagged[rule] {
			t.Errorf("rule %s flags nothing in testdata", rule)
		}
		doc := analysis.Analyzer.Doc
		if rule != "ignore" && !strings.Contains(strings.ReplaceAll(doc, "\n", " "), rule) {
			t.Errorf("the analyzer's Doc does not name rule %s", rule)
		}
		page, err := os.ReadFile("../docs/clewvet.md")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "`"+rule+"`") && !strings.Contains(string(page), "## "+rule+"\n") {
			t.Errorf("docs/clewvet.md does not describe rule %s", rule)
		}
	}
}
