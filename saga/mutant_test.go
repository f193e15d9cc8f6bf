package saga_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/clewdev/clew/internal/mutant"
)

// mutation is an engine with one mistake, each of which has cost somebody an
// undo. The tests named must fail with it; that is what they are for.
type mutation struct {
	name     string
	file     string // below the module's root
	old, new string // old must occur exactly once
	tests    string // of this package, that catch it
}

var mutants = []mutation{
	{"ends with undos that nobody ran", "durable/undoable.go",
		"	if s.toUndo == 0 {\n", "	if true {\n",
		"TestStackIsNotLeft"},
	{"begins another run with undos that it will not know of", "durable/continue.go",
		"n := ctx.scope.toUndo; n > 0 {", "n := ctx.scope.toUndo; n < 0 {",
		"TestStackRefuses"},
	{"registers undos where nobody may be there to run them", "durable/undoable.go",
		"	if !ctx.st.lasts() {\n", "	if false {\n",
		"TestStackRefuses"},
	{"acts before its start marker is durable", "durable/attempt.go",
		"		return s.c.st.commit(write{status: StatusRunning})\n", "		return nil\n",
		"TestCrashSlowBodies|TestCrashCancelledDuringStep"},
	{"unwinds in memory's order", "compensate/stack.go",
		"	slices.Reverse(plan)\n	slices.SortStableFunc(plan, func(a, b Action[T]) int { return cmp.Compare(b.Order, a.Order) })\n", "	_ = cmp.Compare[int]\n",
		"TestCrashRejectedAtPivot"},
	{"undoes what this process remembers to have run", "saga/forward.go",
		"	if t.class != undoable {\n		return\n	}", "	if t.class != undoable || !ranHere[t.name] {\n		return\n	}",
		"TestCrashRejectedAtPivot"},
	{"ignores a cancel accepted during a step", "durable/activation.go",
		"	case d.Key != terminateKey && a.journal.cancel == nil:\n		e.Kind = EntryCancel\n		a.append(e)\n", "",
		"TestCrashCancelledDuringStep"},
	{"runs a pivot over a cancel acknowledged before it", "durable/attempt.go",
		"write{ifSeen: true, unlessCancelled: !s.c.shielded, status", "write{status",
		"TestCrashCancelledRightBeforePivot"},
	{"undoes while a lost forward attempt may still run", "durable/attempt.go",
		"if op.epoch > s.a.safe {", "if false {",
		"TestCrashCancelledDuringSlowStep"},
	{"repeats while a lost forward attempt may still run", "durable/attempt.go",
		"if op.epoch > s.a.safe {", "if false {",
		"TestCrashSlowBodies"},
	{"undoes while a cancelled forward attempt still runs", "durable/attempt.go",
		"	case <-s.a.eng.hard.Done():", "	case <-ctx.Done():\n		return s.o.retry.resultOf(nil, ctx.Err())\n	case <-s.a.eng.hard.Done():",
		"TestCrashCancelledDuringStep"},
	{"unwinds past a pivot in doubt", "saga/forward.go",
		"	case t.class == pivot && t.doubt:\n		return", "	case false:\n		return",
		"TestCrashPivotInDoubtParks"},
	{"lets a cancel stop the retry of a pivot in doubt", "saga/forward.go",
		"	if t.class == pivot && t.doubt {\n		ctx = ctx.Shielded()", "	if false {\n		ctx = ctx.Shielded()",
		"TestCancelWhileThePivotIsInDoubt"},
	{"forgets a cancel that came while the handler ended", "durable/activation.go",
		"unlessCancelled: !asked, ", "",
		"TestCancelDuringTheResult"},
	{"takes a lost attempt for one without effect", "durable/journal.go",
		"		op.doubt = op.doubt || !e.NoEffect\n		op.running, op.err", "		op.doubt = op.doubt || !e.NoEffect && e.Kind != EntryLost\n		op.running, op.err",
		"TestCrashRejectedAfterLostAttempt"},
	{"takes a rejection for proof about earlier attempts", "durable/journal.go",
		"		op.doubt = op.doubt || !e.NoEffect\n		op.running, op.err", "		op.doubt = !e.NoEffect\n		op.running, op.err",
		"TestCrashRejectedAfterLostAttempt"},
	{"does not join siblings before it unwinds", "durable/group.go",
		"	c.st.await(func() bool { return g.left == 0 }, time.Time{})\n	c.st.rest()\n	defer c.st.resume()\n	join(kids)\n",
		"	c.st.await(func() bool { return g.left == 0 || g.stop.err != nil }, time.Time{})\n	_ = join\n",
		"TestGroupFails"},
	{"drops the doubt of a member that was stopped", "saga/forward.go",
		"	case t.doubt:\n		f.stands(t, nil, false)", "	case t.doubt && !stopped:\n		f.stands(t, nil, false)",
		"TestGroupFails"},
	{"drops the undos of a sub-saga", "saga/run.go",
		"c := &flow{run: f.run, ctx", "c := &flow{run: &run{plan: f.plan, pivoted: f.pivoted}, ctx",
		"TestSubSagaIsUndone"},
	{"does not record that an undo was skipped", "saga/unwind.go",
		"		u.skipped = append(u.skipped, p.Operation)\n", "",
		"TestSkipIsNamed"},
	{"calls a saga stuck no more when one of two goes on", "saga/status.go",
		"	if stuck || s.Unwind == UnwindRunning {", "	if s.Unwind == UnwindRunning {",
		"TestStuckBesideOneThatGoesOn"},
	{"unwinds past the pivot over what is no step", "saga/run.go",
		"	case r.pivoted:\n		mustNotHappen(cause)\n", "",
		"TestOutOfOperationsAfterThePivot"},
	{"records that a sub-saga has no input, past the pivot", "saga/run.go",
		"		if err != nil && f.pivoted {\n			f.mustFinish(\"input", "		if false {\n			f.mustFinish(\"input",
		"TestNothingUnwindsPastThePivot"},
	{"has no patience after the pivot", "saga/forward.go",
		"	if f.pivoted {\n		t.base = patient()\n	}\n", "",
		"TestAwaitAfterThePivotSitsAnOutageOut"},
	{"asks twice what may be asked once", "saga/forward.go",
		"		opts = append(opts, durable.StopWhenUnknown())\n", "",
		"TestAskAtMostOnce"},
	{"runs a durable function again under other keys", "saga/forward.go",
		"		if t.key != \"\" { // again", "		if false { // again",
		"TestRunAgainUnderTheSameKeys"},
	{"undoes the steps of a branch beside each other", "saga/forward.go",
		"Together: f.together, Lane: f.lane,", "Together: f.together,",
		"TestUndoTogetherKeepsTheOrderOfABranch"},
	{"undoes what was never asked", "durable/callback.go",
		"	r.InDoubt = r.InDoubt && !submitter.unasked()\n", "",
		"TestNobodyWasAsked"},
	{"calls a saga that unwinds no more one that does", "durable/commit.go",
		"	if w.park != nil && a.def.parked != nil {\n", "	if false {\n",
		"TestUndoThatPanicsIsStuck"},
	{"calls a saga committed that was abandoned after its pivot", "saga/status.go",
		"	if s.Unwind != UnwindComplete {", "	if s.Unwind != UnwindComplete && s.Forward != ForwardCommitted {",
		"TestAbandonedAfterThePivot"},
}

// TestMutants compiles every mutant and sees the tests fail that guard
// against it.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the engine once per mutant; -short leaves that out")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, err := m.run(t)
			if err == nil {
				t.Fatalf("no test noticed:\n%s", out)
			}
			if !strings.Contains(out, "--- FAIL") && !strings.Contains(out, "panic: test timed out") {
				t.Fatalf("it failed without a failing test: %v\n%s", err, out)
			}
		})
	}
}

// run runs the mutant's tests over its source.
func (m *mutation) run(t *testing.T) (string, error) {
	changes := []mutant.Change{{File: m.file, Old: m.old, New: m.new}}
	if strings.Contains(m.new, "ranHere") {
		changes = append(changes,
			mutant.Change{File: m.file, Old: "raw, err = durable.Step(ctx, t.name, f.body(t.step), f.options(t)...)",
				New: "ranHere, body := f.ran(), f.body(t.step)\n		raw, err = durable.Step(ctx, t.name, func(c context.Context) (json.RawMessage, error) { ranHere[t.name] = true; return body(c) }, f.options(t)...)"},
			mutant.Change{File: m.file, Old: "!ranHere[t.name]", New: "!f.ran()[t.name]"},
			mutant.Change{File: m.file, Old: "\n// step runs one forward step to its end.", New: "\nvar remembered = map[any]map[string]bool{}\n\nfunc (f *flow) ran() map[string]bool {\n	if remembered[f.run] == nil {\n		remembered[f.run] = map[string]bool{}\n	}\n	return remembered[f.run]\n}\n\n// step runs one forward step to its end."})
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=60s", "-overlay", mutant.Overlay(t, "..", changes...), "-run", "^("+m.tests+")$", ".")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
