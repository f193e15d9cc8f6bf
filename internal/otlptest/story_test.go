package otlptest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/clewdev/clew/durable"
)

// story is what has arrived, to be compared with records.
type story struct {
	t     *testing.T
	spans []Span
	byID  map[pcommon.SpanID]Span
	// killed are the activations, by execution, that a killed process had.
	killed map[string]int64
	// absent are parents that are missing, by trace.
	absent map[pcommon.TraceID]map[pcommon.SpanID]bool
}

// newStory checks what needs no record: no span ID is there twice.
func newStory(t *testing.T, spans []Span, killed map[string]int64) *story {
	t.Helper()
	st := &story{t: t, spans: spans, byID: map[pcommon.SpanID]Span{}, killed: killed, absent: map[pcommon.TraceID]map[pcommon.SpanID]bool{}}
	for _, s := range spans {
		if other, twice := st.byID[s.SpanID()]; twice {
			t.Errorf("spans %q and %q have one ID", other.Name(), s.Name())
		}
		st.byID[s.SpanID()] = s
	}
	return st
}

// check compares all that has arrived with all executions: each is one trace, and
// there is no other. It returns how many attempts a killed process has not told of.
func (st *story) check(recs []*durable.Record) (lost int) {
	st.t.Helper()
	traces := map[pcommon.TraceID]bool{}
	for _, s := range st.spans {
		traces[s.TraceID()] = true
	}
	if len(traces) != len(recs) {
		st.t.Errorf("%d traces of %d executions", len(traces), len(recs))
	}
	st.parents()
	for _, rec := range recs {
		lost += st.execution(rec)
	}
	return lost
}

// parents: every span's parent is present, in its trace, and began before it.
// An attempt of a killed process may be missing, of which a participant has told.
func (st *story) parents() {
	for _, s := range st.spans {
		if s.EndTimestamp() < s.StartTimestamp() {
			st.t.Errorf("%q ends before it begins", s.Name())
		}
		if s.ParentSpanID().IsEmpty() {
			continue
		}
		up, ok := st.byID[s.ParentSpanID()]
		switch {
		case !ok && s.Kind() == ptrace.SpanKindServer:
			if st.absent[s.TraceID()] == nil {
				st.absent[s.TraceID()] = map[pcommon.SpanID]bool{}
			}
			st.absent[s.TraceID()][s.ParentSpanID()] = true
		case !ok:
			st.t.Errorf("the parent of %q is missing", s.Name())
		case up.TraceID() != s.TraceID():
			st.t.Errorf("%q is in another trace than its parent %q", s.Name(), up.Name())
		case s.StartTimestamp() < up.StartTimestamp():
			st.t.Errorf("%q begins before its parent %q", s.Name(), up.Name())
		}
	}
}

// execution compares one execution's trace with its record.
func (st *story) execution(rec *durable.Record) (lost int) {
	t := st.t
	own, ops, activations, attempts := st.sorted(rec)
	if own == nil {
		t.Errorf("%s: its own span is missing", rec.ID)
		return 0
	}
	if !same(at(own.StartTimestamp()), rec.Created) || !same(at(own.EndTimestamp()), rec.Ended) || own.Name() != rec.Definition {
		t.Errorf("%s: its span is %q from %v to %v, want %q from %v to %v", rec.ID, own.Name(), at(own.StartTimestamp()), at(own.EndTimestamp()), rec.Definition, rec.Created, rec.Ended)
	}
	if forwardAndUnwind := own.Text("clew.saga.forward") + "/" + own.Text("clew.saga.unwind"); forwardAndUnwind != rec.Detail {
		t.Errorf("%s: its span says %s, its record %s", rec.ID, forwardAndUnwind, rec.Detail)
	}
	st.activations(rec, activations)
	st.operations(rec, *own, ops)
	lost = st.attempts(rec, ops, activations, attempts)
	if absent := len(st.absent[own.TraceID()]); absent > lost {
		t.Errorf("%s: %d parents are missing, and %d attempts of a killed process", rec.ID, absent, lost)
	}
	st.events(rec, *own)
	return lost
}

// activations: one span for each that the record counts, but for that of a killed
// process; each begins after the one before.
func (st *story) activations(rec *durable.Record, spans map[int64]Span) {
	for epoch := int64(1); epoch <= rec.Activations; epoch++ {
		s, told := spans[epoch]
		if !told && st.killed[rec.ID] != epoch {
			st.t.Errorf("%s: activation %d is missing, the killed one is %d", rec.ID, epoch, st.killed[rec.ID])
		}
		if before, ok := spans[epoch-1]; told && ok && s.StartTimestamp() <= before.StartTimestamp() {
			st.t.Errorf("%s: activation %d begins at %v, the one before at %v", rec.ID, epoch, at(s.StartTimestamp()), at(before.StartTimestamp()))
		}
	}
	if int64(len(spans)) > rec.Activations {
		st.t.Errorf("%s: %d spans of %d activations", rec.ID, len(spans), rec.Activations)
	}
}

// events: the execution's own span has what its history tells of it as a whole.
func (st *story) events(rec *durable.Record, own Span) {
	var history []durable.Event
	for e := range durable.History(rec) {
		if e.Operation == "" && slices.Contains([]string{"ExecutionParked", "OperatorActed", "CancelRequested", "SagaRejected", "SagaCommitted", "UnwindStarted", "UnwindCompleted"}, e.Type) {
			history = append(history, e)
		}
	}
	if own.Events().Len() != len(history) {
		st.t.Errorf("%s: its span has %d events, its history %d: %v", rec.ID, own.Events().Len(), len(history), history)
		return
	}
	for i, e := range own.Events().All() {
		if want := history[i]; e.Name() != want.Type || !same(at(e.Timestamp()), want.At) {
			st.t.Errorf("%s: its span has event %s at %v, its history %s at %v", rec.ID, e.Name(), at(e.Timestamp()), want.Type, want.At)
		}
	}
}

// hosts are the processes that an execution ran in, in order of their first
// activation.
func (st *story) hosts(id string) (pids []string) {
	for _, s := range st.spans {
		if s.Text("clew.execution.id") == id && s.Text("clew.activation") != "" && s.Text("clew.attempt") == "" && !slices.Contains(pids, s.Process) {
			pids = append(pids, s.Process)
		}
	}
	return pids
}

// attemptID tells attempts apart.
type attemptID struct{ op, attempt, epoch int64 }

// sorted finds the spans of an execution by what they are about.
func (st *story) sorted(rec *durable.Record) (own *Span, ops, activations map[int64]Span, attempts map[attemptID]Span) {
	ops, activations, attempts = map[int64]Span{}, map[int64]Span{}, map[attemptID]Span{}
	number := func(s Span, key string) int64 {
		n, _ := strconv.ParseInt(s.Text(key), 10, 64)
		return n
	}
	twice := func(yes bool, s Span) {
		if yes {
			st.t.Errorf("%s: there are two spans %q", rec.ID, s.Name())
		}
	}
	for _, s := range st.spans {
		if s.Text("clew.execution.id") != rec.ID {
			continue
		}
		op, attempt, epoch := number(s, "clew.operation.number"), number(s, "clew.attempt"), number(s, "clew.activation")
		var there bool
		switch {
		case attempt > 0:
			id := attemptID{op, attempt, epoch}
			_, there = attempts[id]
			attempts[id] = s
		case op > 0:
			_, there = ops[op]
			ops[op] = s
		case epoch > 0:
			_, there = activations[epoch]
			activations[epoch] = s
		default:
			there = own != nil
			own = &s
		}
		twice(there, s)
		if own != nil && s.TraceID() != own.TraceID() {
			st.t.Errorf("%s: %q is in another trace", rec.ID, s.Name())
		}
	}
	return own, ops, activations, attempts
}

// operations: one span for each, with the record's times and parents; undos lead
// to what they undo, which has ended, and are in reverse order of its start.
func (st *story) operations(rec *durable.Record, own Span, spans map[int64]Span) {
	t := st.t
	ops, err := durable.Operations(rec)
	if err != nil {
		t.Fatal(err)
	}
	if len(ops) != len(spans) {
		t.Errorf("%s: %d spans of %d operations", rec.ID, len(spans), len(ops))
	}
	last := int64(len(ops)) + 1
	for _, op := range ops {
		s, ok := spans[op.Number]
		if !ok {
			t.Errorf("%s: operation %d is missing", rec.ID, op.Number)
			continue
		}
		up := own
		if op.Parent != 0 {
			up = spans[op.Parent]
		}
		if op.Ended.IsZero() { // what nobody waited for any more ends with the execution
			op.Ended = at(own.EndTimestamp())
		}
		if !at(s.StartTimestamp()).Equal(op.Started) || !at(s.EndTimestamp()).Equal(op.Ended) || s.ParentSpanID() != up.SpanID() {
			t.Errorf("%s: %q is from %v to %v, want %v to %v, under %q", rec.ID, s.Name(), at(s.StartTimestamp()), at(s.EndTimestamp()), op.Started, op.Ended, up.Name())
		}
		if op.Link == 0 {
			if s.Links().Len() != 0 {
				t.Errorf("%s: %q has links", rec.ID, s.Name())
			}
			continue
		}
		undone := spans[op.Link]
		if s.Links().Len() != 1 || s.Links().At(0).SpanID() != undone.SpanID() || s.Links().At(0).TraceID() != own.TraceID() {
			t.Errorf("%s: %q does not lead to %q alone", rec.ID, s.Name(), undone.Name())
		}
		if op.Subtype == durable.SubtypeUndo {
			if s.StartTimestamp() < undone.EndTimestamp() || op.Link > last || s.Name() != "undo "+undone.Name() {
				t.Errorf("%s: %q begins before %q has ended, or out of order", rec.ID, s.Name(), undone.Name())
			}
			last = op.Link
		}
	}
}

// attempts: one span for each that the journal has started, within its operation
// and activation; those of a killed process may be missing, and those whose body
// never ran. It returns how many a killed process has not told of.
func (st *story) attempts(rec *durable.Record, ops, activations map[int64]Span, spans map[attemptID]Span) (lost int) {
	t := st.t
	want := map[attemptID]bool{}
	running := map[int64]attemptID{}
	for _, e := range rec.Journal {
		switch {
		case e.Kind == durable.EntryStart && e.Attempt > 0:
			running[e.Op] = attemptID{e.Op, int64(e.Attempt), e.Epoch}
			want[running[e.Op]] = true
		case e.Kind == durable.EntryCancel && e.NoEffect:
			delete(want, running[e.Op])
		}
	}
	for id := range want {
		if _, ok := spans[id]; ok {
			continue
		}
		if st.killed[rec.ID] != id.epoch {
			t.Errorf("%s: attempt %v is missing", rec.ID, id)
		}
		lost++
	}
	for _, id := range slices.Collect(maps.Keys(spans)) {
		s, op := spans[id], ops[id.op]
		if !want[id] {
			t.Errorf("%s: the journal has no attempt %v", rec.ID, id)
		}
		if s.ParentSpanID() != op.SpanID() || s.StartTimestamp() < op.StartTimestamp() || s.EndTimestamp() > op.EndTimestamp() {
			t.Errorf("%s: %q is from %v to %v, its operation %q from %v to %v", rec.ID, s.Name(), at(s.StartTimestamp()), at(s.EndTimestamp()), op.Name(), at(op.StartTimestamp()), at(op.EndTimestamp()))
		}
		if a, ok := activations[id.epoch]; ok && (s.StartTimestamp() < a.StartTimestamp() || s.EndTimestamp() > a.EndTimestamp() || s.Process != a.Process) {
			t.Errorf("%s: %q is from %v to %v in process %s, its activation from %v to %v in %s", rec.ID, s.Name(), at(s.StartTimestamp()), at(s.EndTimestamp()), s.Process, at(a.StartTimestamp()), at(a.EndTimestamp()), a.Process)
		}
	}
	return lost
}

func at(ts pcommon.Timestamp) time.Time { return ts.AsTime() }

// same compares a span's time with a head's, which DynamoDB keeps to the
// millisecond.
func same(span, head time.Time) bool {
	return span.Equal(head) || span.Truncate(time.Millisecond).Equal(head)
}

func (id attemptID) String() string {
	return fmt.Sprintf("%d of operation %d in activation %d", id.attempt, id.op, id.epoch)
}
