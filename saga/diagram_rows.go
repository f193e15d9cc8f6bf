package saga

import "fmt"

// start is the middle of the circle in which the way ahead begins.
const start = margin + 16

func newStrip() *strip { return &strip{up: stepHeight / 2, down: stepHeight / 2} }

// add takes one more cell in, behind the others.
func (st *strip) add(c *cell) {
	if len(st.cells) > 0 {
		st.w += gap
	}
	st.w += c.w
	st.up, st.down = max(st.up, c.up), max(st.down, c.down)
	st.undo = st.undo || c.undo
	st.cells = append(st.cells, c)
}

// rows breaks a strip that is too long into several. What is longer by itself, as a
// box may be, has a row of its own.
func (st *strip) rows() []*strip {
	rows := []*strip{newStrip()}
	for _, c := range st.cells {
		row := rows[len(rows)-1]
		if len(row.cells) > 0 && row.w+gap+c.w > rowWidth {
			row = newStrip()
			rows = append(rows, row)
		}
		row.add(c)
	}
	return rows
}

// route is the way through the rows of a picture, and back.
type route struct {
	*picture
	rows        []*strip
	left, right int   // of the rows
	y, bottom   []int // of each row: its forward lane, and its lower edge
	width       int
}

// undo tells whether there is a way back.
func (r *route) undo() bool {
	for _, row := range r.rows {
		if row.undo {
			return true
		}
	}
	return false
}

// lay says where the rows stand.
func (r *route) lay() {
	top := headline
	for i, row := range r.rows {
		r.y[i] = top + row.up
		r.place(row, r.left, r.y[i])
		r.right = max(r.right, r.left+row.w)
		r.bottom[i] = r.y[i] + max(row.down, 30)
		if r.undo() {
			r.bottom[i] = r.y[i] + max(row.down, lanes+34)
		}
		top = r.bottom[i] + turn
	}
	r.width = r.left + r.rows[len(r.rows)-1].w + gap + 32 + margin
	if len(r.rows) > 1 {
		r.width = max(r.width, r.right+26+margin)
	}
}

// ahead draws the way forward.
func (r *route) ahead() {
	last := len(r.rows) - 1
	from := start + 16
	r.circle(start, r.y[0], "start", "ahead")
	for i, row := range r.rows {
		r.top, r.pivotAt = r.y[i]-row.up, 0
		to := r.right + 14
		if i == last {
			to = r.left + row.w + gap
		}
		r.forward(row, from, to, i == last)
		if len(row.cells) == 0 {
			r.arrow("ahead", from, r.y[i], to, r.y[i], true)
		}
		if r.pivotAt > 0 {
			fmt.Fprintf(&r.boxes, `<path class="limit" d="M%d %dV%d"/>`+"\n", r.pivotAt, r.top-6, r.bottom[i])
		}
		if i < last {
			from = r.left - 18
			fmt.Fprintf(&r.ways, `<path class="ahead way" d="M%d %dV%dH%dV%d"/>`+"\n", to, r.y[i], r.bottom[i]+30, from, r.y[i+1])
		}
	}
	r.circle(r.left+r.rows[last].w+gap+16, r.y[last], "done", "ahead")
}

// back draws the way back, from the last undo on.
func (r *route) back() {
	if !r.undo() {
		return
	}
	entered := false
	for i := len(r.rows) - 1; i >= 0; i-- {
		from, to := 0, r.left-30
		if entered {
			from = r.right + 26
		}
		if i == 0 {
			to = start + 16
		}
		r.picture.back(r.rows[i], from, to, i == 0)
		if entered = entered || r.rows[i].undo; entered && i > 0 {
			fmt.Fprintf(&r.ways, `<path class="undo way" d="M%d %dV%dH%dV%d"/>`+"\n", to, r.y[i]+lanes, r.bottom[i-1]+14, r.right+26, r.y[i-1]+lanes)
		}
	}
	r.circle(start, r.y[0]+lanes, "undone", "undo")
}
