package analysis

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/go/ast/inspector"
)

// nondeterminism: a handler is replayed, and must then call the same
// operations; a saga's result is made again. What differs from run to run makes
// the journal and the code disagree, which parks, or takes another way without
// anybody's notice. What conditions and inputs of sub-sagas return is recorded:
// they may look at the clock, but have no effects.
var nondeterminism = rule{"nondeterminism", func(s *source) {
	for cur := range s.root.Preorder((*ast.Ident)(nil), (*ast.GoStmt)(nil), (*ast.UnaryExpr)(nil), (*ast.SelectStmt)(nil), (*ast.RangeStmt)(nil)) {
		f := s.enclosing(cur)
		if in := f.recorded(); in != nil {
			s.checkEffect(cur, in)
			continue
		}
		if !f.replayed() {
			continue
		}
		switch n := cur.Node().(type) {
		case *ast.Ident:
			s.checkUse(n, f)
		case *ast.GoStmt:
			s.report(n, "a goroutine in %s: nothing orders what it does on a replay, and a suspension leaves it behind; %s", where(f), remedy(f, "use durable.Go, Parallel or Map"))
		case *ast.SelectStmt:
			s.report(n, "select in %s takes what is ready first, which a replay does not repeat: %s", where(f), remedy(f, "use durable.Race, or select in a step"))
		case *ast.UnaryExpr:
			if n.Op == token.ARROW && !inSelect(cur) {
				s.reportReceive(n, f)
			}
		case *ast.RangeStmt:
			s.checkRange(n, f)
		}
	}
}}

// where says what kind of code must be deterministic.
func where(f *function) string {
	for g := f; g != nil; g = g.outer {
		if g.role == sagaResult {
			return g.String()
		}
	}
	return "a handler"
}

// remedy says what to do instead.
func remedy(f *function, handler string) string {
	if where(f) != "a handler" {
		return "do it in a step and use the step's output"
	}
	return handler
}

// checkEffect looks at what stands in a function whose value is recorded.
func (s *source) checkEffect(cur inspector.Cursor, in *function) {
	const again = "it runs again if the process dies before what came of it is recorded; do it in a step and use the step's output"
	switch n := cur.Node().(type) {
	case *ast.GoStmt:
		s.report(n, "a goroutine in %s: nothing waits for it, and %s", in, again)
	case *ast.SelectStmt:
		s.report(n, "select in %s: %s", in, again)
	case *ast.UnaryExpr:
		if n.Op == token.ARROW && !inSelect(cur) {
			s.report(n, "a receive from a channel in %s: %s", in, again)
		}
	case *ast.RangeStmt:
		if t := s.info.TypeOf(n.X); t != nil {
			if _, ok := t.Underlying().(*types.Chan); ok {
				s.report(n, "a receive from a channel in %s: %s", in, again)
			}
		}
	case *ast.Ident:
		obj := s.info.Uses[n]
		switch {
		case obj == nil || obj.Pkg() == nil || outsideWorld(obj) == "":
		case obj.Pkg().Path() == "time" && listed(timers, obj.Name()):
			s.report(n, "%s in %s waits without a record: declare a saga.Wait before it", nameOf(obj), in)
		case listed(effects, obj.Pkg().Path()):
			s.report(n, "%s in %s: %s", nameOf(obj), in, again)
		}
	}
}

func (s *source) reportReceive(n ast.Node, f *function) {
	s.report(n, "a receive from a channel in %s: a replay does not receive it again; %s", where(f), remedy(f, "receive in a step, or use a callback or a future"))
}

// inSelect: the communication of a case belongs to its select.
func inSelect(cur inspector.Cursor) bool {
	for c := range cur.Enclosing((*ast.CommClause)(nil)) {
		comm := c.Node().(*ast.CommClause).Comm
		return comm != nil && comm.Pos() <= cur.Node().Pos() && cur.Node().End() <= comm.End()
	}
	return false
}

func (s *source) checkRange(n *ast.RangeStmt, f *function) {
	t := s.info.TypeOf(n.X)
	if t == nil {
		return
	}
	switch t.Underlying().(type) {
	case *types.Chan:
		s.reportReceive(n, f)
		return
	case *types.Map:
	default:
		if !s.rangesMap(n.X) {
			return
		}
	}
	if s.operates(n.Body) {
		s.report(n, "operations in a loop over a map, whose order differs on every run: loop over slices.Sorted(maps.Keys(…))")
	}
}

// rangesMap: the iterators of package maps.
func (s *source) rangesMap(e ast.Expr) bool {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return false
	}
	fn := s.callee(call)
	return fn != nil && fn.Pkg() != nil && fn.Pkg().Path() == "maps" && slices.Contains([]string{"All", "Keys", "Values"}, fn.Name())
}

// checkUse looks at a name: it is enough that a function is named, because
// then it is also called.
func (s *source) checkUse(id *ast.Ident, f *function) {
	obj := s.info.Uses[id]
	if obj == nil || obj.Pkg() == nil || obj.Pkg() == s.pass.Pkg {
		return
	}
	if handler := outsideWorld(obj); handler != "" {
		s.report(id, "%s in %s differs on every run: %s", nameOf(obj), where(f), remedy(f, handler))
	}
}

func nameOf(obj types.Object) string {
	if fn, ok := obj.(*types.Func); ok && fn.Signature().Recv() != nil {
		if n := named(fn.Signature().Recv().Type()); n != nil {
			return "(" + obj.Pkg().Name() + "." + n.Obj().Name() + ")." + obj.Name()
		}
	}
	return obj.Pkg().Name() + "." + obj.Name()
}

// world are names that bring in what a replay does not see again, by package,
// with what a handler does instead. A name with a dot is a method.
var world = map[string]struct {
	names  string
	remedy string
}{
	"time":                       {"Now Since Until", "use durable.Now, or read the clock in a step"},
	"crypto/rand":                {"Int Prime Read Reader Text", "use durable.UUID or durable.Rand, or draw it in a step"},
	"os":                         {"Environ ExpandEnv Getenv LookupEnv Getpid Getppid Getwd Hostname Open OpenFile ReadDir ReadFile Stat Lstat", "read it in a step, or hand it over in the input"},
	"net/http":                   {"Get Head Post PostForm Client.Do Client.Get Client.Head Client.Post Client.PostForm", "call it in a step, so that it is recorded and not repeated"},
	"database/sql":               {"DB.Exec DB.ExecContext DB.Query DB.QueryContext DB.QueryRow DB.QueryRowContext Tx.Exec Tx.ExecContext Tx.Query Tx.QueryContext Tx.QueryRow Tx.QueryRowContext", "call it in a step, so that it is recorded and not repeated"},
	"sync":                       {"WaitGroup.Go", "use durable.Go, Parallel or Map"},
	"golang.org/x/sync/errgroup": {"Group.Go Group.TryGo", "use durable.Go, Parallel or Map"},
}

// timers are what waits without a record.
const timers = "Sleep After AfterFunc NewTicker NewTimer Tick"

// effects are the packages of world whose functions do more than look.
const effects = "net/http database/sql sync golang.org/x/sync/errgroup"

// outsideWorld says what a handler does instead of using obj; "" if it may.
func outsideWorld(obj types.Object) string {
	name, pkg := obj.Name(), obj.Pkg().Path()
	method := false
	if fn, ok := obj.(*types.Func); ok && fn.Signature().Recv() != nil {
		n := named(fn.Signature().Recv().Type())
		if n == nil {
			return ""
		}
		name, method = n.Obj().Name()+"."+name, true
	}
	if _, isType := obj.(*types.TypeName); isType {
		return ""
	}
	switch w, ok := world[pkg]; {
	case ok && listed(w.names, name):
		return w.remedy
	case pkg == "time" && listed(timers, name):
		return "use durable.Wait, which is recorded and holds no goroutine"
	case !method && (pkg == "math/rand" || pkg == "math/rand/v2") && !strings.HasPrefix(name, "New"):
		return "use durable.Rand, or a rand.New seeded from it"
	case !method && makesID(pkg, name):
		return "use durable.UUID, or make it in a step"
	}
	return ""
}

func listed(names, name string) bool { return slices.Contains(strings.Fields(names), name) }

// makesID tells whether a function makes a random or time-based ID: by the
// usual names, because there are many such packages.
func makesID(pkg, name string) bool {
	last := path.Base(pkg)
	if len(last) > 1 && last[0] == 'v' && strings.Trim(last[1:], "0123456789") == "" {
		last = path.Base(path.Dir(pkg)) // …/uuid/v5
	}
	last, _, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(last, "go."), ".go"), ".")
	if !listed("uuid go-uuid xid ksuid ulid shortuuid nanoid go-nanoid", last) {
		return false
	}
	if listed("NewSHA1 NewMD5 NewHash NewV3 NewV5", name) { // of their arguments
		return false
	}
	return strings.HasPrefix(name, "New") || strings.HasPrefix(name, "Make") || strings.HasPrefix(name, "Generate")
}
