package lambdalocal

import (
	"encoding/json"
	"time"
)

// Result is what an invocation came to.
type Result struct {
	RequestID string
	// Payload is what the function returned, or its error.
	Payload []byte
	// FunctionError is "Unhandled" if the function failed, timed out or
	// exited, and "" otherwise.
	FunctionError string
	// LogTail is the end of what was logged during the invocation, up to 4 KB.
	LogTail string
	// Version is the one that ran.
	Version string
	// Sandbox names the process that ran it; it is unique.
	Sandbox string
	// Duration is from the delivery to the answer.
	Duration time.Duration
	// ColdStart says that a sandbox was started, and InitDuration how long
	// that took, from the start of the process to its first request.
	ColdStart    bool
	InitDuration time.Duration
	// MaxRSS is the most memory that the process has had so far, in bytes; 0
	// where the system does not tell, or the process has ended.
	MaxRSS int64
}

// Err returns the function's error as a *FunctionError, or nil.
func (r *Result) Err() error {
	if r.FunctionError == "" {
		return nil
	}
	e := &FunctionError{}
	if err := json.Unmarshal(r.Payload, e); err != nil {
		e.Message = string(r.Payload)
	}
	return e
}

// reply is what a runtime answers, or what became of it.
type reply struct {
	payload []byte
	failed  bool
}

// invocation is one delivery of an event to a sandbox.
type invocation struct {
	id            string
	arn           string // as it was invoked
	payload       []byte
	clientContext string
	trace         trace
	header        string // the trace as it was sent

	deadline  time.Time
	delivered time.Time
	answer    chan reply    // has room for one
	answered  bool          // guarded by the sandbox's mu
	over      chan struct{} // closed when the runtime asks for the next one
}

// fresh is the same event for another delivery.
func (i *invocation) fresh() *invocation {
	return &invocation{id: i.id, arn: i.arn, payload: i.payload, clientContext: i.clientContext, trace: i.trace, header: i.trace.String(),
		answer: make(chan reply, 1), over: make(chan struct{})}
}
