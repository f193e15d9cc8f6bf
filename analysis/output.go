package analysis

import (
	"go/ast"
	"go/types"
)

// read is an Of or Get of an output in a part of a saga.
type read struct {
	sel   *ast.SelectorExpr
	part  part
	step  *item // whose output is read
	group *item // in which both run beside each other
	how   relation
}

// relation is how the step of an output stands to the part that reads it.
type relation uint8

const (
	there   relation = iota // its output is there
	foreign                 // it belongs to another saga
	beside                  // it runs beside it, in a group
	later                   // it runs after it, or is the reader itself
	unsure                  // it is in a branch that may not have been taken
	untold                  // the source does not tell
)

// of tells whether it is Of, which needs the output to be there.
func (r *read) of() bool { return r.sel.Sel.Name == "Of" }

// reads finds every read of an output in a part of a saga.
func (s *source) reads(yield func(*read)) {
	for _, p := range s.parts {
		if p.item == nil {
			continue
		}
		s.within(p.function, map[*function]bool{}, func(n ast.Node) {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Of" && sel.Sel.Name != "Get" || !isOutput(s.info.TypeOf(sel.X)) {
				return
			}
			if step := s.item(sel.X); step != nil && step.kind == aStep {
				r := &read{sel: sel, part: p, step: step}
				r.relate()
				yield(r)
			}
		})
	}
}

// within visits the code of a function, and that of functions of this package
// without a role of their own that it names.
func (s *source) within(f *function, seen map[*function]bool, visit func(ast.Node)) {
	if seen[f] {
		return
	}
	seen[f] = true
	ast.Inspect(f.block, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		visit(n)
		if id, ok := n.(*ast.Ident); ok && isFunc(s.info.TypeOf(id)) {
			if called := s.function(id); called != nil && called.role == plain {
				s.within(called, seen, visit)
			}
		}
		return true
	})
}

func isFunc(t types.Type) bool {
	_, ok := types.Unalias(t).(*types.Signature)
	return ok
}

// relate finds how the step stands to the reader: by where their paths part.
func (r *read) relate() {
	reader, step := r.part.item.path(), r.step.path()
	i := 0
	for i < len(reader) && i < len(step) && reader[i] == step[i] {
		i++
	}
	switch {
	case i == 0 && reader[0].kind == aSaga && step[0].kind == aSaga:
		r.how = foreign
		return
	case i == 0:
		r.how = untold // two parameters may be the same saga
		return
	case i == len(reader) && r.part.role == sagaResult: // all has run
	case i == len(reader): // a step its own output, or a condition one of its branch
		r.how = untold
		if len(r.step.loops) == 0 {
			r.how = later
		}
		return
	case reader[i-1].kind == aGroup:
		r.group, r.how = reader[i-1], beside
		return
	case step[i].after(reader[i]):
		r.how = later
		return
	}
	for _, scope := range step[i:] {
		if scope.kind == aBranch {
			r.how = unsure
			return
		}
	}
}
