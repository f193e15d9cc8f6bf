package saga

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/clewdev/clew/durable"
)

// class is what a step declares about its effect.
type class uint8

const (
	unclassified class = iota
	undoable
	readOnly
	irreversible
	retriable
	pivot
)

// subtype is how histories call a forward step of the class. What can be undone
// is the rule, and has none.
func (c class) subtype() string {
	return [...]string{"", "", "ReadOnly", "Irreversible", "Retriable", durable.SubtypePivot}[c]
}

// subtypeSub is how histories call the context of a sub-saga.
const subtypeSub = durable.SubtypeSubSaga

func (c class) String() string {
	return [...]string{"unclassified", "undoable", "read-only", "irreversible", "retriable", "pivot"}[c]
}

// step is a declared step with its result's type erased: results travel as
// the JSON in which they are stored.
type step struct {
	named
	class
	why string // of an irreversible one

	// One of the three.
	body func(Context, any) (json.RawMessage, error)
	ask  func(Context, any, string) error
	flow func(*durable.Context, any) (json.RawMessage, error)

	remind func(Context, any, string) error // of an ask, every settings.reminders

	check  func(json.RawMessage) error // whether a result is one of this step's
	verify func(Context, any) (verdict, error)
	undo   func(UndoContext, any, json.RawMessage, bool) error

	settings     settings
	undoSettings settings
}

// settings are how a body runs, and its undo.
type settings struct {
	retry       durable.Retry
	timeout     time.Duration
	atMostOnce  bool
	keyLifetime time.Duration
	limit       *Limit

	heartbeat, reminders, asking time.Duration // of an ask
}

// named are the names of the settings that were set.
func (s *settings) named() (names []string) {
	for _, set := range []struct {
		name string
		is   bool
	}{
		{"Retry", !reflect.ValueOf(s.retry).IsZero()}, {"Timeout", s.timeout != 0}, {"AtMostOnce", s.atMostOnce},
		{"KeyLifetime", s.keyLifetime != 0}, {"Limit", s.limit != nil},
	} {
		if set.is {
			names = append(names, set.name)
		}
	}
	return names
}

// Forward is a step that is being declared. It counts only once it has been
// classified, by Undo, ReadOnly, Irreversible or Retriable; those return the
// step's Output.
type Forward[In, T any] struct {
	p *plan
	s *step
}

// Step declares a step with a result. body runs at least once (see
// AtMostOnce) under one idempotency key, Context.Key; its error means:
// retry by policy, then unwind; wrapped in Reject, that it had no effect.
func Step[In, T any](s Scope[In], name string, body func(Context, In) (T, error)) *Forward[In, T] {
	b := s.scope()
	st := b.step(name, body == nil)
	st.body, st.check = erase(body), decodes[T]
	return &Forward[In, T]{b.p, st}
}

// erase encodes what a body returns.
func erase[In, T any](body func(Context, In) (T, error)) func(Context, any) (json.RawMessage, error) {
	return func(c Context, in any) (json.RawMessage, error) {
		v, err := body(c, as[In](in))
		if err != nil {
			return nil, err
		}
		return marshal(v)
	}
}

// Retry sets the policy for failed attempts; zero fields keep the default: 6
// attempts, 5 s, ×2, at most 60 s; after the pivot 1 s, ×2, at most 5
// minutes, for 24 h.
func (f *Forward[In, T]) Retry(r durable.Retry) *Forward[In, T] {
	f.s.settings.retry = r
	return f
}

// Timeout bounds each attempt. Default 30 s.
func (f *Forward[In, T]) Timeout(d time.Duration) *Forward[In, T] {
	f.p.positive(f.s, "Timeout", d)
	f.s.settings.timeout = d
	return f
}

// AtMostOnce: an attempt whose outcome is unknown is followed by another only
// if Verify says that it had no effect; else the step is in doubt.
func (f *Forward[In, T]) AtMostOnce() *Forward[In, T] {
	f.s.settings.atMostOnce = true
	return f
}

// KeyLifetime says how long participants honour the step's idempotency key.
// Past it, counted from the first start, no attempt is repeated under the
// key: Verify decides, and without one the saga parks.
func (f *Forward[In, T]) KeyLifetime(d time.Duration) *Forward[In, T] {
	f.p.positive(f.s, "KeyLifetime", d)
	f.s.settings.keyLifetime = d
	return f
}

// Limit makes the body wait for its turn, within the attempt's timeout. An
// attempt that does not get one has had no effect, and counts as one of the
// policy's.
func (f *Forward[In, T]) Limit(l *Limit) *Forward[In, T] {
	f.s.settings.limit = l
	return f
}

// Heartbeat is for Await: whoever is to answer says at least every d that it is
// still at work, by engine.HeartbeatCallback, or the step fails as if its Timeout
// had passed (durable.ErrCallbackHeartbeat), and the saga unwinds.
func (f *Forward[In, T]) Heartbeat(d time.Duration) *Forward[In, T] {
	f.p.positive(f.s, "Heartbeat", d)
	f.p.onlyAwait(f.s, "Heartbeat")
	f.s.settings.heartbeat = d
	return f
}

// AskTimeout is for Await, whose Timeout bounds the answer: it bounds each attempt
// of asking, and of reminding. Default 30 s; less for hosts that end soon, which
// start no attempt that may outlast them.
func (f *Forward[In, T]) AskTimeout(d time.Duration) *Forward[In, T] {
	f.p.positive(f.s, "AskTimeout", d)
	f.p.onlyAwait(f.s, "AskTimeout")
	f.s.settings.asking = d
	return f
}

// Remind is for Await: while there is no answer remind is called again and again,
// for the first time when every has passed since it was asked; never when Timeout
// has come by then. It gets the callback's ID, and a key of its own each time. It
// is retried as asking is, and one that fails for good is left out. What reminders
// did stands, whatever becomes of the step; one that is under way when the answer
// comes is given up, and may still arrive.
func (f *Forward[In, T]) Remind(every time.Duration, remind func(c Context, in In, callbackID string) error) *Forward[In, T] {
	f.p.positive(f.s, "Remind", every)
	f.p.onlyAwait(f.s, "Remind")
	if remind == nil {
		f.p.problem(f.s.at, "step %q: Remind got a nil func: pass one, or drop the call", f.s.name)
		return f
	}
	f.s.settings.reminders = every
	f.s.remind = func(c Context, in any, callbackID string) error { return remind(c, as[In](in), callbackID) }
	return f
}

// Verify finds out whether a step in doubt happened. It runs only when no
// attempt can still be running here. Answering NoEffect promises that the
// effect can no longer happen either: the participant must refuse a late
// request. An error is asked again, for up to 24 h.
func (f *Forward[In, T]) Verify(verify func(Context, In) (Verdict[T], error)) *Forward[In, T] {
	setVerify(f.p, f.s, verify)
	return f
}

func setVerify[In, T any](p *plan, s *step, verify func(Context, In) (Verdict[T], error)) {
	if verify == nil {
		p.problem(s.at, "step %q: Verify got a nil func: pass one, or drop the call", s.name)
		return
	}
	s.verify = func(c Context, in any) (verdict, error) {
		v, err := verify(c, as[In](in))
		return v.v, err
	}
}

// Undo classifies the step as undoable. undo runs when the saga unwinds and
// the step was started and is not proven to have had no effect. A step in
// doubt hands it an absent result: find the effect by UndoContext.ForwardKey,
// and leave a tombstone at the participant, so that a late request is
// refused. undo itself runs at least once and must be idempotent.
func (f *Forward[In, T]) Undo(undo func(UndoContext, In, Maybe[T]) error, opts ...UndoOption) Output[T] {
	f.p.classify(f.s, undoable)
	f.s.setUndo(f.p, undo == nil, opts, func(c UndoContext, in any, raw json.RawMessage, present bool) error {
		if !present {
			return undo(c, as[In](in), Maybe[T]{})
		}
		v, err := decode[T](raw)
		if err != nil {
			return err
		}
		return undo(c, as[In](in), Maybe[T]{v, true})
	})
	return output[T](f.p, f.s)
}

func (s *step) setUndo(p *plan, missing bool, opts []UndoOption, undo func(UndoContext, any, json.RawMessage, bool) error) {
	if missing {
		p.problem(s.at, "step %q: Undo got a nil func: pass one, or classify the step as ReadOnly or Irreversible", s.name)
	}
	s.undo = undo
	for _, opt := range opts {
		opt(&s.undoSettings)
	}
	if s.undoSettings.timeout < 0 || s.undoSettings.keyLifetime < 0 {
		p.problem(s.at, "step %q: a negative duration in the options of Undo: pass one above zero", s.name)
	}
}

// ReadOnly classifies the step as one without effect: nothing to undo.
func (f *Forward[In, T]) ReadOnly() Output[T] {
	f.p.classify(f.s, readOnly)
	return output[T](f.p, f.s)
}

// Irreversible classifies the step as one whose effect stands when the saga
// unwinds, and says why that is acceptable.
func (f *Forward[In, T]) Irreversible(why string) Output[T] {
	f.p.irreversible(f.s, why)
	return output[T](f.p, f.s)
}

// Retriable classifies the step, which must come after the pivot, as one that
// succeeds in the end if it is tried long enough: it is never undone, and
// when its attempts run out the saga parks.
func (f *Forward[In, T]) Retriable() Output[T] {
	f.p.classify(f.s, retriable)
	return output[T](f.p, f.s)
}

// UndoOption sets how an undo runs.
type UndoOption func(*settings)

// UndoRetry sets the undo's policy for failed attempts; zero fields keep the
// default: 1 s, ×2, at most 5 minutes, for 24 h, then the saga parks.
func UndoRetry(r durable.Retry) UndoOption { return func(s *settings) { s.retry = r } }

// UndoTimeout bounds each attempt of the undo. Default 30 s.
func UndoTimeout(d time.Duration) UndoOption { return func(s *settings) { s.timeout = d } }

// UndoKeyLifetime says how long participants honour the undo's key: past it
// the undo is not repeated and the saga parks.
func UndoKeyLifetime(d time.Duration) UndoOption { return func(s *settings) { s.keyLifetime = d } }

// UndoAtMostOnce: a lost attempt of the undo is not repeated under the same
// number but uses up an attempt of its policy.
func UndoAtMostOnce() UndoOption { return func(s *settings) { s.atMostOnce = true } }

// UndoLimit makes the undo wait for its turn, as Forward.Limit does a body.
func UndoLimit(l *Limit) UndoOption { return func(s *settings) { s.limit = l } }

// Action is a step without a result that is being declared.
type Action[In any] struct{ f *Forward[In, struct{}] }

// Do declares a step without a result. All else is as with Step.
func Do[In any](s Scope[In], name string, body func(Context, In) error) *Action[In] {
	b := s.scope()
	st := b.step(name, body == nil)
	st.body = func(c Context, in any) (json.RawMessage, error) { return nil, body(c, as[In](in)) }
	st.check = decodes[struct{}]
	return &Action[In]{&Forward[In, struct{}]{b.p, st}}
}

// Retry is Forward.Retry.
func (a *Action[In]) Retry(r durable.Retry) *Action[In] { a.f.Retry(r); return a }

// Timeout is Forward.Timeout.
func (a *Action[In]) Timeout(d time.Duration) *Action[In] { a.f.Timeout(d); return a }

// AtMostOnce is Forward.AtMostOnce.
func (a *Action[In]) AtMostOnce() *Action[In] { a.f.AtMostOnce(); return a }

// KeyLifetime is Forward.KeyLifetime.
func (a *Action[In]) KeyLifetime(d time.Duration) *Action[In] { a.f.KeyLifetime(d); return a }

// Limit is Forward.Limit.
func (a *Action[In]) Limit(l *Limit) *Action[In] { a.f.Limit(l); return a }

// Verify is Forward.Verify.
func (a *Action[In]) Verify(verify func(Context, In) (Verdict[struct{}], error)) *Action[In] {
	a.f.Verify(verify)
	return a
}

// Undo is Forward.Undo; inDoubt says that the step may or may not have
// happened.
func (a *Action[In]) Undo(undo func(c UndoContext, in In, inDoubt bool) error, opts ...UndoOption) {
	a.f.p.classify(a.f.s, undoable)
	a.f.s.setUndo(a.f.p, undo == nil, opts, func(c UndoContext, in any, _ json.RawMessage, present bool) error {
		return undo(c, as[In](in), !present)
	})
}

// ReadOnly is Forward.ReadOnly.
func (a *Action[In]) ReadOnly() { a.f.ReadOnly() }

// Irreversible is Forward.Irreversible.
func (a *Action[In]) Irreversible(why string) { a.f.Irreversible(why) }

// Retriable is Forward.Retriable.
func (a *Action[In]) Retriable() { a.f.Retriable() }

// PivotStep is a pivot that is being declared: it needs a way out of doubt,
// Verify or ParkInDoubt.
type PivotStep[In, T any] struct{ f *Forward[In, T] }

// Pivot declares the step after which the saga only goes forward. It starts
// only if no cancel was acknowledged before, and once it has started neither
// cancel nor deadline stops it. A saga never unwinds past a pivot that may
// have happened.
func Pivot[In, T any](s Scope[In], name string, body func(Context, In) (T, error)) *PivotStep[In, T] {
	b := s.scope()
	st := b.step(name, body == nil)
	st.body, st.check = erase(body), decodes[T]
	b.p.classify(st, pivot)
	return &PivotStep[In, T]{&Forward[In, T]{b.p, st}}
}

// Retry is Forward.Retry.
func (v *PivotStep[In, T]) Retry(r durable.Retry) *PivotStep[In, T] { v.f.Retry(r); return v }

// Timeout is Forward.Timeout.
func (v *PivotStep[In, T]) Timeout(d time.Duration) *PivotStep[In, T] { v.f.Timeout(d); return v }

// AtMostOnce is Forward.AtMostOnce.
func (v *PivotStep[In, T]) AtMostOnce() *PivotStep[In, T] { v.f.AtMostOnce(); return v }

// KeyLifetime is Forward.KeyLifetime.
func (v *PivotStep[In, T]) KeyLifetime(d time.Duration) *PivotStep[In, T] {
	v.f.KeyLifetime(d)
	return v
}

// Limit is Forward.Limit.
func (v *PivotStep[In, T]) Limit(l *Limit) *PivotStep[In, T] { v.f.Limit(l); return v }

// Verify decides about a pivot in doubt, as Forward.Verify does; while it
// answers Unknown the saga is parked.
func (v *PivotStep[In, T]) Verify(verify func(Context, In) (Verdict[T], error)) Output[T] {
	setVerify(v.f.p, v.f.s, verify)
	v.f.s.why = "verified"
	return output[T](v.f.p, v.f.s)
}

// ParkInDoubt leaves a pivot in doubt to a person.
func (v *PivotStep[In, T]) ParkInDoubt() Output[T] {
	v.f.s.why = "parks"
	return output[T](v.f.p, v.f.s)
}
