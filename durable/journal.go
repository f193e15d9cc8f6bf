package durable

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// journal is the memory of one execution: what its entries add up to. Entries
// reach it through apply alone, those that were loaded and those that this
// activation appends, so that a replay and the first run see the same.
type journal struct {
	ops    []*operation // by number, from 1 at index 0
	byID   map[opID]*operation
	counts map[scopeID]int64 // operations recorded per scope
	byKey  map[string]*operation
	open   int                  // callbacks that accept a result
	timed  map[int64]*operation // waits and callbacks that a time will end

	unended map[int64]*operation
	// forsaken are callbacks that ended with the context around them.
	forsaken []string
	park     *Park  // over what the engine itself parked, until a verb
	cancel   *Entry // the request to stop, or the deadline that passed

	signals    map[string][]*Entry // that nobody has received, by name
	run        int64               // from 1: ContinueAsNew begins another
	input      []byte              // of a run after the first
	terminated *Entry              // the request to end without the code
	outcome    *Entry              // how it will end, once its parent knows
	short      int                 // activations in a row that found no time for what is next
}

// scopeID names a sequence of positions: those of one parent, on the way in
// or on the way out. Branches without a context of their own share a parent
// and are numbered, from 1.
type scopeID struct {
	parent int64
	scope  Scope
	branch int64
}

// branchShift is where an entry's position has the number of the branch.
const branchShift = 32

// opID is the identity of an operation in replay.
type opID struct {
	scopeID
	pos int64
}

// operation is the state of one operation.
type operation struct {
	id      opID
	num     int64
	typ     OpType
	subtype string
	name    string
	path    string // of names, once its code has come here
	link    int64
	first   time.Time // when it started first
	started bool      // its first entry is a start

	// Steps.
	attempt  int       // last one started
	running  bool      // that attempt has a start and no end
	since    time.Time // start of that attempt
	timeout  time.Duration
	epoch    int64 // claim under which it runs
	unknown  bool  // the last attempt ended with its outcome unknown
	rejected bool  // the last attempt is proven to have had no effect
	doubt    bool  // some attempt is not proven to have had no effect
	lost     int   // attempts lost in crashes since the last budget was given
	retryAt  time.Time
	stopped  bool // its host gave it up in order, which is no crash
	repeat   bool // the last attempt runs again, under its number
	progress []byte
	polled   bool // the payload is the state of a poll

	until     time.Time     // end of a wait, timeout of a callback; zero is none
	heartbeat time.Duration // a callback without one for so long times out; 0 is none
	beat      time.Time     // the last one
	key       string        // of the delivery that ends a callback or an invocation
	invoked   *invocation
	asked     bool // the execution had been asked to stop when it ended
	open      int  // operations directly in this context that have not ended

	resolved bool // an operator stated the outcome
	actor    string
	reason   string // with which an operator decided
	leaving  bool   // an entry about it is on its way that is in no journal yet
	old      bool   // it had ended before this activation
	untold   bool   // the observer has not been told of its end, because its code has not come past
	done     bool
	end      EntryKind
	payload  []byte
	err      *Error
	ended    time.Time
}

func newJournal() journal {
	return journal{byID: map[opID]*operation{}, counts: map[scopeID]int64{}, byKey: map[string]*operation{}, timed: map[int64]*operation{}, unended: map[int64]*operation{}, signals: map[string][]*Entry{}, run: 1}
}

// load applies entries read from a store.
func (j *journal) load(entries []Entry) error {
	for i := range entries {
		if err := j.apply(&entries[i]); err != nil {
			return fmt.Errorf("durable: journal entry %d: %w", i+1, err)
		}
	}
	j.forsaken = nil // closed by the commits that ended them
	return nil
}

// apply folds one more entry into the state.
func (j *journal) apply(e *Entry) error {
	if e.Kind != EntrySuspended {
		j.short = 0
	}
	if e.Kind == EntryTerminate || e.Kind == EntryVerb && abandons(e) {
		j.terminated = e
	}
	if e.Op == 0 {
		return j.applyToExecution(e)
	}
	if e.First {
		if e.Op != int64(len(j.ops))+1 {
			return fmt.Errorf("operation %d follows operation %d", e.Op, len(j.ops))
		}
		j.add(e)
	}
	if e.Op < 1 || e.Op > int64(len(j.ops)) {
		return fmt.Errorf("no operation %d", e.Op)
	}
	op := j.ops[e.Op-1]
	if op.done {
		return fmt.Errorf("operation %d (%s %q) has ended already", e.Op, op.typ, op.name)
	}
	j.advance(op, e)
	return nil
}

// applyToExecution folds in what concerns the execution as a whole.
func (j *journal) applyToExecution(e *Entry) error {
	switch e.Kind {
	case EntryCancel, EntryTimeout:
		if j.cancel == nil {
			j.cancel = e
		}
	case EntrySuspended:
		if j.short++; e.Delay == 0 {
			j.short = 0
		}
		for _, op := range j.unended {
			if (op.running || op.typ == OpInvoke) && op.epoch == e.Epoch {
				op.stopped = true
			}
		}
	case EntryParked:
		j.park = &Park{}
		return json.Unmarshal(e.Payload, j.park)
	case EntryVerb:
		return j.act(e)
	case EntrySignal:
		j.signals[e.Subtype] = append(j.signals[e.Subtype], e)
	case EntryContinued:
		*j = newJournal()
		j.run, j.input = int64(e.Attempt), e.Payload
	case EntryOutcome:
		j.outcome = e
	}
	return nil
}

// act applies an operator's verb to the operation over which the engine
// parked, if there is one.
func (j *journal) act(e *Entry) error {
	var d Decision
	if err := json.Unmarshal(e.Payload, &d); err != nil {
		return err
	}
	park := j.park
	j.park = nil
	j.unwound(&d, e)
	if park == nil || park.Op == 0 {
		return nil
	}
	if park.Op > int64(len(j.ops)) {
		return fmt.Errorf("no operation %d", park.Op)
	}
	op := j.ops[park.Op-1]
	op.resolved = op.resolved || d.Verb == VerbResolve
	defer func() {
		if op.done {
			j.leave(op)
		}
	}()
	switch {
	case d.Verb == VerbRetry:
		op.lost = 0
	case d.Verb == VerbResolve && d.NoEffect:
		op.doubt, op.unknown = false, false
		op.finish(&Entry{Kind: EntryFailure, At: e.At, Error: toStored(ErrResolvedNoEffect)})
	case d.Verb == VerbResolve:
		op.finish(&Entry{Kind: EntryResult, At: e.At, Payload: d.Output})
	}
	return nil
}

// unwound takes in that an operator has asked the execution to unwind: it is to
// stop, from there on.
func (j *journal) unwound(d *Decision, e *Entry) {
	if d.Verb == VerbUnwind && j.cancel == nil {
		j.cancel = &Entry{Kind: EntryCancel, At: e.At, Actor: e.Actor, Reason: e.Reason}
	}
}

// nextAttempt is the number of the attempt that comes next.
func (op *operation) nextAttempt() int {
	if op.repeat {
		return op.attempt
	}
	return op.attempt + 1
}

func (j *journal) add(e *Entry) {
	id := opID{scopeID{e.Parent, e.Scope, e.Pos >> branchShift}, e.Pos & (1<<branchShift - 1)}
	op := &operation{id: id, num: e.Op, typ: e.Type, subtype: e.Subtype, name: e.Name, path: e.path, link: e.Link, first: e.At, started: e.Kind == EntryStart}
	j.ops = append(j.ops, op)
	j.byID[id] = op
	j.counts[id.scopeID] = max(j.counts[id.scopeID], id.pos)
	j.unended[op.num] = op
	if up := j.parentOf(op); up != nil {
		up.open++
	}
	switch {
	case e.Type == OpWait && e.Kind == EntryStart:
		op.until = e.At.Add(e.Timeout)
	case e.Type == OpCallback && e.Kind == EntryStart:
		op.key = string(e.Payload)
		if e.Timeout > 0 {
			op.until = e.At.Add(e.Timeout)
		}
		op.heartbeat, op.beat = e.Heartbeat, e.At
		j.byKey[op.key] = op
		j.open++
	case e.Type == OpSignal && e.Kind == EntryStart && e.Timeout > 0:
		op.until = e.At.Add(e.Timeout)
	case e.Type == OpInvoke && e.Kind == EntryStart:
		j.addInvoked(op, e)
	}
	if !op.deadline().IsZero() {
		j.timed[op.num] = op
	}
}

// advance is the state machine of operations.
func (j *journal) advance(op *operation, e *Entry) {
	switch e.Kind {
	case EntryStart:
		op.attempt, op.running, op.repeat, op.stopped = e.Attempt, e.Attempt > 0, false, false
		op.since, op.timeout, op.epoch = e.At, e.Timeout, e.Epoch
		return
	case EntryProgress:
		op.progress = e.Payload
		return
	case EntryResult, EntryVerb:
		if e.Retry { // a poll after which the condition does not hold
			op.running, op.lost, op.polled, op.payload, op.retryAt = false, 0, true, e.Payload, e.At.Add(e.Delay)
			return
		}
		op.finish(e)
		op.actor, op.reason = e.Actor, e.Reason
		if e.Kind == EntryVerb {
			if d, err := fromJSON[Decision](e.Payload); err == nil { // else its code refuses it
				j.unwound(d, e)
			}
		}
		if op.typ == OpSignal {
			op.payload = j.takeSignal(op.name, e.Delivery)
		}
	case EntryFailure, EntryTimeout, EntryLost:
		op.unknown, op.rejected, op.asked = e.Kind != EntryFailure, e.NoEffect, j.cancel != nil
		op.doubt = op.doubt || !e.NoEffect
		op.running, op.err = false, e.Error
		if e.Kind == EntryLost && e.Attempt == 0 {
			op.repeat = true
			if !op.stopped {
				op.lost++
			}
		}
		if e.Retry {
			op.retryAt = e.At.Add(e.Delay)
			return
		}
		op.finish(e)
	case EntryCancel:
		if op.running {
			op.doubt = op.doubt || !e.NoEffect
			op.unknown = !e.NoEffect
		}
		op.finish(e)
	}
	if op.done {
		j.leave(op)
	}
}

// leave takes an operation that has ended off what is open. What a context
// leaves open in itself ends with it.
func (j *journal) leave(op *operation) {
	delete(j.timed, op.num)
	delete(j.unended, op.num)
	if op.key != "" {
		j.open--
	}
	if up := j.parentOf(op); up != nil {
		up.open--
	}
	if op.open == 0 {
		return
	}
	for _, inner := range j.unended {
		if !inner.done && j.within(inner, op) {
			if inner.running { // what became of the attempt is nobody's business, but for who would repeat it
				inner.doubt, inner.unknown = true, true
			}
			inner.finish(&Entry{Kind: EntryCancel, At: op.ended})
			if inner.key != "" {
				j.forsaken = append(j.forsaken, inner.key)
			}
			j.leave(inner)
		}
	}
}

func (j *journal) parentOf(op *operation) *operation {
	if op.id.parent == 0 {
		return nil
	}
	return j.ops[op.id.parent-1]
}

func (j *journal) within(op, context *operation) bool {
	for ; op != nil; op = j.parentOf(op) {
		if op == context {
			return true
		}
	}
	return false
}

func (op *operation) finish(e *Entry) {
	op.done, op.running = true, false
	op.end, op.payload, op.err, op.ended = e.Kind, e.Payload, e.Error, e.At
}

// stepOpen tells whether an attempt has a start and no end.
func (j *journal) stepOpen() bool {
	for _, op := range j.unended {
		if op.running {
			return true
		}
	}
	return false
}

// describe names an operation in errors.
func (op *operation) describe() string {
	return describeOp(op.typ, op.subtype, op.name)
}

func describeOp(t OpType, subtype, name string) string {
	s := t.String()
	if subtype != "" {
		s += " (" + subtype + ")"
	}
	return fmt.Sprintf("%s %q", s, name)
}

// deadline is when time ends a wait or a callback; zero is never.
func (op *operation) deadline() time.Time {
	if op.heartbeat == 0 {
		return op.until
	}
	return earliest(op.until, op.beat.Add(op.heartbeat))
}

// hear takes in the last heartbeats of callbacks, by key. They are not in the
// journal: only that one was missed is.
func (j *journal) hear(beats map[string]time.Time) {
	for key, at := range beats {
		if op := j.byKey[key]; op != nil && at.After(op.beat) {
			op.beat = at
		}
	}
}

// nextTimer is the earliest end of an open wait, or timeout of an open
// callback; zero when there is none.
func (j *journal) nextTimer() time.Time {
	var next time.Time
	for _, op := range j.timed {
		next = earliest(next, op.deadline())
	}
	return next
}

// due returns the operations that time ends at t, in order of their start.
func (j *journal) due(t time.Time) []*operation {
	var due []*operation
	for _, op := range j.timed {
		if !op.deadline().After(t) {
			due = append(due, op)
		}
	}
	slices.SortFunc(due, func(a, b *operation) int { return cmp.Compare(a.num, b.num) })
	return due
}

// earliest is the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
