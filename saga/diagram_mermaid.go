package saga

import (
	"fmt"
	"strings"
	"unicode"
)

// mermaid draws a flowchart from the top down. Time goes down on the way back too:
// Mermaid has no arrows that point against the order in which it lays out. Its nodes have numbers for names, and their texts
// are escaped, so that nothing that a step is called can end a label.
func mermaid(s Shape) string {
	c := &chart{undos: map[*Node]string{}}
	c.line("flowchart TB")
	c.line(`  begin(["<b>%s</b> %s"])`, escaped(s.Name), escaped(s.Version))
	c.join(c.forward("  ", s.Nodes, []tail{{id: "begin"}}), "done")
	c.line("  done((done))")
	if len(c.undos) > 0 {
		c.line("  undone((undone))")
		for _, f := range c.back(s.Nodes, nil) {
			c.links = append(c.links, f+" -.-> undone")
		}
		c.line(`  legend["%s"]`, escaped(wayBack))
		c.links = append(c.links, "undone ~~~ legend")
	}
	for _, link := range c.links {
		c.line("  %s", link)
	}
	c.b.WriteString(classes)
	if len(c.undos) > 0 {
		c.line("  class legend legend")
	}
	return c.b.String()
}

const classes = `  classDef step fill:#e8f1fc,stroke:#2b6cb0,color:#12314f
  classDef other fill:#f3f4f6,stroke:#6b7280,color:#1f2937
  classDef pivot fill:#b42318,stroke:#7a1710,color:#ffffff,stroke-width:3px
  classDef undo fill:#fdf0dc,stroke:#b7640b,color:#4a2a05,stroke-dasharray:4 3
  classDef legend fill:none,stroke:none,color:#4b5563
`

// chart is a flowchart that is being written.
type chart struct {
	b     strings.Builder
	count int
	undos map[*Node]string // identifiers of undos
	links []string         // and undos: behind all boxes, since a box takes in whatever is named in it
}

// tail is where an arrow begins, and what stands on it.
type tail struct{ id, label string }

func (c *chart) line(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

func (c *chart) id(kind string) string {
	c.count++
	return fmt.Sprintf("%s%d", kind, c.count)
}

func (c *chart) join(from []tail, to string) {
	for _, t := range from {
		link := t.id + " --> " + to
		if t.label != "" {
			link = fmt.Sprintf(`%s -->|"%s"| %s`, t.id, escaped(t.label), to)
		}
		c.links = append(c.links, link)
	}
}

// forward draws nodes one after the other, behind what ends in from.
func (c *chart) forward(indent string, nodes []Node, from []tail) []tail {
	for i := range nodes {
		n := &nodes[i]
		if !n.box() {
			from = c.leaf(indent, n, from)
			continue
		}
		c.line(`%ssubgraph %s["%s"]`, indent, c.id("box"), escaped(n.title()))
		before := from
		if n.Kind == "group" && len(n.Nodes) > 0 {
			from = nil
			for k := range n.Nodes {
				from = append(from, c.forward(indent+"  ", n.Nodes[k:k+1], before)...)
			}
		} else {
			from = c.forward(indent+"  ", n.Nodes, before)
		}
		c.line("%send", indent)
		if n.Conditional { // it may be passed by
			for _, t := range before {
				from = append(from, tail{t.id, strings.TrimPrefix(t.label+", not "+n.Name, ", ")})
			}
		}
	}
	return from
}

// leaf draws a step or a wait, and its undo.
func (c *chart) leaf(indent string, n *Node, from []tail) []tail {
	id := c.id("n")
	text := escaped(n.Name) + "<br/><small>" + escaped(n.note()) + "</small>"
	switch {
	case n.isPivot():
		c.line(`%s%s{{"%s<br/><b>point of no return</b>"}}:::pivot`, indent, id, text)
	case n.undoable():
		c.line(`%s%s["%s"]:::step`, indent, id, text)
		u := c.id("undo")
		c.links = append(c.links, fmt.Sprintf(`%s(["undo %s"]):::undo`, u, escaped(n.Name)), id+" -.-> "+u)
		c.undos[n] = u
	case n.Kind == "wait":
		c.line(`%s%s(["%s"]):::other`, indent, id, text)
	default:
		c.line(`%s%s["%s"]:::other`, indent, id, text)
	}
	c.join(from, id)
	return []tail{{id: id}}
}

// back draws the way back through nodes, the last one first, behind the undos in
// from. It returns those with which it ends.
func (c *chart) back(nodes []Node, from []string) []string {
	for i := len(nodes) - 1; i >= 0; i-- {
		n := &nodes[i]
		switch {
		case n.undoable():
			for _, f := range from {
				c.links = append(c.links, f+" -.-> "+c.undos[n])
			}
			from = []string{c.undos[n]}
		case n.Kind == "group" && anyUndo(n.Nodes):
			var ends []string
			for k := range n.Nodes {
				if anyUndo(n.Nodes[k : k+1]) {
					ends = append(ends, c.back(n.Nodes[k:k+1], from)...)
				}
			}
			from = ends
		case n.box():
			from = c.back(n.Nodes, from)
		}
	}
	return from
}

// escaped is text as it may stand between quotes: what is neither a letter, a
// digit nor harmless is a character code of Mermaid's.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range plain(s) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" -_.,:@·", r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "#%d;", r)
	}
	return b.String()
}
