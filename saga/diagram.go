package saga

import (
	"fmt"
	"strings"
	"unicode"
)

// The formats of diagrams.
const (
	Mermaid = "mermaid" // the text of a flowchart, which many pages draw
	SVG     = "svg"     // a picture that needs nothing else
)

// Diagram draws a saga: the way forward, from each step that can be undone the
// way to its undo, the way back, and the pivot as the point of no return. Groups,
// branches and sub-sagas are boxes. The same shape makes the same bytes.
func Diagram(s Shape, format string) (string, error) {
	switch format {
	case Mermaid:
		return mermaid(s), nil
	case SVG:
		return svg(s), nil
	}
	return "", fmt.Errorf("saga: there is no diagram of format %q: it is %q or %q", format, Mermaid, SVG)
}

// wayBack says on a diagram what its dashed arrows mean.
const wayBack = "Dashed is the way back: what was started, and is not proven to have had no effect, is undone, latest start first."

// title is what stands on a box.
func (n *Node) title() string {
	switch {
	case n.Kind == "group" && n.UndoTogether:
		return n.Name + " · parallel, undone together"
	case n.Kind == "group":
		return n.Name + " · parallel"
	case n.Conditional:
		return "when " + n.Name
	case n.Kind == "sub":
		return n.Name + " · saga " + n.Saga
	}
	return n.Name
}

// note is what stands under the name of a step or a wait.
func (n *Node) note() string {
	if n.Kind == "wait" {
		return "waits " + n.Wait.String()
	}
	words := []string{n.Class}
	switch n.Kind {
	case "await":
		words = append(words, "awaits an answer")
	case "run":
		words = append(words, "durable function")
	}
	if n.Verify {
		words = append(words, "verified")
	}
	if n.Why != "" {
		words = append(words, n.Why)
	}
	return strings.Join(words, " · ")
}

func (n *Node) undoable() bool { return n.Class == undoable.String() }
func (n *Node) isPivot() bool  { return n.Class == pivot.String() }

// box tells whether other nodes stand in this one.
func (n *Node) box() bool { return n.Kind == "group" || n.Kind == "branch" || n.Kind == "sub" }

// plain makes one line of a text that a person wrote: without control
// characters, and without bytes that are no text.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// anyUndo tells whether there is something to undo among nodes.
func anyUndo(nodes []Node) bool {
	for _, n := range steps(nodes, "") {
		if n.undoable() {
			return true
		}
	}
	return false
}
