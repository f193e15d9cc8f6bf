package analysis

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"

	goanalysis "golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
)

// Analyzer reports what the rules find; see docs/clewvet.md.
var Analyzer = &goanalysis.Analyzer{
	Name: "clewvet",
	Doc: `find mistakes in durable handlers and sagas that show only at run time

The rules: output-of-another-saga, output-of-sibling, output-of-later-step,
output-of-untaken-branch, captured-handle, effects-in-defer, nondeterminism,
ignored-error. A comment "//clewvet:ignore RULE reason" silences one of them on
its own line or, when it stands alone, on the line below.`,
	URL:      "https://github.com/clewdev/clew/blob/main/docs/clewvet.md",
	Requires: []*goanalysis.Analyzer{inspect.Analyzer},
	Run:      run,
}

// rule is one kind of mistake. It stands in a file of its own.
type rule struct {
	name  string
	check func(*source)
}

// rules in the order in which they have the word: where two of them find
// something at the same place, the first one says it.
func rules() []rule {
	return []rule{
		outputOfAnotherSaga, outputOfSibling, outputOfLaterStep, outputOfUntakenBranch,
		capturedHandle, effectsInDefer, nondeterminism, ignoredError,
	}
}

// finding is a diagnostic that may still be silenced.
type finding struct {
	at      ast.Node
	rule    string
	message string
}

func run(pass *goanalysis.Pass) (any, error) {
	known := map[string]bool{}
	for _, r := range rules() {
		known[r.name] = true
	}
	ignores, err := ignoresOf(pass, known)
	if err != nil {
		return nil, err
	}
	var found []finding
	if !isPackage(pass.Pkg, "durable") { // which is what operations are made of
		s := newSource(pass)
		for _, r := range rules() {
			s.rule = r.name
			r.check(s)
		}
		found = s.found
		slices.SortFunc(found, func(a, b finding) int { return int(a.at.Pos() - b.at.Pos()) })
	}
	for _, f := range found {
		if !ignores.silence(pass.Fset.Position(f.at.Pos()), f.rule) {
			report(pass, f.at, f.rule, f.message)
		}
	}
	ignores.report(pass)
	return nil, nil
}

func report(pass *goanalysis.Pass, at goanalysis.Range, rule, message string) {
	pass.Report(goanalysis.Diagnostic{Pos: at.Pos(), End: at.End(), Category: rule, Message: rule + ": " + message})
}

// report notes what the rule at work has found, unless an earlier one has
// found something at the same place.
func (s *source) report(at ast.Node, format string, args ...any) {
	taken := func(f finding) bool { return f.at.Pos() == at.Pos() }
	if !slices.ContainsFunc(s.found, taken) {
		s.found = append(s.found, finding{at, s.rule, fmt.Sprintf(format, args...)})
	}
}

// line names a place in the file that is being read.
func (s *source) line(pos token.Pos) int { return s.pass.Fset.Position(pos).Line }
