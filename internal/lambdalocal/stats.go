package lambdalocal

import (
	"sync"
	"time"
)

// Stats count what happened to one version of a function.
type Stats struct {
	Invocations int // deliveries to a sandbox, of all kinds
	ColdStarts  int // sandboxes started
	Errors      int // that the function reported itself
	Timeouts    int // killed at the deadline
	Exits       int // the sandbox ended during an invocation, killed by chaos or by itself
	Throttles   int // no sandbox was free
	Retries     int // of asynchronous invocations
	DeadLetters int // asynchronous events that failed for good
	Duplicates  int // messages and events that were delivered twice on purpose
	Freezes     int // between invocations
	Stalls      int // frozen by chaos during an invocation
	Kills       int // by chaos
	// RecursiveInvocationsDropped are deliveries that were refused because
	// the function had been in the chain 16 times. A message that is received
	// again is refused again.
	RecursiveInvocationsDropped int
	// StaleAnswers were sent for an invocation that was over, or was another
	// sandbox's. They were refused.
	StaleAnswers int
	// StaleRequests are requests to Watched servers that do not belong to the
	// invocation that runs. They were passed on.
	StaleRequests int
	// MaxRSS is the most memory that any sandbox has had, in bytes.
	MaxRSS int64
}

// Record is one delivery to a sandbox.
type Record struct {
	RequestID string
	Sandbox   string
	Start     time.Time
	// Duration is until the answer, or until the end of the sandbox.
	Duration     time.Duration
	ColdStart    bool
	InitDuration time.Duration
	MaxRSS       int64
	// Error is the type of the error, or "".
	Error string
}

type statistics struct {
	mu      sync.Mutex
	n       Stats
	records []Record
}

func (s *statistics) add(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.n)
}

func (s *statistics) record(r *Result) {
	kind := ""
	if e, ok := r.Err().(*FunctionError); ok {
		kind = e.Type
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n.MaxRSS = max(s.n.MaxRSS, r.MaxRSS)
	switch {
	case kind == TypeTimeout:
		s.n.Timeouts++
	case kind == TypeExit:
		s.n.Exits++
	case r.FunctionError != "":
		s.n.Errors++
	}
	s.records = append(s.records, Record{RequestID: r.RequestID, Sandbox: r.Sandbox, Start: time.Now().Add(-r.Duration),
		Duration: r.Duration, ColdStart: r.ColdStart, InitDuration: r.InitDuration, MaxRSS: r.MaxRSS, Error: kind})
}
