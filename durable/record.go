package durable

import (
	"encoding/json"
	"fmt"
	"time"
)

// Identity is what never changes about an execution.
type Identity struct {
	ID          string
	Definition  string
	Version     string // of the definition
	Fingerprint string // of the definition's shape, if it has one
	Input       []byte // as the codec wrote it
	Digest      []byte // HMAC of the input, to compare two starts by
	Created     time.Time
	Deadline    time.Time // of the whole execution; zero is none

	// What most executions have none of; see EncodeExtras.
	Tags      map[string]string // to list by
	Retention time.Duration     // how long it is kept after its end; zero is for ever
	Parent    Parent            // who waits for its end; zero is nobody
	Origin    string            // the execution of which this one is a re-run
	Trace     map[string]string // the starter's trace context, as a propagator wrote it
}

// Parent is an execution that has invoked another and waits for its end.
type Parent struct {
	ID  string `json:"id"`
	Key string `json:"key"` // of the delivery that it waits for
}

// extras is the stored form of what most executions have none of.
type extras struct {
	Tags      map[string]string `json:"tags,omitempty"`
	Retention time.Duration     `json:"retention,omitempty"`
	Parent    *Parent           `json:"parent,omitempty"`
	Origin    string            `json:"origin,omitempty"`
	Trace     map[string]string `json:"trace,omitempty"`
}

// EncodeExtras returns what most executions have none of as bytes for a store
// to keep with the rest; nil if it is nothing.
func (id *Identity) EncodeExtras() []byte {
	x := extras{Tags: id.Tags, Retention: id.Retention, Origin: id.Origin, Trace: id.Trace}
	if id.Parent != (Parent{}) {
		x.Parent = &id.Parent
	}
	b, err := json.Marshal(x)
	if err != nil || string(b) == "{}" { // strings and numbers always encode
		return nil
	}
	return b
}

// DecodeExtras sets what EncodeExtras has encoded.
func (id *Identity) DecodeExtras(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	var x extras
	if err := json.Unmarshal(b, &x); err != nil {
		return fmt.Errorf("durable: extras of an execution: %w", err)
	}
	id.Tags, id.Retention, id.Origin, id.Trace = x.Tags, x.Retention, x.Origin, x.Trace
	if x.Parent != nil {
		id.Parent = *x.Parent
	}
	return nil
}

// Head is what a store holds of an execution, journal and inbox apart.
type Head struct {
	Identity

	Status Status
	Detail string // custom status, set by the handler's layer
	Park   *Park  // why, while parked
	Result []byte // once succeeded
	Error  *Error // once ended otherwise
	Ended  time.Time

	// Revision is the number of entries that were ever written to the journal,
	// and Seq the last commit under
	// Epoch. While the execution runs, LoadHead and List may tell those of an
	// earlier commit, if nothing else of the head has changed since.
	Revision    int64
	Activations int64     // claims so far, the born one included
	Due         time.Time // when somebody must look; zero is never; of an ended one, when it may be deleted

	// The claim. Of the owner of a claim that was released only HostOf is
	// certain.
	Owner string
	Epoch int64
	Seq   int64 // see Revision
	Lease time.Time

	// SafeEpoch: no code of an activation up to this epoch can still run,
	// because each of them ended cleanly or its owner is proven dead. It
	// rises by one claim at a time and never skips an epoch.
	SafeEpoch int64
	// Crashes counts claims that found the activation before unfinished,
	// since the last commit with Progress.
	Crashes int

	Delivered int64 // deliveries accepted so far
	Seen      int64 // deliveries that are in the journal

	// Usage is what the execution has consumed so far; zero from a store that
	// does not bill.
	Usage Usage
}

// Usage is what an execution has consumed of its store, in the store's own
// units of price. What an attempt was charged whose answer was lost is not in
// it; polls, claims that failed and heartbeats of callbacks belong to nobody.
type Usage struct {
	Requests   int64   `json:"requests"`
	WriteUnits int64   `json:"write_units"` // of the table
	IndexUnits int64   `json:"index_units"` // write units of its indexes
	ReadUnits  float64 `json:"read_units"`
	Bytes      int64   `json:"bytes"` // written, as the store counts them
}

// Add adds what v has consumed.
func (u *Usage) Add(v Usage) {
	u.Requests += v.Requests
	u.WriteUnits += v.WriteUnits
	u.IndexUnits += v.IndexUnits
	u.ReadUnits += v.ReadUnits
	u.Bytes += v.Bytes
}

// Record is a head with all that replay needs.
type Record struct {
	Head
	Journal    []Entry
	Inbox      []Delivery           // not yet seen, in order of arrival
	Heartbeats map[string]time.Time // last one by callback key
}

// Status is the life cycle of an execution.
type Status uint8

// The statuses. The numbers are part of the stored form.
const (
	StatusPending   Status = 1 // created, never claimed
	StatusRunning   Status = 2 // claimed by an owner
	StatusSuspended Status = 3 // waits for a time, a delivery or a worker
	StatusParked    Status = 4 // waits for a person

	// The ended ones: nothing is accepted any more.
	StatusSucceeded Status = 16
	StatusFailed    Status = 17
	StatusCancelled Status = 18
	StatusTimedOut  Status = 19
	// StatusTerminated: it was ended from outside without a word to its code.
	StatusTerminated Status = 20
)

// Ended tells whether an execution in this status accepts nothing any more.
func (s Status) Ended() bool { return s >= StatusSucceeded }

func (s Status) String() string {
	switch s {
	case StatusPending:
		return "pending"
	case StatusRunning:
		return "running"
	case StatusSuspended:
		return "suspended"
	case StatusParked:
		return "parked"
	case StatusSucceeded:
		return "succeeded"
	case StatusFailed:
		return "failed"
	case StatusCancelled:
		return "cancelled"
	case StatusTimedOut:
		return "timed-out"
	case StatusTerminated:
		return "terminated"
	}
	return "unknown"
}

// Park says why an execution waits for a person and what that person may do.
type Park struct {
	Reason    ParkReason `json:"reason"`
	Op        int64      `json:"op,omitempty"`        // number of the operation concerned, if the engine parked over one
	Operation string     `json:"operation,omitempty"` // path of the operation concerned
	Message   string     `json:"message"`
	// Stuck: effects stand that should not, or may stand.
	Stuck bool `json:"stuck,omitempty"`
	// Key is the idempotency key of the parked operation, Since when it was
	// first used, KeyLifetime how long participants honour it (0: unknown).
	Key         string        `json:"key,omitempty"`
	Since       time.Time     `json:"since,omitzero"`
	KeyLifetime time.Duration `json:"key_lifetime,omitempty"`
	Verbs       []Verb        `json:"verbs"` // what ends it
	At          time.Time     `json:"at"`
}

// ParkReason names why an execution is parked.
type ParkReason string

// The reasons that the engine itself has; layers above add their own.
const (
	ParkNondeterminism ParkReason = "nondeterminism"
	ParkPanic          ParkReason = "panic"
	ParkCrashLoop      ParkReason = "crash-loop"
	// ParkNoTime: no host had enough time left for what is next.
	ParkNoTime ParkReason = "no-time"
	// ParkUndosLeft: code ended without what it had registered to be undone.
	ParkUndosLeft ParkReason = "undos-left"
)

// Verb is an operator's act on an execution, most of them on a parked one.
type Verb string

// The verbs.
const (
	VerbCancel    Verb = "cancel"    // asks one that is not parked to stop
	VerbTerminate Verb = "terminate" // ends one that is not parked without a word to its code

	VerbRetry   Verb = "retry"   // new attempts for the parked operation
	VerbResolve Verb = "resolve" // states the outcome of an operation in doubt
	VerbResume  Verb = "resume"  // goes on, after a deploy
	VerbSkip    Verb = "skip"    // counts the parked undo as done
	VerbUnwind  Verb = "unwind"  // asks a saga before its pivot to unwind
	VerbAbandon Verb = "abandon" // ends it as it stands, with all effects; always possible
)
