package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// activation is one stretch of running: it holds a claim, runs the handler
// over the journal, and ends when the execution ends, suspends, parks, or
// belongs to somebody else.
//
// The handler's goroutine calls operations; bodies of steps run in goroutines
// of their own. All of them append to the journal under mu, and one of them
// at a time, holding the write token, takes what is pending to the store.
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
	exiting  bool                // the handler's goroutine is ending
	deaf     []<-chan bodyResult // of bodies that nobody waits for any more
	detail   string
	lease    time.Time
	volatile *time.Timer   // flushes what has been pending for too long
	changed  chan struct{} // closed and replaced when something arrived from outside
	body     *body         // the step's body that runs now
	halted   error         // why this activation is over for its code
	final    *Head         // how it left the execution, when it ended or parked
	bg       sync.WaitGroup
	done     chan struct{} // closed when everything of it has returned
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
		eng: e, def: def, id: id, owner: owner,
		token: make(chan struct{}, 1), journal: newJournal(),
		changed: make(chan struct{}), done: make(chan struct{}),
	}
}

// bear makes an activation of an execution that its first commit will create.
func (e *Engine) bear(def *definition, id Identity) *activation {
	a := e.newActivation(def, id, e.nonce())
	a.epoch, a.lease, a.born = 1, now().Add(e.opts.Lease), make(chan error, 1)
	a.create = &Create{Identity: id, Owner: a.owner}
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
	a.journal.hear(rec.Heartbeats)
	a.incorporate(rec.Inbox)
	return a, nil
}

// run drives the activation to its end. The caller has taken a slot for it.
func (a *activation) run() {
	defer close(a.done)
	defer a.cleanup()
	if a.loops() {
		a.park(a.crashLoop())
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
	for errors.Is(a.suspend(now()), ErrUnseen) {
	}
	a.cleanup()
}

// cleanup ends what still runs on behalf of this activation.
func (a *activation) cleanup() {
	a.mu.Lock()
	if a.halted == nil {
		a.halted = errHaltLost
	}
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
	root := &Context{Context: a.eng.values, a: a, scope: a.newScope(0, ScopeForward, "")}
	a.mu.Lock()
	asked := a.journal.cancel != nil
	a.exiting = false
	a.mu.Unlock()
	out := make(chan ending, 1)
	go func() {
		e := ending{goexit: true}
		defer func() {
			if p := recover(); p != nil {
				e = ending{panicked: fmt.Sprint(p), stack: debug.Stack()}
			}
			out <- e
		}()
		payload, err := a.def.run(root, a.id.Input, a.eng.opts.MaxPayload)
		e = endingOf(payload, err) // here, because errors have methods of their own that may panic
	}()
	e := <-out
	a.mu.Lock()
	halted := a.halted
	a.mu.Unlock()
	switch {
	case halted != nil:
		return false
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
		return errors.Is(a.finish(e, asked), ErrUnseen)
	}
	return false
}

// ending is how a handler's goroutine ended.
type ending struct {
	payload  []byte
	err      *Error
	stopped  Status // with err: as what it ends if the execution was asked to stop
	bug      error  // stored bytes and code do not agree
	goexit   bool
	panicked string
	stack    []byte
}

func endingOf(payload []byte, err error) ending {
	e := ending{payload: payload, err: toStored(err), stopped: StatusFailed}
	var bug *storedFormError
	switch {
	case errors.As(err, &bug):
		e.bug = bug
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
	}{{s.id, s.pos}, {scopeID{s.id.parent, ScopeUnwind}, s.unwound()}} {
		if a.journal.counts[way.id] > way.pos {
			op := a.journal.byID[opID{way.id, way.pos + 1}]
			return &NondeterminismError{
				Execution: a.id.ID, Place: fmt.Sprintf("%q, position %d", s.path, way.pos+1),
				Have: op.describe(), Want: "no operation",
			}
		}
	}
	return nil
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
	w := write{ifSeen: true, unlessCancelled: !asked, status: StatusSucceeded, result: e.payload}
	if e.err != nil {
		w.status, w.result, w.err = StatusFailed, nil, e.err
		if asked {
			w.status = e.stopped
		}
	}
	return a.commit(w)
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
	a.pending = append(a.pending, e)
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
		close(a.changed)
		a.changed = make(chan struct{})
		a.reachBody()
	}
}

// accept records one delivery. One that nothing waits for any more leaves no
// entry; it is seen all the same.
func (a *activation) accept(d *Delivery) {
	e := Entry{At: now(), Actor: d.Actor, Reason: d.Reason, Delivery: d.Seq, Payload: d.Payload, Error: d.Error}
	switch d.Kind {
	case DeliverCancel:
		if a.journal.cancel == nil {
			e.Kind, e.Payload = EntryCancel, nil
			a.append(e)
		}
	case DeliverCallback:
		if op := a.journal.byKey[d.Key]; op != nil && !op.done {
			e.Kind, e.Op = EntryResult, op.num
			if d.Error != nil {
				e.Kind = EntryFailure
			}
			a.append(e)
		}
	case DeliverVerb:
		e.Kind = EntryVerb
		if op := a.journal.parked(); op != nil && a.journal.park == nil {
			e.Op = op.num
		}
		a.append(e)
	}
}

// parked returns the park operation that waits for a verb, if the execution
// was parked by its own code.
func (j *journal) parked() *operation {
	for i := len(j.ops) - 1; i >= 0; i-- {
		if op := j.ops[i]; op.typ == OpPark && !op.done {
			return op
		}
	}
	return nil
}

// expire records that the execution's deadline has passed, if it has. A
// delivery that the store accepted before wins. It returns an error when the
// activation is over.
func (a *activation) expire() error {
	for !a.id.Deadline.IsZero() {
		a.mu.Lock()
		due := a.journal.cancel == nil && !now().Before(a.id.Deadline)
		a.mu.Unlock()
		if !due {
			return nil
		}
		err := a.commit(write{ifSeen: true, status: StatusRunning, extra: []Entry{{Kind: EntryTimeout, At: now()}}})
		if err != nil && !errors.Is(err, ErrUnseen) {
			return err
		}
	}
	return nil
}

// overdue ends the waits whose time has come, and returns the timeouts of
// callbacks to be recorded, with their keys; mute, that one of them is for want
// of a heartbeat.
func (a *activation) overdue(at time.Time) (late []Entry, keys []string, mute bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, op := range a.journal.due(at) {
		if op.typ == OpWait {
			// A cancel that came first ends the wait, unless it is shielded,
			// which only the code that waits can tell.
			if a.journal.cancel == nil {
				a.append(Entry{Kind: EntryResult, Op: op.num, At: at})
			}
			continue
		}
		why := ErrCallbackTimeout
		if op.until.IsZero() || op.until.After(at) {
			why, mute = ErrCallbackHeartbeat, true
		}
		late = append(late, Entry{Kind: EntryTimeout, Op: op.num, At: at, Error: toStored(why)})
		keys = append(keys, op.key)
	}
	return late, keys, mute
}

// fire ends every wait whose time has come and every callback whose timeout
// has, whether or not the code is blocked on it. A result that the store
// accepted before the timeout's commit wins, and a heartbeat that it has got
// meanwhile. It returns an error when the activation is over.
func (a *activation) fire() error {
	for heard := false; ; {
		late, keys, mute := a.overdue(now())
		switch {
		case len(late) == 0:
			return nil
		case mute && !heard:
			if err := a.hear(); err != nil {
				return err
			}
			heard = true
			continue
		}
		a.mu.Lock()
		a.closed = append(a.closed, keys...)
		a.mu.Unlock()
		if err := a.commit(write{ifSeen: true, status: StatusRunning, extra: late}); !errors.Is(err, ErrUnseen) {
			return err
		}
		a.mu.Lock() // decided anew
		a.closed = slices.DeleteFunc(a.closed, func(key string) bool { return slices.Contains(keys, key) })
		a.mu.Unlock()
	}
}

// halt ends the activation for its code: operations become inert, blocked
// ones end their goroutine, and bodies are told. a.mu is held.
func (a *activation) halt(why error) {
	if a.halted != nil {
		return
	}
	a.halted = why
	close(a.changed)
	a.changed = make(chan struct{})
	if a.body != nil && why != errHaltSuspended {
		a.body.cancel(fmt.Errorf("%w: %w", ErrHostGone, why))
	}
}

// exit ends the handler's goroutine, whose deferred functions run. From then
// on operations answer ErrSuspended.
func (a *activation) exit() {
	a.mu.Lock()
	a.exiting = true
	a.mu.Unlock()
	runtime.Goexit()
}

// await blocks the handler until ready or until the time has come, whichever
// is first; zero means never. What cannot be waited for in memory suspends
// the execution, and then await does not return: the goroutine ends and its
// deferred functions run, as with runtime.Goexit.
func (a *activation) await(ready func() bool, until time.Time) {
	for {
		if a.expire() != nil || a.fire() != nil {
			a.exit()
		}
		a.mu.Lock()
		halted, changed := a.halted, a.changed
		isReady := halted == nil && ready()
		next := earliest(until, a.journal.nextTimer())
		if a.journal.cancel == nil {
			next = earliest(next, a.id.Deadline)
		}
		a.mu.Unlock()
		switch {
		case halted != nil:
			a.exit()
		case isReady, !until.IsZero() && !now().Before(until):
			return
		}
		if a.stayHot(next, changed) {
			continue
		}
		if err := a.suspend(next); !errors.Is(err, ErrUnseen) {
			a.exit()
		}
	}
}

// stayHot waits in memory when the wait is short enough and there is room;
// false means that the execution has to be suspended instead.
func (a *activation) stayHot(next time.Time, changed chan struct{}) bool {
	left := next.Sub(now())
	if next.IsZero() || left > a.eng.opts.HotWait || a.eng.isDraining() || !a.eng.enterHot() {
		return false
	}
	defer a.eng.leaveHot()
	timer := time.NewTimer(left)
	defer timer.Stop()
	check := time.NewTicker(a.eng.opts.InboxCheck)
	defer check.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-changed:
			return true
		case <-a.eng.draining:
			return true
		case <-check.C:
			a.keep()
		}
	}
}

// suspend ends the activation until next (zero: until a delivery).
func (a *activation) suspend(next time.Time) error {
	return a.commit(write{ifSeen: true, status: StatusSuspended, due: next, extra: []Entry{{Kind: EntrySuspended, At: now(), Epoch: a.epoch}}})
}

// handOver suspends an execution that could go on at once, because this host
// is draining. It does not return unless there is no need.
func (a *activation) handOver() {
	for a.eng.isDraining() {
		if err := a.suspend(now()); !errors.Is(err, ErrUnseen) {
			a.exit()
		}
	}
}

// keep holds the claim and fetches what arrived from outside, while a body
// runs or a short wait stays in memory.
func (a *activation) keep() {
	if a.expire() != nil {
		return
	}
	a.mu.Lock()
	renew := a.lease.Sub(now()) < a.eng.opts.Lease/2
	a.mu.Unlock()
	if renew {
		_ = a.commit(write{status: StatusRunning, renew: true}) // an error has halted the activation
		return
	}
	a.checkInbox()
}

// checkInbox reads the inbox and the heartbeats without writing.
func (a *activation) checkInbox() {
	ctx, cancel := context.WithTimeout(a.eng.hard, a.eng.opts.StoreTimeout)
	defer cancel()
	rec, err := a.eng.store.Load(ctx, a.id.ID, LoadHead)
	if err != nil {
		a.log(slog.LevelWarn, "inbox check failed", "error", err)
		return
	}
	a.takeIn(rec)
}

// hear is checkInbox for what may not be decided without it.
func (a *activation) hear() error {
	return a.eng.insist(a.eng.hard, func(ctx context.Context) error {
		rec, err := a.eng.store.Load(ctx, a.id.ID, LoadHead)
		if err == nil {
			a.takeIn(rec)
		}
		return err
	})
}

func (a *activation) takeIn(rec *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rec.Epoch != a.epoch {
		a.halt(errHaltLost)
		return
	}
	if a.halted == nil {
		a.journal.hear(rec.Heartbeats)
		a.incorporate(rec.Inbox)
	}
}

func (a *activation) log(level slog.Level, msg string, args ...any) {
	a.eng.opts.Logger.Log(a.eng.hard, level, msg, append([]any{"execution", a.id.ID, "definition", a.def.name + "@" + a.def.version}, args...)...)
}
