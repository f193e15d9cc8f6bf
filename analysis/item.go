package analysis

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// itemKind is what was declared.
type itemKind uint8

const (
	aStep     itemKind = iota
	aSaga              // by saga.New
	aScope             // that came from elsewhere: a parameter
	aGroup             // by saga.Parallel: what stands in it runs beside each other
	aBranch            // by saga.When: it may not be taken
	aSequence          // any other scope in a scope, as by Group.Branch
)

// item is something that a saga's source declares: the saga, a scope in it, a
// step.
type item struct {
	kind  itemKind
	in    *item         // the scope that it was declared on; nil for the outermost
	call  *ast.CallExpr // that declares it; nil for a parameter
	name  string        // quoted
	from  *function     // whose code declares it
	loops []ast.Node    // around the call, in that function
}

// label is the item's name in messages. it may be nil: not known.
func (it *item) label() string {
	if it == nil || it.name == "" {
		return `"?"`
	}
	return it.name
}

// path are the items from the outermost scope down to the item itself.
func (it *item) path() []*item {
	var up []*item
	for ; it != nil; it = it.in {
		up = append(up, it)
	}
	slices.Reverse(up)
	return up
}

// item finds what an expression stands for: a scope, a step that is being
// declared, or the step of an output. nil when that cannot be told.
func (s *source) item(e ast.Expr) *item {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		if v := s.variable(e); v != nil {
			return s.remember(v, func() *item { return s.itemOf(v) })
		}
	case *ast.CallExpr:
		return s.remember(e, func() *item { return s.declaredBy(e) })
	}
	return nil
}

// remember makes one item for each call and variable. It also ends the search
// where source is in a circle.
func (s *source) remember(key any, find func() *item) *item {
	it, known := s.items[key]
	if !known {
		s.items[key] = nil
		it = find()
		s.items[key] = it
	}
	return it
}

func (s *source) itemOf(v *types.Var) *item {
	switch {
	case s.value(v) != nil:
		return s.item(s.value(v))
	case len(s.made[v]) == 0 && isScope(v.Type()):
		return &item{kind: aScope, name: v.Name()}
	}
	return nil
}

// declaredBy is the item that a call makes, or passes on.
func (s *source) declaredBy(call *ast.CallExpr) *item {
	if tv := s.info.Types[call.Fun]; tv.IsType() && len(call.Args) == 1 {
		return s.item(call.Args[0]) // a conversion, as to saga.Scope
	}
	fn := s.callee(call)
	if fn == nil || !isPackage(fn.Pkg(), "saga") {
		return nil
	}
	if fn.Signature().Recv() != nil {
		return s.passedOn(call)
	}
	it := &item{call: call}
	s.place(it)
	first := firstParam(fn.Signature())
	switch {
	case fn.Name() == "New" && len(call.Args) > 0:
		it.kind, it.name = aSaga, s.label(call.Args[0])
		return it
	case first == nil || !isScope(first) || len(call.Args) < 2:
		return nil
	case fn.Name() == "Parallel":
		it.kind = aGroup
	case fn.Name() == "When":
		it.kind = aBranch
	case isScope(s.info.TypeOf(call)):
		it.kind = aSequence
	}
	it.in, it.name = s.item(call.Args[0]), s.label(call.Args[1])
	if it.in == nil {
		return nil
	}
	return it
}

// passedOn is what a method of a scope or step returns: the same, but for a
// scope that makes one of another type.
func (s *source) passedOn(call *ast.CallExpr) *item {
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	it := s.item(sel.X)
	from, to := s.info.TypeOf(sel.X), s.info.TypeOf(call)
	switch {
	case it == nil:
		return nil
	case isStep(from) && (isStep(to) || isOutput(to)):
		return it
	case !isScope(from) || !isScope(to):
		return nil
	case named(from).Obj() == named(to).Obj():
		return it
	}
	inner := &item{kind: aSequence, in: it, call: call, name: it.name}
	if len(call.Args) > 0 { // Group.Branch
		inner.name = s.label(call.Args[0])
	}
	s.place(inner)
	return inner
}

// place notes where an item is declared.
func (s *source) place(it *item) {
	cur, ok := s.root.FindNode(it.call)
	if !ok {
		return
	}
	it.from = s.enclosing(cur)
	for c := range cur.Enclosing((*ast.ForStmt)(nil), (*ast.RangeStmt)(nil)) {
		if it.from != nil && it.from.contains(c.Node().Pos()) {
			it.loops = append(it.loops, c.Node())
		}
	}
}

// after tells whether it is declared after other, as far as the order of the
// source can tell: in one function and in no loop around both.
func (it *item) after(other *item) bool {
	if it.from == nil || it.from != other.from {
		return false
	}
	for _, loop := range it.loops {
		if slices.Contains(other.loops, loop) {
			return false
		}
	}
	return it.at() >= other.at()
}

// at is where the call of the item ends its first argument list: a chain of
// methods begins at the same place as the call that it stands on.
func (it *item) at() token.Pos { return it.call.Rparen }
