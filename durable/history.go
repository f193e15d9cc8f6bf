package durable

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// Event is one line of an execution's history, in the vocabulary of AWS's
// durable execution history, which its JSON form follows. Events whose names
// are not there (undos, parking, what operators did, cancels) are ours.
type Event struct {
	ID        int64  // dense, from 1
	Type      string // as "StepStarted"
	SubType   string // of the operation, as "Step", "Pivot", "RunInChildContext"
	At        time.Time
	Operation string // its number, "" for what concerns the execution
	Parent    string // number of the operation that it is nested in
	Name      string // of the operation
	Details   EventDetails
}

// EventDetails are what an event's type calls for. Empty fields are left out
// of the JSON form.
type EventDetails struct {
	Input            *EventPayload `json:"Input,omitempty"`
	Result           *EventPayload `json:"Result,omitempty"`
	Error            *EventError   `json:"Error,omitempty"`
	RetryDetails     *EventRetry   `json:"RetryDetails,omitempty"`
	Duration         *float64      `json:"Duration,omitempty"` // seconds
	CallbackID       string        `json:"CallbackId,omitempty"`
	Timeout          float64       `json:"Timeout,omitempty"` // seconds
	HeartbeatTimeout float64       `json:"HeartbeatTimeout,omitempty"`

	// Ours.
	Undoes  string `json:"Undoes,omitempty"` // number of the operation that is undone, or verified
	Reason  string `json:"Reason,omitempty"`
	Message string `json:"Message,omitempty"`
	Verb    string `json:"Verb,omitempty"`
	Actor   string `json:"Actor,omitempty"`
	Target  string `json:"Target,omitempty"`  // name of what an operator acted on
	InDoubt bool   `json:"InDoubt,omitempty"` // what is undone is not known to have happened
	Run     int    `json:"Run,omitempty"`     // that begins, after ContinueAsNew
	// Left names the steps of an abandoned saga that stand, or may stand, and
	// were not undone, in order of their start.
	Left []string `json:"Left,omitempty"`

	// Of what was invoked.
	FunctionName        string `json:"FunctionName,omitempty"`
	ExecutedVersion     string `json:"ExecutedVersion,omitempty"`
	DurableExecutionArn string `json:"DurableExecutionArn,omitempty"` // the execution's ID
	TenantID            string `json:"TenantId,omitempty"`
}

// EventPayload is a value as the codec wrote it. Nothing of it is cut off.
type EventPayload struct {
	Payload   string `json:"Payload"`
	Truncated bool   `json:"Truncated"`
}

// EventError is a failure.
type EventError struct {
	Payload   EventErrorPayload `json:"Payload"`
	Truncated bool              `json:"Truncated"`
}

// EventErrorPayload is what is known of a failure.
type EventErrorPayload struct {
	ErrorType    string `json:"ErrorType"`
	ErrorMessage string `json:"ErrorMessage"`
	ErrorData    string `json:"ErrorData,omitempty"`
}

// EventRetry tells which attempt it was, and when another follows.
type EventRetry struct {
	CurrentAttempt int `json:"CurrentAttempt"`
	// NextAttemptDelaySeconds is rounded up to whole seconds; absent when no
	// attempt follows.
	NextAttemptDelaySeconds *int64 `json:"NextAttemptDelaySeconds,omitempty"`
}

// MarshalJSON writes the event as AWS's history has it: the details under the
// name of its type.
func (e Event) MarshalJSON() ([]byte, error) {
	m := map[string]any{"EventId": e.ID, "EventType": e.Type, "EventTimestamp": e.At, e.Type + "Details": e.Details}
	for name, v := range map[string]string{"SubType": e.SubType, "Id": e.Operation, "ParentId": e.Parent, "Name": e.Name} {
		if v != "" {
			m[name] = v
		}
	}
	return json.Marshal(m)
}

// History derives the events of an execution from its record, which must have
// been loaded whole (LoadAll). It reads nothing and costs no write: the
// journal is all it needs. The order of events is the journal's.
//
// Each activation that recorded something ends with InvocationCompleted, with
// an Error if its process died, which is known once another has begun. An
// attempt that is repeated under its number after a crash has no second start.
func History(rec *Record) iter.Seq[Event] { return history(rec, false) }

// Milestones is History without what concerns single operations, the activations,
// and the beginning and end: it has what operators, signals and deadlines did to
// the execution, where it parked, the runs of ContinueAsNew, and what the journal
// means for a saga. It costs a fraction.
func Milestones(rec *Record) iter.Seq[Event] { return history(rec, true) }

func history(rec *Record, brief bool) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		h := &teller{yield: yield, brief: brief, id: rec.ID, starts: map[int64]*Entry{}, attempts: map[int64]int{}, going: true}
		if strings.HasPrefix(rec.Fingerprint, SagaFingerprint) {
			h.saga = &sagaTeller{teller: h, journal: rec.Journal, happened: map[int64]bool{}}
		}
		if !h.omits() {
			h.tell(Event{Type: "ExecutionStarted", At: rec.Created, Details: EventDetails{Input: payloadOf(rec.Input)}})
		}
		for i := range rec.Journal {
			h.entry(&rec.Journal[i])
		}
		if rec.Status.Ended() {
			h.end(&rec.Head)
		}
	}
}

// teller turns entries into events.
type teller struct {
	yield    func(Event) bool
	id       string // of the execution
	brief    bool   // only milestones
	going    bool   // the caller wants more
	count    int64
	starts   map[int64]*Entry // first entry of each operation
	attempts map[int64]int    // last one of each step that was told to start
	epoch    int64            // of the activation that records, once an entry has told
	active   bool             // it has recorded something since the last InvocationCompleted
	saga     *sagaTeller      // nil for what is no saga
}

func (h *teller) tell(e Event) {
	if h.going {
		h.count++
		e.ID = h.count
		h.going = h.yield(e)
	}
}

// omits counts an event that is no milestone, and tells whether it is left out.
func (h *teller) omits() bool {
	if h.brief {
		h.count++
	}
	return h.brief
}

func (h *teller) completed(at time.Time, failure *EventError) {
	if h.active && !h.omits() {
		h.tell(Event{Type: "InvocationCompleted", At: at, Details: EventDetails{Error: failure}})
	}
	h.active, h.epoch = false, 0
}

var hostDied = &EventError{Payload: EventErrorPayload{ErrorType: "Runtime.ExitError", ErrorMessage: "the process ended, or lost its claim, before the activation did"}}

// entry tells what one entry says.
func (h *teller) entry(e *Entry) {
	if e.Epoch > h.epoch {
		if h.epoch > 0 {
			h.completed(e.At, hostDied)
		}
		if e.Kind != EntrySuspended {
			h.epoch = e.Epoch
		}
	}
	if e.Op == 0 {
		h.execution(e)
		return
	}
	if e.First {
		h.starts[e.Op] = e
	}
	first := h.starts[e.Op]
	if first == nil {
		return // damaged; the engine refuses such a journal
	}
	h.active = true
	name, sub := names(first)
	switch {
	case e.Kind == EntryLost && e.Attempt == 0 && e.Retry, // it runs again under its number
		first.Type == OpStep && e.Kind == EntryStart && e.Attempt == h.attempts[e.Op],
		e.Kind == EntryProgress, first.Type == OpInvoke && e.Kind == EntryStart && !e.First,
		first.Type == OpSignal && e.Kind != EntryTimeout: // its arrival is the event
		return
	case name == "Park":
		h.parked(e, first)
		return
	}
	if e.Kind == EntryStart {
		h.attempts[e.Op] = e.Attempt
	}
	h.saga.before(e, first)
	if !h.omits() {
		h.tell(h.operation(e, first, name, sub))
	}
	h.saga.after(e, first)
}

// operation is the event of an entry about an operation.
func (h *teller) operation(e, first *Entry, name, sub string) Event {
	ev := Event{Type: name + suffix(e, first), SubType: sub, At: e.At, Operation: strconv.FormatInt(e.Op, 10), Name: first.Name, Details: details(e, first)}
	if first.Type == OpCallback && e.Kind == EntryStart {
		ev.Details.CallbackID = callbackID(h.id, string(e.Payload))
	}
	if first.Parent != 0 {
		ev.Parent = strconv.FormatInt(first.Parent, 10)
	}
	h.saga.undoing(&ev, e, first)
	return ev
}

// execution tells what concerns the execution as a whole.
func (h *teller) execution(e *Entry) {
	switch e.Kind {
	case EntrySuspended:
		h.completed(e.At, nil)
	case EntryCancel, EntryTimeout:
		reason := e.Reason
		if e.Kind == EntryTimeout {
			reason = "deadline"
		}
		h.tell(Event{Type: "CancelRequested", At: e.At, Details: EventDetails{Actor: e.Actor, Reason: reason}})
		h.active = true
	case EntryParked:
		p, err := fromJSON[Park](e.Payload)
		if err != nil {
			p = &Park{}
		}
		h.tell(Event{Type: "ExecutionParked", At: e.At, Details: EventDetails{Reason: string(p.Reason), Message: p.Message}})
		h.active = true
		h.completed(e.At, nil)
	case EntryVerb:
		h.acted(e, "")
	case EntrySignal:
		h.tell(Event{Type: "SignalReceived", At: e.At, Name: e.Subtype, Details: EventDetails{Result: payloadOf(e.Payload)}})
		h.active = true
	case EntryTerminate:
		h.tell(Event{Type: "TerminateRequested", At: e.At, Details: EventDetails{Actor: e.Actor, Reason: e.Reason}})
		h.active = true
	case EntryContinued:
		h.tell(Event{Type: "ExecutionContinued", At: e.At, Details: EventDetails{Input: payloadOf(e.Payload), Run: e.Attempt}})
		h.active = true
	}
}

// parked tells of a place at which a handler waits for an operator.
func (h *teller) parked(e, first *Entry) {
	switch e.Kind {
	case EntryStart:
		p, err := fromJSON[Park](e.Payload)
		if err != nil {
			p = &Park{}
		}
		h.tell(Event{Type: "ExecutionParked", At: e.At, Name: first.Name, Operation: strconv.FormatInt(e.Op, 10),
			Details: EventDetails{Reason: string(p.Reason), Message: p.Message}})
		h.completed(e.At, nil)
	case EntryVerb:
		h.acted(e, first.Name)
	}
}

func (h *teller) acted(e *Entry, target string) {
	d, err := fromJSON[Decision](e.Payload)
	if err != nil {
		d = &Decision{}
	}
	h.tell(Event{Type: "OperatorActed", At: e.At, Name: target, Details: EventDetails{Verb: string(d.Verb), Actor: e.Actor, Reason: e.Reason, Target: target}})
	h.active = true
}

// end tells how the execution ended.
func (h *teller) end(head *Head) {
	h.saga.end(head)
	h.active = true
	h.completed(head.Ended, nil)
	if h.omits() {
		return
	}
	ev := Event{At: head.Ended}
	switch head.Status {
	case StatusSucceeded:
		ev.Type, ev.Details.Result = "ExecutionSucceeded", payloadOf(head.Result)
	case StatusTimedOut:
		ev.Type, ev.Details.Error = "ExecutionTimedOut", errorOf(head.Error)
	case StatusCancelled, StatusTerminated:
		ev.Type, ev.Details.Error = "ExecutionStopped", errorOf(head.Error)
	default:
		ev.Type, ev.Details.Error = "ExecutionFailed", errorOf(head.Error)
	}
	h.tell(ev)
}

// names are what events of an operation are called: their first part, and the
// subtype.
func names(first *Entry) (name, sub string) {
	switch first.Type {
	case OpWait:
		name, sub = "Wait", "Wait"
	case OpCallback:
		name, sub = "Callback", "Callback"
	case OpContext:
		name, sub = "Context", "RunInChildContext"
	case OpPark:
		name, sub = "Park", ""
	case OpValue:
		name, sub = "Value", "Value"
	case OpSignal:
		name, sub = "Signal", "Signal"
	case OpInvoke:
		name, sub = "ChainedInvoke", "ChainedInvoke"
	default:
		name, sub = "Step", "Step"
		if first.Subtype == SubtypeUndo {
			name = "Undo"
		}
	}
	if first.Subtype != "" {
		sub = first.Subtype
	}
	return name, sub
}

// suffix is the last part of an event's type.
func suffix(e, first *Entry) string {
	switch e.Kind {
	case EntryStart:
		return "Started"
	case EntryResult, EntryVerb:
		if first.Type == OpValue {
			return "Recorded"
		}
		return "Succeeded"
	case EntryCancel:
		if first.Type == OpInvoke {
			return "Stopped"
		}
		return "Cancelled"
	case EntryTimeout:
		if first.Type != OpStep {
			return "TimedOut"
		}
	case EntryFailure:
		if first.Type == OpInvoke && e.Error != nil && e.Error.Code == "clew/invoke-stopped" {
			return "Stopped"
		}
	}
	return "Failed"
}

// details are those of an operation's event.
func details(e, first *Entry) (d EventDetails) {
	if e.First && first.Link != 0 {
		d.Undoes = strconv.FormatInt(first.Link, 10)
	}
	switch {
	case first.Type == OpWait:
		seconds := first.Timeout.Seconds()
		d.Duration = &seconds
		return d
	case first.Type == OpCallback && e.Kind == EntryStart:
		d.Timeout, d.HeartbeatTimeout = first.Timeout.Seconds(), first.Heartbeat.Seconds()
		return d
	case first.Type == OpInvoke && e.Kind == EntryStart:
		if inv, err := fromJSON[invocation](e.Payload); err == nil {
			d.FunctionName, d.ExecutedVersion, d.DurableExecutionArn, d.TenantID = inv.Definition, inv.Version, inv.ID, inv.Tenant
			d.Input, d.Timeout = payloadOf(inv.Input), first.Timeout.Seconds()
		}
		return d
	case first.Type == OpInvoke && e.Kind == EntryCancel:
		d.Error = errorOf(toStored(ErrInvokeStopped))
		return d
	case e.Kind == EntryStart || e.Kind == EntryCancel:
		return d
	case e.Kind == EntryResult:
		d.Result = payloadOf(e.Payload)
	default:
		d.Error = errorOf(failureOf(e, first))
	}
	if first.Type == OpStep {
		d.RetryDetails = &EventRetry{CurrentAttempt: e.Attempt}
		if e.Retry {
			next := int64(math.Ceil(e.Delay.Seconds()))
			d.RetryDetails.NextAttemptDelaySeconds = &next
		}
	}
	return d
}

// failureOf is the error of an entry, also of kinds that carry none.
func failureOf(e, first *Entry) *Error {
	switch {
	case e.Error != nil:
		return e.Error
	case e.Kind == EntryTimeout:
		return &Error{Type: "Step.Timeout", Message: ErrAttemptTimeout.Error()}
	}
	return &Error{Type: "Step.Lost", Message: ErrAttemptLost.Error()}
}

func payloadOf(b []byte) *EventPayload {
	if len(b) == 0 {
		return nil
	}
	return &EventPayload{Payload: string(b)}
}

func errorOf(e *Error) *EventError {
	if e == nil {
		e = &Error{}
	}
	p := EventErrorPayload{ErrorType: e.ErrorType(), ErrorMessage: e.Message, ErrorData: string(e.Data)}
	return &EventError{Payload: p}
}

func fromJSON[T any](b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	return v, nil
}
