package analysis

import (
	"go/ast"
	"go/token"
	"go/types"

	goanalysis "golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
)

// source is a package's source, with what the rules share.
type source struct {
	pass  *goanalysis.Pass
	info  *types.Info
	root  inspector.Cursor
	funcs map[ast.Node]*function    // of *ast.FuncDecl and *ast.FuncLit
	decls map[*types.Func]*function // functions and methods of this package
	made  map[*types.Var][]ast.Expr // what a variable is set to; nil where that cannot be told
	again map[*types.Var]bool       // set by an assignment, after its declaration
	items map[any]*item             // of calls and variables
	parts []part
	rule  string // at work
	found []finding
}

func newSource(pass *goanalysis.Pass) *source {
	s := &source{
		pass: pass, info: pass.TypesInfo, root: pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root(),
		funcs: map[ast.Node]*function{}, decls: map[*types.Func]*function{},
		made: map[*types.Var][]ast.Expr{}, again: map[*types.Var]bool{}, items: map[any]*item{},
	}
	s.findFunctions()
	s.findAssignments()
	s.findRoles()
	return s
}

// findAssignments notes what variables are set to.
func (s *source) findAssignments() {
	for cur := range s.root.Preorder((*ast.AssignStmt)(nil), (*ast.ValueSpec)(nil), (*ast.RangeStmt)(nil), (*ast.UnaryExpr)(nil)) {
		switch n := cur.Node().(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				s.set(left, nth(n.Rhs, i, len(n.Lhs)))
				if v := s.variable(left); v != nil && n.Tok == token.ASSIGN {
					s.again[v] = true
				}
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if len(n.Values) > 0 {
					s.set(name, nth(n.Values, i, len(n.Names)))
				}
			}
		case *ast.RangeStmt:
			s.set(n.Key, nil)
			s.set(n.Value, nil)
		case *ast.UnaryExpr:
			if n.Op == token.AND { // who has the address may set it
				s.set(n.X, nil)
			}
		}
	}
}

// nth is the i-th of as many values as there are variables, or nil.
func nth(values []ast.Expr, i, variables int) ast.Expr {
	if len(values) != variables {
		return nil
	}
	return values[i]
}

func (s *source) set(left, value ast.Expr) {
	if left == nil {
		return
	}
	if v := s.variable(left); v != nil {
		s.made[v] = append(s.made[v], value)
	}
}

// variable is the variable that an expression names, or nil.
func (s *source) variable(e ast.Expr) *types.Var {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return nil
	}
	v, _ := s.info.ObjectOf(id).(*types.Var)
	return v
}

// value is the one expression that a variable is ever set to, or nil.
func (s *source) value(v *types.Var) ast.Expr {
	if made := s.made[v]; len(made) == 1 {
		return made[0]
	}
	return nil
}

// rootVariable is the variable on which a chain of selectors stands: w in
// w.run.ctx.
func (s *source) rootVariable(e ast.Expr) *types.Var {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		default:
			return s.variable(e)
		}
	}
}

// enclosing is the innermost function around a node, or nil.
func (s *source) enclosing(cur inspector.Cursor) *function {
	for c := range cur.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
		if c != cur {
			return s.funcs[c.Node()]
		}
	}
	return nil
}

// text is an expression as it stands in the source.
func text(e ast.Expr) string { return types.ExprString(e) }
