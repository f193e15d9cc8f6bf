package saga

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"
)

// Shape describes a saga that was built: enough to draw it, and to tell whether
// an execution in flight fits. It says nothing of code.
type Shape struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Fingerprint string `json:"fingerprint"`
	Nodes       []Node `json:"nodes"` // in the order of their declarations
}

// Node is one thing that a saga declares.
type Node struct {
	// Kind is "step", "await" (Await), "run" (Run), "wait", "group" (Parallel),
	// "branch" (When and Group.Branch) or "sub" (Sub).
	Kind string `json:"kind"`
	Name string `json:"name"`

	// Of a step, an await and a run.
	Class  string `json:"class,omitempty"` // "undoable", "read-only", "irreversible", "retriable" or "pivot"
	Why    string `json:"why,omitempty"`   // an irreversible one is
	Verify bool   `json:"verify,omitempty"`

	Wait         time.Duration `json:"wait,omitempty"`          // how long a wait takes, in nanoseconds
	UndoTogether bool          `json:"undo_together,omitempty"` // of a group
	Conditional  bool          `json:"conditional,omitempty"`   // of a branch: it has a condition
	Saga         string        `json:"saga,omitempty"`          // name of the saga that a sub is

	Nodes []Node `json:"nodes,omitempty"` // of a group, a branch or a sub
}

// Described is a *Saga of whatever types.
type Described interface{ Shape() Shape }

// Shape describes the saga.
func (s *Saga[In, Out]) Shape() Shape {
	return Shape{Name: s.Name(), Version: s.Version(), Fingerprint: s.plan.fingerprint(), Nodes: s.plan.root.shape()}
}

func (b *block) shape() []Node {
	nodes := make([]Node, 0, len(b.nodes))
	for _, n := range b.nodes {
		name, _ := n.label()
		d := Node{Name: name}
		switch n := n.(type) {
		case *step:
			n.describe(&d)
		case *group:
			d.Kind, d.UndoTogether, d.Nodes = "group", n.undoTogether, n.shape()
		case *branch:
			d.Kind, d.Conditional, d.Nodes = "branch", n.cond != nil, n.shape()
		case *sub:
			d.Kind, d.Saga, d.Nodes = "sub", n.child.name, n.child.root.shape()
		case *wait:
			d.Kind, d.Wait = "wait", n.d
		}
		nodes = append(nodes, d)
	}
	return nodes
}

func (s *step) describe(d *Node) {
	d.Kind, d.Class, d.Verify = s.kind(), s.class.String(), s.verify != nil
	if s.class == irreversible {
		d.Why = s.why
	}
}

// kind is what runs as the step.
func (s *step) kind() string {
	switch {
	case s.ask != nil:
		return "await"
	case s.flow != nil:
		return "run"
	}
	return "step"
}

// steps are the steps among nodes, at any depth, by the names that Effects give
// them.
func steps(nodes []Node, prefix string) iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		eachStep(nodes, prefix, yield)
	}
}

func eachStep(nodes []Node, prefix string, yield func(string, *Node) bool) bool {
	for i := range nodes {
		n, inner := &nodes[i], prefix
		if n.Kind == "sub" {
			inner += n.Name + "/"
		}
		if n.Class != "" && !yield(prefix+n.Name, n) || !eachStep(n.Nodes, inner, yield) {
			return false
		}
	}
	return true
}

// manifest is the stored form of a build's sagas.
type manifest struct {
	Format int     `json:"format"`
	Sagas  []Shape `json:"sagas"`
}

// manifestFormat is the form that this code writes, and reads.
const manifestFormat = 1

// WriteManifest writes what sagas a build has, as JSON, for Check and for
// diagrams where the build itself is not at hand. Let a build print it from the
// sagas that it registers, all versions of them.
func WriteManifest(w io.Writer, sagas ...Described) error {
	m := manifest{Format: manifestFormat, Sagas: []Shape{}}
	known := map[[2]string]bool{}
	for _, s := range sagas {
		shape := s.Shape()
		key := [2]string{shape.Name, shape.Version}
		if known[key] {
			return fmt.Errorf("saga: %s@%s is given twice: each version is one saga", shape.Name, shape.Version)
		}
		known[key] = true
		m.Sagas = append(m.Sagas, shape)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(m)
}

// ReadManifest reads what WriteManifest has written.
func ReadManifest(r io.Reader) ([]Shape, error) {
	var m manifest
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return nil, fmt.Errorf("saga: this is no manifest of sagas: %w", err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("saga: the manifest has format %d, and format %d is what this build reads", m.Format, manifestFormat)
	}
	for _, s := range m.Sagas {
		if s.Name == "" || s.Version == "" || s.Fingerprint == "" {
			return nil, fmt.Errorf("saga: saga %q version %q in the manifest has no name, version or fingerprint", s.Name, s.Version)
		}
	}
	return m.Sagas, nil
}
