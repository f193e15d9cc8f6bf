package durable

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// Context is the handle through which a handler calls operations. It belongs
// to one activation and one goroutine, and is of no use inside the body of a
// step, which gets a plain context.Context instead.
//
// The embedded context.Context carries values; it is not cancelled when the
// execution is: operations then return ErrCancelled, at the same place on
// every replay.
type Context struct {
	context.Context
	a     *activation
	st    *strand // whose code uses it
	scope *scope
	// shielded: cancel and deadline do not reach operations on this handle.
	shielded bool
	stop     *stopper // of the groups around it, nil if there is none
}

// scope is a sequence of positions under one parent.
type scope struct {
	id    scopeID
	path  string // of the parent, ending in "/", or "" at the root
	pos   int64
	names map[string]int
	busy  atomic.Bool
	out   *scope // of the way out, once it has begun
	// undoable has, by name, the operation that was registered last; toUndo is
	// how many are neither undone nor forgotten
	undoable map[string]int
	toUndo   int
	// strands that Go has started here; they end with the context at the latest
	started []*strand
}

func (a *activation) newScope(id scopeID, path string) *scope {
	return &scope{id: id, path: path, names: map[string]int{}}
}

// ExecutionID returns the ID of the execution.
func (c *Context) ExecutionID() string { return c.a.id.ID }

// Shielded returns a handle to the same place in the execution that cancel
// and deadline do not reach: its operations run as if nobody had asked.
func (c *Context) Shielded() *Context {
	s := *c
	s.shielded = true
	return &s
}

// Unwinding returns a handle for the way out: shielded, and with positions of
// its own, so that what is undone never shifts what went forward. There is
// one per parent context: further calls go on where it is.
func (c *Context) Unwinding() *Context {
	if c.scope.id.scope == ScopeUnwind {
		return c
	}
	if c.scope.out == nil {
		id := c.scope.id
		id.scope = ScopeUnwind
		c.scope.out = c.a.newScope(id, c.scope.path)
	}
	return &Context{Context: c.Context, a: c.a, st: c.st, shielded: true, scope: c.scope.out}
}

// NoMoreForward says that the code asks for no further operation on this handle
// but those of the way out. If the journal has one, because the code has become
// shorter, the execution parks: what came later must not stand while what came
// before it is undone. It is for layers that undo, as package saga.
func (c *Context) NoMoreForward() {
	c.a.mu.Lock()
	op := c.a.journal.behind(c.scope.id, c.scope.pos)
	c.a.mu.Unlock()
	if op != nil && !c.st.over() {
		c.st.parkAndExit(c.a.bug(ParkNondeterminism, c.scope.path, c.a.tooShort(c.scope, c.scope.pos, op)))
	}
}

// Replaying tells whether the code is still passing what the journal has: the
// next operation on this handle has been recorded before. It is for logs,
// which should not tell a thing twice, and must decide nothing else.
func (c *Context) Replaying() bool {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	return c.a.journal.byID[opID{c.scope.id, c.scope.pos + 1}] != nil
}

// SetStatus sets the execution's custom status. It costs no write: the next
// one carries it. It is not recorded; a replay sets it again.
func (c *Context) SetStatus(status string) {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	if c.a.halted == nil {
		c.a.detail = status
	}
}

// Fingerprint is that of the definition whose code this is, "" if it has none.
func (c *Context) Fingerprint() string { return c.a.def.fingerprint }

// Cancelled returns the *CancelledError with which operations answer now that
// the execution was asked to stop, or nil. On a replay it is not nil from the
// beginning, so it may decide only what comes after the last operation: the
// engine asks the handler again when a cancel arrives before the end is
// recorded.
func (c *Context) Cancelled() error {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	if err := c.a.cancelled(); err != nil {
		return err
	}
	return nil
}

// reached returns why operations on this handle must not run, or nil.
// a.mu is held.
func (c *Context) reached() error {
	if c.shielded {
		return nil
	}
	if err := c.a.cancelled(); err != nil {
		return err
	}
	return c.stop.asked()
}

// call is one operation of the handler on its way through the engine.
type call struct {
	c    *Context
	id   opID
	typ  OpType
	sub  string
	name string
	link int64
	path string     // of names: <parent's path><name>, with #n from the second use on
	op   *operation // nil until its first entry
	room bool       // not counted against MaxOperations
}

// begin takes the next position for an operation and compares it with the
// journal. Every successful begin is followed by end. a.mu is not held.
func (c *Context) begin(typ OpType, sub, name string, link int64) (*call, error) {
	if len(name) > MaxNameLength {
		return nil, Permanent(fmt.Errorf("%w: the name of %s %.40q… has %d bytes, the limit is %d", ErrInvalid, typ, name, len(name), MaxNameLength))
	}
	k := &call{c: c, typ: typ, sub: sub, name: name, link: link}
	if err := k.enter(); err != nil {
		return nil, err
	}
	c.skipGates(sub, name)
	c.scope.pos++
	k.place(c.scope.pos)
	if err := k.locate(); err != nil {
		k.end()
		return nil, err
	}
	return k, nil
}

// place gives the operation its position, and its path after its name.
func (k *call) place(pos int64) {
	s := k.c.scope
	k.id = opID{s.id, pos}
	switch k.sub {
	case subtypeVersion: // it comes and goes, and must not change the keys of others
		k.path = s.path + escape(k.name)
		return
	case SubtypeUndoable: // the name is that of what follows
		k.path = s.path + escape(k.name) + "/undo"
		return
	}
	s.names[k.name]++
	k.path = s.pathOf(k.name, s.names[k.name])
	if s.id.scope == ScopeUnwind {
		k.path += "/undo"
	}
}

// pathOf is the path of the n-th operation by a name.
func (s *scope) pathOf(name string, n int) string {
	path := s.path + escape(name)
	if n > 1 || name == "" {
		path += "#" + strconv.Itoa(n)
	}
	return path
}

// locate finds the operation in the journal. The code must ask for what stands
// there; if it does not, locate parks and does not return.
func (k *call) locate() error {
	a := k.c.a
	a.mu.Lock()
	if k.op = a.journal.byID[k.id]; k.op != nil {
		k.op.path = k.path
	}
	mismatch := k.op != nil && (k.op.typ != k.typ || k.op.subtype != k.sub || k.op.name != k.name)
	// There is always room for the way out, and for asking a person.
	full := k.op == nil && len(a.journal.ops) >= a.eng.opts.MaxOperations && k.id.scope != ScopeUnwind && k.typ != OpPark && !k.room
	a.mu.Unlock()
	switch {
	case mismatch:
		k.c.st.parkAndExit(a.bug(ParkNondeterminism, k.path, &NondeterminismError{
			Execution: a.id.ID, Place: fmt.Sprintf("%q, position %d", k.c.scope.path, k.id.pos),
			Have: k.op.describe(), Want: describeOp(k.typ, k.sub, k.name),
		}))
	case full:
		return Permanent(fmt.Errorf("%w: %s %q would be number %d", ErrTooManyOperations, k.typ, k.name, a.eng.opts.MaxOperations+1))
	}
	k.replayed()
	return nil
}

// behind returns the first operation after a position, gates apart, or nil.
func (j *journal) behind(id scopeID, pos int64) *operation {
	for pos < j.counts[id] {
		pos++
		if op := j.byID[opID{id, pos}]; op == nil || op.subtype != subtypeVersion {
			return op
		}
	}
	return nil
}

// enter takes the handle for an operation, until end. It does not return once
// the code must not go on.
func (k *call) enter() error {
	c := k.c
	if !c.scope.busy.CompareAndSwap(false, true) {
		return Permanent(fmt.Errorf("%w: %s %q", ErrNested, k.typ, k.name))
	}
	c.a.mu.Lock()
	over, ending, nested := c.a.halted != nil || c.st.stopped, c.st.ending, c.st.body != nil
	c.a.mu.Unlock()
	if !over && !nested {
		return nil
	}
	k.end()
	switch {
	case ending: // a deferred function, on the way out
		return ErrSuspended
	case over:
		c.st.exit()
	}
	return Permanent(fmt.Errorf("%w: %s %q", ErrNested, k.typ, k.name)) // a captured handle, used inside a step's body
}

func (k *call) end() { k.c.scope.busy.Store(false) }

// key is the idempotency key of the operation: stable across attempts,
// activations, hosts and positions.
func (k *call) key() string { return k.keyOf(k.path) }

func (k *call) keyOf(path string) string {
	return escape(k.c.a.id.ID) + "/" + strconv.FormatInt(k.c.a.journal.run, 10) + "/" + path
}

// escape keeps a name from looking like more than one part of a key.
func escape(name string) string {
	switch {
	case name == "undo":
		return "%75ndo"
	case !strings.ContainsAny(name, "%/#"):
		return name
	}
	return strings.NewReplacer("%", "%25", "/", "%2F", "#", "%23").Replace(name)
}

// entry returns an entry about this operation; the operation's first one says
// which it is. a.mu is held.
func (k *call) entry(kind EntryKind) Entry {
	e := Entry{Kind: kind, At: now()}
	if k.op != nil {
		e.Op = k.op.num
		return e
	}
	e.First, e.Op, e.path = true, int64(len(k.c.a.journal.ops))+1, k.path
	e.Parent, e.Scope, e.Pos = k.id.parent, k.id.scope, k.id.branch<<branchShift|k.id.pos
	e.Type, e.Subtype, e.Name, e.Link = k.typ, k.sub, k.name, k.link
	return e
}

// record appends an entry about this operation. a.mu is held.
func (k *call) record(e Entry) {
	k.c.a.append(e)
	if k.op == nil {
		k.op = k.c.a.journal.byID[k.id]
	}
}

// recordCancelled ends an operation that cancel reached before it started.
// a.mu is held.
func (k *call) recordCancelled() {
	e := k.entry(EntryCancel)
	e.NoEffect = true
	k.record(e)
}
