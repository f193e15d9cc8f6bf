package saga

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// Measures of a picture, in pixels. A step stands on the lane of the way forward,
// its undo below on the lane of the way back.
const (
	stepHeight = 46
	undoHeight = 30
	lanes      = 72 // from the one lane to the other
	gap        = 38 // between nodes that follow each other
	titleSpace = 26 // of a box, above what is in it
	boxPad     = 14
	busSpace   = 44 // at the sides of a group, where the ways part and meet
	bypass     = 16 // above a branch that may not be taken
	margin     = 28
	headline   = 64
	footline   = 40
	rowWidth   = 1400 // beyond it a saga goes on in another row
	turn       = 64   // between rows, where the ways lead from the one to the other
	longName   = 26   // of a line, in columns; a name has two
	longNote   = 40
)

// strip is a sequence of nodes as it is laid out: its two lanes run through all
// of them.
type strip struct {
	cells []*cell
	w     int
	up    int  // from the forward lane to its upper edge
	down  int  // from there to its lower edge
	undo  bool // there is something to undo in it
}

// cell is a node as it is laid out.
type cell struct {
	n           *Node
	lines       []string // of the name
	note        string
	w, up, down int
	strips      []*strip // of a box: of a group one for each member
	undo        bool
	x, y        int // left edge; the forward lane
}

// picture is an SVG that is being made.
type picture struct {
	lastUndo, seen     int             // steps up to the last one that can be undone; steps so far
	boxes, ways, steps strings.Builder // in the order of painting
	pivotAt            int             // in this row, where nothing leads back; 0 is nowhere
	top                int             // of this row
}

func svg(s Shape) string {
	p := &picture{}
	i := 0
	for _, n := range steps(s.Nodes, "") {
		if i++; n.undoable() {
			p.lastUndo = i
		}
	}
	rows := p.measure(s.Nodes).rows()
	r := &route{picture: p, left: start + 16 + gap, rows: rows, y: make([]int, len(rows)), bottom: make([]int, len(rows))}
	r.lay()
	r.ahead()
	r.back()
	return p.document(s, max(r.width, 720), r.bottom[len(rows)-1]+footline, r.undo())
}

// measure lays nodes out, without saying where.
func (p *picture) measure(nodes []Node) *strip {
	st := newStrip()
	for i := range nodes {
		st.add(p.cell(&nodes[i]))
	}
	return st
}

func (p *picture) cell(n *Node) *cell {
	c := &cell{n: n, lines: wrapped(n.Name, longName), note: short(n.note(), longNote), up: stepHeight / 2, down: stepHeight / 2}
	if n.box() {
		p.measureBox(c)
		return c
	}
	c.undo = n.undoable()
	c.w = max(96, columns(c.note)*6+28)
	for _, line := range c.lines {
		c.w = max(c.w, columns(line)*8+28)
	}
	if c.undo {
		c.w = max(c.w, undoWidth(c)+4)
	}
	if n.Class != "" {
		p.seen++
	}
	if p.seen <= p.lastUndo { // the way back comes past
		c.down = lanes + undoHeight/2
	}
	return c
}

func (p *picture) measureBox(c *cell) {
	members := [][]Node{c.n.Nodes}
	side := boxPad + 8
	if c.n.Kind == "group" {
		members, side = nil, busSpace
		for k := range c.n.Nodes {
			members = append(members, c.n.Nodes[k:k+1])
		}
	}
	c.lines = []string{short(c.n.title(), 2*longName)}
	c.w = columns(c.lines[0])*7 + 40 - 2*side
	for i, nodes := range members {
		st := p.measure(nodes)
		c.w, c.undo = max(c.w, st.w), c.undo || st.undo
		if i == 0 {
			c.up, c.down = st.up+titleSpace, st.down
		} else {
			c.down += boxPad + st.up + st.down
		}
		c.strips = append(c.strips, st)
	}
	c.w += 2 * side
	c.down += boxPad
	if c.n.Conditional {
		c.up += bypass
	}
}

// place says where everything of a strip stands: from x on, its forward lane at y.
func (p *picture) place(st *strip, x, y int) {
	for _, c := range st.cells {
		c.x, c.y = x, y
		x += c.w + gap
		side := boxPad + 8
		if c.n.Kind == "group" {
			side = busSpace
		}
		inner := y
		for i, in := range c.strips {
			if i > 0 {
				before := c.strips[i-1]
				inner += before.down + boxPad + in.up
			}
			p.place(in, c.x+side, inner)
		}
	}
}

// y is the forward lane of the strip.
func (st *strip) y() int { return st.cells[0].y }

// forward draws a strip with the way forward through it, from one x to another,
// where it has a head if it ends there.
func (p *picture) forward(st *strip, from, to int, ends bool) {
	if len(st.cells) == 0 {
		return
	}
	for _, c := range st.cells {
		p.arrow("ahead", from, c.y, c.x, c.y, !c.n.box())
		switch {
		case !c.n.box():
			p.leaf(c)
		case c.n.Kind == "group":
			p.box(c)
			p.group(c)
		default:
			p.box(c)
			for _, in := range c.strips {
				p.forward(in, c.x, c.x+c.w, false)
			}
		}
		if c.n.Conditional {
			top := c.y - c.up + 6
			fmt.Fprintf(&p.ways, `<path class="ahead way thin" d="M%d %dV%dH%dV%d"/>`+"\n", c.x-14, c.y, top, c.x+c.w+14, c.y)
			p.label(c.x+c.w/2, top-4, "small middle", "if not")
		}
		from = c.x + c.w
	}
	p.arrow("ahead", from, st.y(), to, st.y(), ends)
}

// group draws the ways into a group's members and out of them.
func (p *picture) group(c *cell) {
	in, out := c.x+16, c.x+c.w-16
	for i, st := range c.strips {
		if len(st.cells) == 0 {
			continue
		}
		if i > 0 {
			p.line("ahead", in, c.y, in, st.y())
			p.line("ahead", out, st.y(), out, c.y)
		}
		p.forward(st, in, out, false)
	}
	p.line("ahead", c.x, c.y, in, c.y)
	p.line("ahead", out, c.y, c.x+c.w, c.y)
}

// back draws the way back through a strip, from its right end on, or from its
// last undo on if from is 0.
func (p *picture) back(st *strip, from, to int, ends bool) {
	for i := len(st.cells) - 1; i >= 0; i-- {
		c := st.cells[i]
		if !c.undo {
			continue
		}
		right, left := c.x+c.w, c.x
		if !c.n.box() {
			left += (c.w - undoWidth(c)) / 2
			right -= (c.w - undoWidth(c)) / 2
		}
		if from > 0 {
			p.arrow("undo", from, c.y+lanes, right, c.y+lanes, !c.n.box())
		}
		if c.n.box() {
			p.backThrough(c, from > 0)
		}
		from = left
	}
	if from > 0 && len(st.cells) > 0 {
		p.arrow("undo", from, st.y()+lanes, to, st.y()+lanes, ends)
	}
}

// backThrough draws the way back through a box. entered says that it comes from
// the right, and does not begin here.
func (p *picture) backThrough(c *cell, entered bool) {
	if c.n.Kind != "group" {
		p.back(c.strips[0], entry(entered, c.x+c.w), c.x, false)
		return
	}
	in, out := c.x+c.w-30, c.x+30
	lane := c.y + lanes
	for i, st := range c.strips {
		if !st.undo {
			continue
		}
		if i > 0 && entered {
			p.line("undo", in, lane, in, st.y()+lanes)
		}
		if i > 0 {
			p.line("undo", out, st.y()+lanes, out, lane)
		}
		p.back(st, entry(entered, in), out, false)
	}
	if entered {
		p.line("undo", c.x+c.w, lane, in, lane)
	}
	p.line("undo", out, lane, c.x, lane)
}

func entry(entered bool, x int) int {
	if entered {
		return x
	}
	return 0
}

func undoWidth(c *cell) (w int) {
	for _, line := range c.undoLines() {
		w = max(w, columns(line)*7+28)
	}
	return w
}

// undoLines are what stands on its undo.
func (c *cell) undoLines() []string {
	return append([]string{"undo " + c.lines[0]}, c.lines[1:]...)
}

// wrapped breaks a name that is too long for one line into two, after a word if it
// can, and cuts what is too long for those.
func wrapped(s string, most int) []string {
	s = plain(s)
	if columns(s) <= most {
		return []string{s}
	}
	cut, n := 0, 0
	for i, r := range s {
		if n += columns(string(r)); n > most {
			cut = i
			break
		}
	}
	if space := strings.LastIndexAny(s[:cut], " _-"); s[cut] != ' ' && space > cut/2 {
		cut = space + 1
	}
	return []string{strings.TrimSpace(s[:cut]), short(strings.TrimSpace(s[cut:]), most)}
}

// short cuts what is too long for a picture; the whole of it is in a tooltip.
func short(s string, most int) string {
	s = plain(s)
	if columns(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += columns(string(r)); n >= most {
			return s[:i] + "…"
		}
	}
	return s
}

// columns is how wide a text is, in letters: those of some scripts are as wide as
// two.
func columns(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r >= 0x1100 {
			n++
		}
	}
	return n
}

func quoted(s string) string { return html.EscapeString(plain(s)) }
