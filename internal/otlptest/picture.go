package otlptest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Measures of a picture.
const (
	rowHeight = 22
	nameWidth = 370
	barWidth  = 600
	topMargin = 46
)

// Picture draws one trace as SVG: a row for each span, in the order of the tree, with
// its bar on the axis of time, a dot for each event, and an arrow for each link.
func Picture(w io.Writer, title string, spans []Span) error {
	p := &picture{children: map[pcommon.SpanID][]Span{}, row: map[pcommon.SpanID]int{}}
	for _, s := range spans {
		p.row[s.SpanID()] = -1
		p.children[s.ParentSpanID()] = append(p.children[s.ParentSpanID()], s)
		if p.begin.IsZero() || s.StartTimestamp().AsTime().Before(p.begin) {
			p.begin = s.StartTimestamp().AsTime()
		}
		if s.EndTimestamp().AsTime().After(p.end) {
			p.end = s.EndTimestamp().AsTime()
		}
	}
	if len(spans) == 0 || !p.end.After(p.begin) {
		return fmt.Errorf("otlptest: %d spans from %v to %v make no picture", len(spans), p.begin, p.end)
	}
	p.walk(pcommon.SpanID{}, 0)
	height := topMargin + rowHeight*len(spans) + 34
	fmt.Fprintf(&p.out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif" font-size="12">`+"\n", nameWidth+barWidth+70, height)
	fmt.Fprintf(&p.out, `<rect width="100%%" height="100%%" fill="#ffffff"/><text x="10" y="20" font-size="14" font-weight="bold">%s</text>`+"\n", text(title))
	p.axis(height)
	for depth, s := range p.rows {
		p.draw(depth, s)
	}
	for _, s := range p.rows {
		p.arrows(s.Span)
	}
	p.legend(height)
	p.out.WriteString("</svg>\n")
	_, err := p.out.WriteTo(w)
	return err
}

// picture is one being drawn.
type picture struct {
	begin, end time.Time
	children   map[pcommon.SpanID][]Span
	rows       []row
	row        map[pcommon.SpanID]int
	out        bytes.Buffer
}

type row struct {
	Span
	depth int
}

// walk puts the spans below one into the order of the tree.
func (p *picture) walk(parent pcommon.SpanID, depth int) {
	for _, s := range p.children[parent] {
		p.row[s.SpanID()] = len(p.rows)
		p.rows = append(p.rows, row{s, depth})
		p.walk(s.SpanID(), depth+1)
	}
}

func (p *picture) x(t time.Time) float64 {
	return nameWidth + barWidth*float64(t.Sub(p.begin))/float64(p.end.Sub(p.begin))
}

func y(row int) int { return topMargin + rowHeight*row }

// axis draws five lines of time.
func (p *picture) axis(height int) {
	for i := range 6 {
		d := p.end.Sub(p.begin) * time.Duration(i) / 5
		x := p.x(p.begin.Add(d))
		fmt.Fprintf(&p.out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#dddddd"/><text x="%.1f" y="%d" fill="#666666" text-anchor="middle" font-size="11">%v</text>`+"\n",
			x, topMargin-6, x, height-34, x, topMargin-10, d.Round(100*time.Microsecond))
	}
}

// draw draws a span's row.
func (p *picture) draw(n int, s row) {
	from, to := p.x(s.StartTimestamp().AsTime()), p.x(s.EndTimestamp().AsTime())
	fill, _ := colour(s.Span)
	stroke := "none"
	if s.Status().Code() == ptrace.StatusCodeError {
		stroke = "#c62828"
	}
	label := s.Name()
	if s.Kind() == ptrace.SpanKindServer {
		label += "  (" + s.Service + ")"
	}
	fmt.Fprintf(&p.out, `<text x="%d" y="%d">%s</text>`+"\n", 10+14*s.depth, y(n)+15, text(label))
	fmt.Fprintf(&p.out, `<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s" stroke="%s" stroke-width="1.5"><title>%s</title></rect>`+"\n",
		from, y(n)+4, max(to-from, 1.5), rowHeight-8, fill, stroke, text(about(s.Span)))
	fmt.Fprintf(&p.out, `<text x="%.1f" y="%d" fill="#666666" font-size="10">%v</text>`+"\n", to+12, y(n)+15, s.EndTimestamp().AsTime().Sub(s.StartTimestamp().AsTime()).Round(10*time.Microsecond))
	for _, e := range s.Events().All() {
		fmt.Fprintf(&p.out, `<circle cx="%.1f" cy="%d" r="3.5" fill="#212121"><title>%s</title></circle>`+"\n", p.x(e.Timestamp().AsTime()), y(n)+rowHeight/2, text(e.Name()))
	}
}

// arrows draws a span's links to spans of the picture.
func (p *picture) arrows(s Span) {
	for _, link := range s.Links().All() {
		to, ok := p.row[link.SpanID()]
		if !ok {
			continue
		}
		from := p.row[s.SpanID()]
		x1, x2 := p.x(s.StartTimestamp().AsTime()), p.x(p.rows[to].EndTimestamp().AsTime())
		y1, y2 := y(from)+rowHeight/2, y(to)+rowHeight/2
		fmt.Fprintf(&p.out, `<path class="link" d="M%.1f %d C %.1f %d, %.1f %d, %.1f %d" fill="none" stroke="#6a1b9a" stroke-dasharray="4 3"/><path d="M%.1f %d l 8 -4 l 0 8 z" fill="#6a1b9a"/>`+"\n",
			x1, y1, x1-30, y1, x2+60, y2, x2+8, y2, x2, y2)
	}
}

// colour is that of a span's bar, and what it means.
func colour(s Span) (fill, means string) {
	switch {
	case s.Kind() == ptrace.SpanKindServer:
		return "#b0bec5", "participant"
	case s.Text("clew.attempt") != "":
		return "#90caf9", "attempt"
	case s.Text("clew.operation.subtype") == "Undo":
		return "#ffb74d", "undo"
	case s.Text("clew.operation.number") != "":
		return "#1e88e5", "operation"
	case s.Text("clew.activation") != "":
		return "#a5d6a7", "activation"
	}
	return "#37474f", "execution"
}

// legend explains the colours that there are.
func (p *picture) legend(height int) {
	x, seen := nameWidth, map[string]bool{}
	for _, s := range p.rows {
		fill, means := colour(s.Span)
		if seen[means] {
			continue
		}
		seen[means] = true
		fmt.Fprintf(&p.out, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d" fill="#444444" font-size="11">%s</text>`+"\n", x, height-22, fill, x+16, height-12, means)
		x += 28 + 7*len(means)
	}
	fmt.Fprintf(&p.out, `<circle cx="%d" cy="%d" r="3.5" fill="#212121"/><text x="%d" y="%d" fill="#444444" font-size="11">event</text><text x="%d" y="%d" fill="#6a1b9a" font-size="11">⇠ link</text><text x="%d" y="%d" fill="#c62828" font-size="11">□ failed</text>`+"\n",
		x+6, height-16, x+14, height-12, x+54, height-12, x+100, height-12)
}

// about is what is said of a span where the pointer is.
func about(s Span) string {
	parts := []string{s.Name()}
	for k, v := range s.Attributes().All() {
		parts = append(parts, k+"="+v.AsString())
	}
	return strings.Join(parts, "\n")
}

func text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder never fails
	return b.String()
}
