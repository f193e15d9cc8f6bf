package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// activation is one stretch of running: it holds a claim, runs the handler
// over the journal, and ends when the execution ends, suspends, parks, or
// belongs to somebody else.
//
// The handler's code runs in strands, bodies of steps in goroutines of their
// own. All of them append to the journal under mu, and one of them at a time,
// holding the write token, takes what is pending to the store. What concerns
// the activation as a whole (the claim, the clock, leaving) is attend's.
type activation struct {
	eng   *Engine
	def   *definition
	id    Identity
	owner string
	epoch int64
	safe  int64 // no code of an epoch up to this one can still run

	crashes int

	// token is held by the goroutine that writes. A channel, not a mutex:
	// whoever waits for it must count as blocked in virtual time.
	token chan struct{}
	seq   int64 // of the last commit; guarded by token
	// create is the write that puts the record, until it has landed; guarded
	// by token.
	create *Create
	born   chan error // receives what became of create, once

	mu       sync.Mutex
	journal  journal
	pending  []Entry // appended, in no commit yet
	open     []string
	closed   []string
	progress bool
	seen     int64 // deliveries whose entries are in journal or pending
	extras   bool  // a write with extra entries is in flight
	late     []Delivery
	deaf     []chan struct{} // of bodies that nobody waits for any more; closed when they return
	detail   string
	lease    time.Time
	volatile *time.Timer   // flushes what has been pending for too long
	halted   error         // why this activation is over for its code
	over     chan struct{} // closed with it
	final    *Head         // how it left the execution, when it ended or parked
	leftHead *Head         // how it left the execution
	noTime   string        // why a step was not started here for lack of time
	moved    bool          // it has recorded something, suspensions apart
	since    time.Time     // when it began
	bg       sync.WaitGroup
	done     chan struct{} // closed when everything of it has returned
	gone     chan struct{} // of one that was born here: closed when the engine knows that too

	ctx   context.Context // what bodies' contexts derive from
	due   time.Time       // why it was claimed; zero when it was born here
	left  Status          // how it left the execution
	noted []*Observation  // for the observer, once durable

	// What the observer may ask for; without one they are not kept.
	lastRun *Observation // of the run that a write on its way ends
	head    Head         // as last written here
	written [][]Entry    // the journal, as far as it is durable, by writes

	strands map[*strand]struct{}
	blocked int           // strands that wait for something durable
	busy    int           // strands that run code of the handler
	wakes   int           // times that a strand went on
	calm    chan struct{} // closed when none does
	parking *write        // to be done once all strands wait
	hot     bool          // it waits in memory, and has given its slot away
	stir    chan struct{}
	looked  time.Time // when attend last looked after claim and inbox; its alone
}

// Why an activation is over.
var (
	errHaltSuspended = errors.New("suspended")
	errHaltParked    = errors.New("parked")
	errHaltEnded     = errors.New("ended")
	errHaltLost      = errors.New("claim lost")
)

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (e *Engine) newActivation(def *definition, id Identity, owner string) *activation {
	return &activation{
		eng: e, def: def, id: id, owner: owner, since: now(),
		token: make(chan struct{}, 1), journal: newJournal(),
		over: make(chan struct{}), done: make(chan struct{}),
		strands: map[*strand]struct{}{}, stir: make(chan struct{}, 1), looked: now(), ctx: e.bodies,
	}
}

// bear makes an activation of an execution that its first commit will create.
func (e *Engine) bear(def *definition, id Identity) *activation {
	a := e.newActivation(def, id, e.nonce())
	a.epoch, a.lease, a.born = 1, e.leaseFrom(now()), make(chan error, 1)
	a.gone = make(chan struct{})
	a.create = &Create{Identity: id, Owner: a.owner}
	a.head = Head{Identity: id, Activations: 1, Epoch: 1, Owner: a.owner}
	return a
}

// resume makes an activation of a record that was claimed.
func (e *Engine) resume(def *definition, rec *Record) (*activation, error) {
	a := e.newActivation(def, rec.Identity, rec.Owner)
	a.epoch, a.safe, a.lease, a.crashes = rec.Epoch, rec.SafeEpoch, rec.Lease, rec.Crashes
	a.seen, a.detail = rec.Seen, rec.Detail
	if err := a.journal.load(rec.Journal); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = a.journal.wasDue(rec)
	a.claimed(rec)
	for _, op := range a.journal.ops {
		op.old = op.done
	}
	a.journal.hear(rec.Heartbeats)
	a.incorporate(rec.Inbox)
	return a, nil
}

// run drives the activation, which is among the active ones, to its end. The
// caller has taken a slot for it.
func (a *activation) run() {
	a.begun()
	defer a.ended() // after all who wait have been told
	defer func() { a.eng.leaveActive(a.id.ID, a.final) }()
	defer close(a.done)
	defer a.cleanup()
	if a.loops() {
		a.park(a.crashLoop())
		return
	}
	if a.isDecided() {
		a.announce()
		return
	}
	if a.isTerminated() {
		a.terminate()
		return
	}
	if a.expire() != nil || a.fire() != nil {
		return
	}
	for a.once() {
	}
}

// loops tells whether so many activations in a row have ended with their
// process that this one must not even begin. If a step was running each time,
// the handler gets as far as that step, which parks over itself and knows what
// a person needs to know; but not for ever.
func (a *activation) loops() bool {
	limit := a.eng.opts.CrashesToPark
	return a.crashes >= limit+2 || a.crashes >= limit && !a.journal.stepOpen()
}

// handBack gives a claim back without having run anything.
func (a *activation) handBack() {
	for errors.Is(a.commit(a.suspension(now())), ErrUnseen) {
	}
	a.cleanup()
}

// cleanup ends what still runs on behalf of this activation.
func (a *activation) cleanup() {
	a.mu.Lock()
	a.halt(errHaltLost)
	if a.volatile != nil && a.volatile.Stop() {
		a.bg.Done()
	}
	if a.born != nil {
		select {
		case a.born <- ErrFenced: // nobody was told yet: it was given up before its first write
		default:
		}
	}
	a.mu.Unlock()
	a.bg.Wait()
}

// once runs the handler from the top and records how it ended. It returns
// true when the handler has to be asked again, because something arrived
// before its end was recorded.
func (a *activation) once() (again bool) {
	st := a.newStrand(nil)
	root := &Context{Context: context.WithoutCancel(a.ctx), a: a, st: st, scope: a.newScope(scopeID{}, "")}
	a.mu.Lock()
	asked := a.journal.cancel != nil
	a.parking = nil
	a.mu.Unlock()
	out := make(chan ending, 1)
	go st.handle(root, out)
	e := a.attend(out)
	<-st.gone
	a.mu.Lock()
	halted, parking := a.halted, a.parking
	a.mu.Unlock()
	switch {
	case halted != nil:
	case a.isTerminated():
		a.terminate()
	case parking != nil:
		parking.idle = false
		a.parkAs(parking)
	case e.panicked != "":
		a.park(a.bug(ParkPanic, "", fmt.Errorf("the handler panicked: %s\n%s", e.panicked, e.stack)))
	case e.goexit:
		a.park(a.bug(ParkPanic, "", errors.New("the handler's goroutine was ended by runtime.Goexit")))
	case e.bug != nil:
		a.park(a.bug(ParkNondeterminism, "", e.bug))
	default:
		if err := a.unconsumed(root.scope); err != nil {
			a.park(a.bug(ParkNondeterminism, "", err))
			return false
		}
		if left := a.undosLeft(root.scope); left != nil {
			a.park(*left)
			return false
		}
		a.freeInvoked(nil)
		if e.next != nil {
			err := a.continueAs(e.next, asked)
			return err == nil || errors.Is(err, ErrUnseen)
		}
		return errors.Is(a.finish(e, asked), ErrUnseen)
	}
	return false
}

// handle runs the handler's own strand.
func (st *strand) handle(root *Context, out chan<- ending) {
	defer st.leave()
	a := st.a
	e := ending{goexit: true}
	defer func() {
		if p := recover(); p != nil {
			e = ending{panicked: fmt.Sprint(p), stack: debug.Stack()}
		}
		st.joinKids()
		out <- e
	}()
	a.mu.Lock()
	input := a.id.Input
	if a.journal.run > 1 {
		input = a.journal.input
	}
	a.mu.Unlock()
	payload, err := a.def.run(root, input, a.eng.opts.MaxPayload)
	e = endingOf(payload, err) // here, because errors have methods of their own that may panic
}

// ending is how a handler's goroutine ended.
type ending struct {
	payload  []byte
	err      *Error
	stopped  Status // with err: as what it ends if the execution was asked to stop
	bug      error  // stored bytes and code do not agree
	next     []byte // input of the next run, not nil if there is to be one
	goexit   bool
	panicked string
	stack    []byte
}

func endingOf(payload []byte, err error) ending {
	e := ending{payload: payload, err: toStored(err), stopped: StatusFailed}
	var bug *storedFormError
	var next *nextRun
	switch {
	case errors.As(err, &bug):
		e.bug = bug
	case errors.As(err, &next):
		e.next = append([]byte{}, next.input...)
	case errors.Is(err, ErrTimedOut):
		e.stopped = StatusTimedOut
	case errors.Is(err, ErrCancelled):
		e.stopped = StatusCancelled
	}
	return e
}

// unconsumed finds operations that the journal has behind the last one that
// the code asked for: the code has become shorter than its journal.
func (a *activation) unconsumed(s *scope) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, way := range []struct {
		id  scopeID
		pos int64
	}{{s.id, s.pos}, {scopeID{s.id.parent, ScopeUnwind, s.id.branch}, s.unwound()}} {
		if op := a.journal.behind(way.id, way.pos); op != nil {
			return a.tooShort(s, way.pos, op)
		}
	}
	return nil
}

func (a *activation) tooShort(s *scope, pos int64, op *operation) error {
	return &NondeterminismError{
		Execution: a.id.ID, Place: fmt.Sprintf("%q, position %d", s.path, pos+1),
		Have: op.describe(), Want: "no operation",
	}
}

// unwound is how many operations of the way out the code has asked for.
func (s *scope) unwound() int64 {
	if s.out == nil {
		return 0
	}
	return s.out.pos
}

// finish records the end of the execution. asked says that the handler knew
// of a cancel from its beginning; if one came while it ran, it is asked again
// before the end is recorded, because Cancelled may decide otherwise then.
func (a *activation) finish(e ending, asked bool) error {
	w := write{ifSeen: true, unlessCancelled: !asked, unlessTerminated: true, status: StatusSucceeded, result: e.payload}
	if e.err != nil {
		w.status, w.result, w.err = StatusFailed, nil, e.err
		if asked {
			w.status = e.stopped
		}
	}
	return a.end(w)
}

// cancelled returns why the execution was asked to stop, or nil. a.mu is held.
func (a *activation) cancelled() *CancelledError {
	c := a.journal.cancel
	if c == nil {
		return nil
	}
	return &CancelledError{TimedOut: c.Kind == EntryTimeout, Actor: c.Actor, Reason: c.Reason}
}

// append adds an entry to the journal and to the next write. A completion
// starts no write by itself, but does not stay volatile for long either.
// a.mu is held.
func (a *activation) append(e Entry) {
	if err := a.journal.apply(&e); err != nil {
		a.inconsistent(err)
		return
	}
	if a.halted != nil {
		return // the code may go on to its next operation with what it did; nobody else sees it
	}
	a.note(&e)
	a.pending, a.moved = append(a.pending, e), true
	a.closed = append(a.closed, a.journal.forsaken...)
	a.journal.forsaken = nil
	if e.Kind == EntryResult || e.Kind == EntryFailure {
		a.progress = true
	}
	if a.volatile == nil {
		a.bg.Add(1)
		a.volatile = time.AfterFunc(a.eng.opts.Volatile, func() {
			defer a.bg.Done()
			_ = a.flush() // an error has halted the activation, which is where it shows
		})
	}
}

// inconsistent gives an activation up whose journal contradicts itself, which
// only a bug of this package can bring about. Nothing of it is written; the
// record's crash count parks the execution if it happens again and again.
// a.mu is held.
func (a *activation) inconsistent(err error) {
	a.log(slog.LevelError, "bug in clew, please report it: the journal contradicts itself", "error", err)
	a.halt(errHaltLost)
}

// incorporate moves deliveries into the journal. a.mu is held.
func (a *activation) incorporate(unseen []Delivery) {
	if a.extras {
		// What is in flight comes before these in the journal, and is not in
		// memory yet: they wait until it is, or a replay would see another order.
		a.late = append(a.late, unseen...)
		return
	}
	for i := range unseen {
		d := &unseen[i]
		if d.Seq <= a.seen {
			continue
		}
		a.seen = d.Seq
		a.accept(d)
	}
	if len(unseen) > 0 {
		a.wakeReady()
		a.reachBodies()
	}
}

// accept records one delivery. One that nothing waits for any more leaves no
// entry; it is seen all the same.
func (a *activation) accept(d *Delivery) {
	e := Entry{At: now(), Actor: d.Actor, Reason: d.Reason, Delivery: d.Seq, Payload: d.Payload, Error: d.Error}
	switch d.Kind {
	case DeliverCancel:
		a.acceptStop(d, e)
	case DeliverCallback:
		if op := a.journal.byKey[d.Key]; op != nil && !op.done {
			e.Kind, e.Op = EntryResult, op.num
			if d.Error != nil {
				e.Kind = EntryFailure
			}
			if op.typ == OpInvoke {
				e.endInvoked(d.Reason)
			}
			a.append(e)
		}
	case DeliverSignal:
		e.Kind, e.Subtype = EntrySignal, signalName(d.Key)
		a.append(e)
	case DeliverVerb:
		e.Kind = EntryVerb
		if op := a.journal.parked(); op != nil && a.journal.park == nil {
			e.Op = op.num
		}
		a.append(e)
	}
}

// acceptStop records a request to stop, or to end without the code. a.mu is
// held.
func (a *activation) acceptStop(d *Delivery, e Entry) {
	e.Payload = nil
	switch {
	case d.Key == terminateKey && a.journal.terminated == nil:
		e.Kind = EntryTerminate
		a.append(e)
		for st := range a.strands {
			st.stop()
		}
	case d.Key != terminateKey && a.journal.cancel == nil:
		e.Kind = EntryCancel
		a.append(e)
	}
}

// parked returns the park operation that waits for a verb, if the execution
// was parked by its own code.
func (j *journal) parked() *operation {
	for _, op := range j.unended {
		if op.typ == OpPark {
			return op
		}
	}
	return nil
}

// halt ends the activation for its code: operations become inert, blocked
// ones end their goroutine, and bodies are told. a.mu is held.
func (a *activation) halt(why error) {
	if a.halted != nil {
		return
	}
	a.halted = why
	close(a.over)
	a.wakeReady()
	for st := range a.strands {
		if st.body != nil && why != errHaltSuspended {
			st.body.cancel(fmt.Errorf("%w: %w", ErrHostGone, why))
		}
	}
	a.stirUp()
}

func (a *activation) log(level slog.Level, msg string, args ...any) {
	a.eng.opts.Logger.Log(a.eng.hard, level, msg, append([]any{"execution", a.id.ID, "definition", a.def.name + "@" + a.def.version}, args...)...)
}
