package saga

import "fmt"

// leaf paints a step or a wait, and its undo.
func (p *picture) leaf(c *cell) {
	class, round := "step", 7
	switch {
	case c.n.isPivot():
		class, round = "pivot", 2
	case c.n.Kind == "wait":
		class, round = "other", stepHeight/2
	case !c.undo:
		class = "other"
	}
	top, mid := c.y-stepHeight/2, c.x+c.w/2
	w := &p.steps
	fmt.Fprintf(w, `<g><title>%s: %s</title>`, quoted(c.n.Name), quoted(c.n.note()))
	fmt.Fprintf(w, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, class, c.x, top, c.w, stepHeight, round)
	first, note := c.y-3, c.y+14
	if len(c.lines) > 1 {
		first, note = c.y-9, c.y+18
	}
	for i, line := range c.lines {
		fmt.Fprintf(w, `<text class="name middle on-%s" x="%d" y="%d">%s</text>`, class, mid, first+14*i, quoted(line))
	}
	fmt.Fprintf(w, `<text class="small middle on-%s" x="%d" y="%d">%s</text></g>`+"\n", class, mid, note, quoted(c.note))
	if c.n.isPivot() {
		p.pivotAt = c.x + c.w + gap/2 - 4
		p.label(p.pivotAt, p.top-10, "limit-text middle", "point of no return")
	}
	if !c.undo {
		return
	}
	lane, width := c.y+lanes, undoWidth(c)
	p.arrow("undo", mid, c.y+stepHeight/2, mid, lane-undoHeight/2, true)
	fmt.Fprintf(w, `<g><title>undoes %s</title>`, quoted(c.n.Name))
	fmt.Fprintf(w, `<rect class="undone" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, mid-width/2, lane-undoHeight/2, width, undoHeight, undoHeight/2)
	lines := c.undoLines()
	for i, line := range lines {
		fmt.Fprintf(w, `<text class="undo-name middle" x="%d" y="%d">%s</text>`, mid, lane+4+12*i-6*(len(lines)-1), quoted(line))
	}
	fmt.Fprintln(w, "</g>")
}

// box paints a group, a branch or a sub-saga, under what is in it.
func (p *picture) box(c *cell) {
	top, class := c.y-c.up, c.n.Kind
	if c.n.Conditional {
		top, class = top+bypass, "branch when"
	}
	fmt.Fprintf(&p.boxes, `<g><title>%s</title><rect class="box %s" x="%d" y="%d" width="%d" height="%d" rx="10"/>`,
		quoted(c.n.title()), class, c.x, top, c.w, c.y+c.down-top)
	fmt.Fprintf(&p.boxes, `<text class="box-name" x="%d" y="%d">%s</text></g>`+"\n", c.x+12, top+17, quoted(c.lines[0]))
}

// circle paints an end of the way.
func (p *picture) circle(x, y int, text, class string) {
	fmt.Fprintf(&p.steps, `<circle class="end %s" cx="%d" cy="%d" r="16"/>`, class, x, y)
	p.label(x, y+29, "small middle", text)
}

func (p *picture) label(x, y int, class, text string) {
	fmt.Fprintf(&p.steps, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, quoted(text))
}

func (p *picture) line(class string, x1, y1, x2, y2 int) {
	p.arrow(class, x1, y1, x2, y2, false)
}

func (p *picture) arrow(class string, x1, y1, x2, y2 int, head bool) {
	if head {
		class += ` way" marker-end="url(#clew-` + class + `)`
	} else {
		class += " way"
	}
	fmt.Fprintf(&p.ways, `<path class="%s" d="M%d %dL%d %d"/>`+"\n", class, x1, y1, x2, y2)
}

// document puts the picture together.
func (p *picture) document(s Shape, width, height int, undo bool) string {
	name := quoted(s.Name)
	head := fmt.Sprintf(`<svg class="clew" xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="saga %s">`+"\n",
		width, height, width, height, name)
	head += "<style>" + style + "</style>\n"
	head += `<defs>` + marker("ahead", "#2b6cb0") + marker("undo", "#b7640b") + "</defs>\n"
	head += fmt.Sprintf(`<rect class="paper" width="%d" height="%d"/>`+"\n", width, height)
	head += fmt.Sprintf(`<text class="head" x="%d" y="28"><title>%s</title>%s <tspan class="version">%s</tspan></text>`+"\n",
		margin, name, quoted(short(s.Name, 60)), quoted(short(s.Version, 30)))
	foot := ""
	if undo {
		foot = fmt.Sprintf(`<text class="small" x="%d" y="%d">%s</text>`+"\n", margin, height-14, quoted(wayBack))
	}
	return head + p.boxes.String() + p.ways.String() + p.steps.String() + foot + "</svg>\n"
}

func marker(name, colour string) string {
	return fmt.Sprintf(`<marker id="clew-%s" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="%s"/></marker>`, name, colour)
}

// style is under a class of its own, so that a page that takes the picture in
// keeps its looks.
const style = `
.clew { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.clew .paper { fill: #ffffff; }
.clew .head { font-size: 17px; font-weight: 600; fill: #111827; }
.clew .version { font-weight: 400; fill: #6b7280; }
.clew .name { font-size: 13px; font-weight: 600; }
.clew .small { font-size: 10.5px; fill: #4b5563; }
.clew .middle { text-anchor: middle; }
.clew .step { fill: #e8f1fc; stroke: #2b6cb0; stroke-width: 1.3; }
.clew .on-step { fill: #12314f; }
.clew .other { fill: #f3f4f6; stroke: #6b7280; stroke-width: 1.3; }
.clew .on-other { fill: #1f2937; }
.clew .pivot { fill: #b42318; stroke: #7a1710; stroke-width: 2.5; }
.clew .on-pivot { fill: #ffffff; }
.clew .undone { fill: #fdf0dc; stroke: #b7640b; stroke-width: 1.3; }
.clew .undo-name { font-size: 11.5px; fill: #4a2a05; }
.clew .box { fill: #64748b; fill-opacity: 0.06; stroke: #94a3b8; }
.clew .sub { fill: #0f766e; stroke: #5eaaa3; }
.clew .when { stroke-dasharray: 5 4; }
.clew .box-name { font-size: 11.5px; font-weight: 600; fill: #475569; }
.clew .way { fill: none; stroke-width: 1.6; }
.clew .thin { stroke-width: 1.1; }
.clew .way.ahead { stroke: #2b6cb0; }
.clew .way.undo { stroke: #b7640b; stroke-dasharray: 5 4; }
.clew .end { stroke-width: 1.6; }
.clew .end.ahead { fill: #e8f1fc; stroke: #2b6cb0; }
.clew .end.undo { fill: #fdf0dc; stroke: #b7640b; }
.clew .limit { stroke: #b42318; stroke-width: 1.6; stroke-dasharray: 2 4; fill: none; }
.clew .limit-text { font-size: 11px; font-weight: 600; fill: #b42318; }
`
