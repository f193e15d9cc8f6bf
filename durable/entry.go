package durable

import "time"

// Entry is one line of the journal: something that happened to an operation.
// Entries are only ever appended. Operations are numbered by their first
// entry, from 1; operation 0 is the execution itself.
type Entry struct {
	Kind EntryKind
	Op   int64
	At   time.Time // to the microsecond

	// The first entry of an operation also says which one it is.
	First   bool
	Parent  int64  // operation whose context it stands in
	Scope   Scope  // path scope within the parent
	Pos     int64  // position within parent and scope, from 1
	Type    OpType // what it is
	Subtype string // finer, for histories; "" is the type's own name
	Name    string // given by the caller
	Link    int64  // operation that this one undoes or verifies; 0 is none

	Attempt int   // from 1, of a step
	Epoch   int64 // on a start with a body, a loss and a suspension: the claim that records it

	// Timeout, on a start: of the attempt, of the callback, or the length of
	// a wait.
	Timeout time.Duration
	// Heartbeat, on a start: how long a callback lives between heartbeats.
	Heartbeat time.Duration
	// Retry, on a failure, timeout or loss: another attempt follows, after
	// Delay.
	Retry bool
	Delay time.Duration
	// NoEffect: this attempt is proven to have had no effect.
	NoEffect bool

	Payload []byte
	Error   *Error
	// Actor and Reason, on what a person did.
	Actor, Reason string
	// Delivery is the sequence number of the delivery that this entry records.
	Delivery int64

	path string // of names, on a first entry of this activation; not stored
}

// EntryKind says what happened. The numbers are part of the stored form.
type EntryKind uint8

// The kinds of entries.
const (
	EntryStart     EntryKind = 1 // an operation or an attempt begins; again with the same attempt after a crash
	EntryResult    EntryKind = 2 // succeeded, with Payload
	EntryFailure   EntryKind = 3 // failed, with Error; final unless Retry
	EntryTimeout   EntryKind = 4 // timed out; final unless Retry
	EntryCancel    EntryKind = 5 // ended because the execution was cancelled; on operation 0 the request itself
	EntryLost      EntryKind = 6 // the attempt's process is gone, its outcome unknown; final unless Retry
	EntrySuspended EntryKind = 7 // the activation ended
	EntryParked    EntryKind = 8 // the execution waits for a person; Payload is the Park
	EntryVerb      EntryKind = 9 // an operator acted; Payload is the verb's

	EntryProgress  EntryKind = 10 // a heartbeat from the body of a step; Payload is how far it has come
	EntrySignal    EntryKind = 11 // a signal arrived; Subtype is its name
	EntryTerminate EntryKind = 12 // the execution is to end without a word to its code
	EntryContinued EntryKind = 13 // a new run begins; Payload is its input, Attempt its number
	EntryOutcome   EntryKind = 14 // how the execution will end, once its parent knows; Reason is the status
)

// OpType is the type of an operation. The numbers are part of the stored form.
type OpType uint8

// The types of operations.
const (
	OpStep     OpType = 1
	OpWait     OpType = 2
	OpCallback OpType = 3
	OpContext  OpType = 4
	OpPark     OpType = 5
	OpValue    OpType = 6
	OpSignal   OpType = 7
	OpInvoke   OpType = 8
)

func (t OpType) String() string {
	switch t {
	case OpStep:
		return "Step"
	case OpWait:
		return "Wait"
	case OpCallback:
		return "Callback"
	case OpContext:
		return "Context"
	case OpPark:
		return "Park"
	case OpValue:
		return "Value"
	case OpSignal:
		return "Signal"
	case OpInvoke:
		return "Invoke"
	}
	return "unknown"
}

// Scope separates the positions of the way in from those of the way out, so
// that an undo never shifts a forward operation.
type Scope uint8

// The scopes.
const (
	ScopeForward Scope = 0
	ScopeUnwind  Scope = 1
)
