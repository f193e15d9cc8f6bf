package analysis

import (
	"go/ast"
	"go/token"
	"strings"

	goanalysis "golang.org/x/tools/go/analysis"
)

const ignorePrefix = "//clewvet:ignore"

// ignoreRule is the name under which comments are reported that silence
// nothing. It cannot be silenced.
const ignoreRule = "ignore"

// ignore is one comment that silences a rule.
type ignore struct {
	comment *ast.Comment
	rule    string
	line    target
	problem string // why it silences nothing
	used    bool
}

// target is the line that a comment speaks of.
type target struct {
	file string
	line int
}

type ignores []*ignore

// ignoresOf reads the comments of all files.
func ignoresOf(pass *goanalysis.Pass, known map[string]bool) (ignores, error) {
	var all ignores
	for _, file := range pass.Files {
		var inFile ignores
		for _, group := range file.Comments {
			for _, c := range group.List {
				if rest, ok := strings.CutPrefix(c.Text, ignorePrefix); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
					inFile = append(inFile, parseIgnore(c, rest, known))
				}
			}
		}
		if len(inFile) == 0 {
			continue
		}
		if err := inFile.aim(pass); err != nil {
			return nil, err
		}
		all = append(all, inFile...)
	}
	return all, nil
}

func parseIgnore(c *ast.Comment, rest string, known map[string]bool) *ignore {
	rest, _, _ = strings.Cut(rest, " // ") // a comment on the comment
	name, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	i := &ignore{comment: c, rule: name}
	switch {
	case name == "":
		i.problem = "it names no rule: write " + ignorePrefix + " RULE reason"
	case !known[name]:
		i.problem = "there is no rule " + name
	case strings.TrimSpace(reason) == "":
		i.problem = "it gives no reason, and without one it silences nothing: write " + ignorePrefix + " " + name + " and why the finding is none"
	}
	return i
}

// aim gives comments their lines: one behind code speaks of that code, one
// that stands alone of the line below it, and of several in a row all speak
// of the line below the last.
func (all ignores) aim(pass *goanalysis.Pass) error {
	tf := pass.Fset.File(all[0].comment.Pos())
	src, err := pass.ReadFile(tf.Name())
	if err != nil {
		return err
	}
	alone := map[int]bool{}
	for _, i := range all {
		pos := i.comment.Pos()
		before := src[tf.Offset(tf.LineStart(tf.Line(pos))):tf.Offset(pos)]
		alone[tf.Line(pos)] = strings.TrimSpace(string(before)) == ""
	}
	for _, i := range all {
		line := tf.Line(i.comment.Pos())
		for alone[line] {
			line++
		}
		i.line = target{tf.Name(), line}
	}
	return nil
}

// silence tells whether a comment silences the rule at this place.
func (all ignores) silence(at token.Position, rule string) bool {
	silenced := false
	for _, i := range all {
		if i.problem == "" && i.rule == rule && i.line == (target{at.Filename, at.Line}) {
			i.used, silenced = true, true
		}
	}
	return silenced
}

// report reports the comments that silence nothing.
func (all ignores) report(pass *goanalysis.Pass) {
	for _, i := range all {
		switch {
		case i.problem != "":
			report(pass, i.comment, ignoreRule, i.problem)
		case !i.used:
			report(pass, i.comment, ignoreRule, "nothing to silence: "+i.rule+" finds nothing here; delete the comment")
		}
	}
}
