package saga_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

var update = flag.Bool("update", false, "write the diagrams in testdata anew")

// trip declares a saga that has one of everything.
func trip() *saga.Saga[order, string] {
	undo := func(saga.UndoContext, order, saga.Maybe[string]) error { return nil }
	step := func(on saga.Scope[order], name string) *saga.Forward[order, string] {
		return saga.Step(on, name, func(saga.Context, order) (string, error) { return name, nil })
	}
	child := saga.New[order, string]("car rental", "3")
	step(child, "find car").ReadOnly()
	step(child, "book car").Undo(undo)
	rental, err := child.Build(nothing)
	if err != nil {
		panic(err)
	}
	b := saga.New[order, string]("trip", "2")
	step(b, "check limits").ReadOnly()
	step(b, "reserve budget").Undo(undo)
	vip := saga.When(b, "vip", func(saga.Context, order) bool { return true })
	step(vip, "assign host").Undo(undo)
	g := saga.Parallel(b, "book").UndoTogether()
	step(g, "flight").Verify(func(saga.Context, order) (saga.Verdict[string], error) { return saga.Unknown[string](), nil }).Undo(undo)
	hotel := g.Branch("hotel")
	step(hotel, "hold room").Undo(undo)
	step(hotel, "tell guest").Irreversible("a second mail explains")
	saga.Sub(g, "car", rental, func(_ saga.Context, o order) (order, error) { return o, nil })
	saga.Await[string](b, "approval", func(saga.Context, order, string) error { return nil }).ReadOnly()
	saga.Run(b, "visa", func(*durable.Context, order) (string, error) { return "", nil }).Undo(undo)
	saga.Wait(b, "cool off", time.Hour)
	saga.Pivot(b, "charge", body).ParkInDoubt()
	after := saga.Parallel(b, "afterwards")
	step(after, "send tickets").Retriable()
	step(after, "book revenue").Retriable()
	sg, err := b.Build(nothing)
	if err != nil {
		panic(err)
	}
	return sg
}

func TestDiagrams(t *testing.T) {
	for name, sg := range map[string]saga.Described{"trip": trip(), "shop": newShop().build()} {
		for format, ext := range map[string]string{saga.Mermaid: ".mmd", saga.SVG: ".svg"} {
			got, err := saga.Diagram(sg.Shape(), format)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+ext)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the %s of %s differs from %s; look at it after go test -run TestDiagrams -update:\n%s", format, name, path, got)
			}
		}
	}
	if got, err := saga.Diagram(trip().Shape(), "dot"); err == nil || !strings.Contains(err.Error(), `"mermaid" or "svg"`) {
		t.Errorf("got %q, %v, want an error that names the formats", got, err)
	}
}

// odd are names that a diagram must survive.
var odd = []string{
	"", " ", "a", `"`, `a "quoted" name`, "<script>alert(1)</script>", "]]>", "&amp;", "a\nb", "end", "subgraph x", "--> b", "%%{init: {}}%%",
	"`code`", "#35;", "a;b", "x\x00y", "\xff\xfe", "\u202eright to left", "ünïcödé", "寿司を予約する", "🎉🎉", "{{x}}", `\"`, strings.Repeat("long ", 40), strings.Repeat("W", 100),
}

// randomNodes makes a tree of anything, also of what Build would refuse.
func randomNodes(r *rand.Rand, depth int) []saga.Node {
	var nodes []saga.Node
	for range r.IntN(4) {
		n := saga.Node{Name: odd[r.IntN(len(odd))]}
		switch kind := r.IntN(5); {
		case kind < 2 || depth == 0:
			n.Kind = []string{"step", "await", "run", "other", ""}[r.IntN(5)]
			n.Class = []string{"undoable", "undoable", "read-only", "irreversible", "retriable", "pivot", "?"}[r.IntN(7)]
			n.Why, n.Verify = odd[r.IntN(len(odd))], r.IntN(2) == 0
		case kind == 2:
			n.Kind, n.Wait = "wait", time.Duration(r.Int64())
		default:
			n.Kind, n.Saga = []string{"group", "branch", "sub"}[r.IntN(3)], odd[r.IntN(len(odd))]
			n.Conditional, n.UndoTogether = n.Kind == "branch" && r.IntN(2) == 0, n.Kind == "group" && r.IntN(2) == 0
			n.Nodes = randomNodes(r, depth-1)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// label is what may stand between the quotes of a chart.
var label = regexp.MustCompile(`^(<br/>|</?small>|</?b>|#[0-9]+;|[^"<>#;&%\x60\\\x00-\x1f])*$`)

func TestDiagramsOfOddSagas(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := saga.Shape{Name: odd[r.IntN(len(odd))], Version: odd[r.IntN(len(odd))], Nodes: randomNodes(r, 3)}
		picture, err := saga.Diagram(s, saga.SVG)
		if err != nil {
			t.Fatal(err)
		}
		if err := drawn(picture); err != nil {
			t.Fatalf("seed %d: %v:\n%s", seed, err, picture)
		}
		chart, err := saga.Diagram(s, saga.Mermaid)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(chart) {
			parts := strings.Split(strings.TrimSuffix(line, "\n"), `"`)
			if len(parts) != 1 && (len(parts) != 3 || !label.MatchString(parts[1])) {
				t.Fatalf("seed %d: got %q, want one label that is escaped", seed, line)
			}
		}
	}
}

// drawn checks that a picture is XML, and that nothing stands outside of it or,
// among steps and undos, on something else.
func drawn(picture string) error {
	type rect struct {
		Class string `xml:"class,attr"`
		X     int    `xml:"x,attr"`
		Y     int    `xml:"y,attr"`
		W     int    `xml:"width,attr"`
		H     int    `xml:"height,attr"`
	}
	var paper rect
	var solid []rect
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		el, ok := token.(xml.StartElement)
		if !ok || el.Name.Local != "rect" {
			continue
		}
		var r rect
		if err := d.DecodeElement(&r, &el); err != nil {
			return err
		}
		switch {
		case r.Class == "paper":
			paper = r
			continue
		case r.X < 0 || r.Y < 0 || r.W <= 0 || r.H <= 0 || r.X+r.W > paper.W || r.Y+r.H > paper.H:
			return fmt.Errorf("%+v is not within %+v", r, paper)
		case strings.HasPrefix(r.Class, "box"):
			continue
		}
		for _, o := range solid {
			if r.X < o.X+o.W && o.X < r.X+r.W && r.Y < o.Y+o.H && o.Y < r.Y+r.H {
				return fmt.Errorf("%+v lies on %+v", r, o)
			}
		}
		solid = append(solid, r)
	}
}

// TestPictureNamesAll: what is cut in a picture stands in a tooltip.
func TestPictureNamesAll(t *testing.T) {
	long := strings.Repeat("reserve & hold <the> thing ", 3)
	picture, err := saga.Diagram(saga.Shape{Name: "s", Version: "1", Nodes: []saga.Node{{Kind: "step", Name: long, Class: "undoable"}}}, saga.SVG)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(picture, "<title>undoes "+html.EscapeString(long)+"</title>") || !strings.Contains(picture, "…") {
		t.Errorf("got %s\nwant the whole name in a tooltip", picture)
	}
}

// TestPictureBreaks: what is long goes on in another row, with every step in its
// order, and names in another line.
func TestPictureBreaks(t *testing.T) {
	var nodes []saga.Node
	for i := range 40 {
		nodes = append(nodes, saga.Node{Kind: "step", Name: fmt.Sprintf("reserve what is there in the warehouse %02d", i), Class: "undoable"})
	}
	picture, err := saga.Diagram(saga.Shape{Name: "s", Version: "1", Nodes: nodes}, saga.SVG)
	if err != nil {
		t.Fatal(err)
	}
	if err := drawn(picture); err != nil {
		t.Error(err)
	}
	var width, height int
	if _, err := fmt.Sscanf(picture[strings.Index(picture, "width="):], `width="%d" height="%d"`, &width, &height); err != nil || width > 1600 || height < 1000 {
		t.Errorf("it is %d wide and %d high (%v), want rows", width, height, err)
	}
	at := 0
	for i := range 40 {
		for _, line := range []string{">reserve what is there in<", fmt.Sprintf(">the warehouse %02d<", i)} {
			next := strings.Index(picture[at:], line)
			if next < 0 {
				t.Fatalf("line %q of step %d is not there, or not in its order", line, i)
			}
			at += next
		}
	}
}
