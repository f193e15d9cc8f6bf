package saga

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clewdev/clew/durable"
)

// Forwards is the forward axis of a saga's status.
type Forwards string

// The values of the forward axis.
const (
	ForwardRunning   Forwards = "running"
	ForwardCommitted Forwards = "committed"
	ForwardRejected  Forwards = "rejected"
	ForwardFailed    Forwards = "failed"
	ForwardCancelled Forwards = "cancelled"
	ForwardTimedOut  Forwards = "timed-out"
	// ForwardTerminated: it was ended from outside while it went forward.
	ForwardTerminated Forwards = "terminated"
)

// Unwind is the axis of the way back.
type Unwind string

// The values of the unwinding axis.
const (
	UnwindNone     Unwind = "none"
	UnwindRunning  Unwind = "running"
	UnwindComplete Unwind = "complete"
	UnwindStuck    Unwind = "stuck" // parked, with effects that stand
	// UnwindAbandoned: a person has ended it with effects left.
	UnwindAbandoned Unwind = "abandoned"
)

// Status is where a saga is, on both axes.
type Status struct {
	Forward Forwards
	Unwind  Unwind
}

func (s Status) String() string { return string(s.Forward) + "/" + string(s.Unwind) }

// StatusOf reads a saga's status from the head of its execution.
func StatusOf(h *durable.Head) Status {
	forward, unwind, ok := strings.Cut(h.Detail, "/")
	if !ok {
		return Status{ForwardRunning, UnwindNone}
	}
	s := Status{Forwards(forward), Unwind(unwind)}
	// A durable function with a Stack leaves the status that it had.
	switch unwinds := s.Unwind == UnwindRunning || s.Unwind == UnwindStuck; {
	case unwinds && h.Status == durable.StatusTerminated:
		s.Unwind = UnwindAbandoned
	case unwinds && h.Status == durable.StatusParked:
		s.Unwind = UnwindStuck
	}
	return s
}

// abandoned is the status of a saga that was ended from outside, of the one that
// it had.
func abandoned(detail string) string {
	s := StatusOf(&durable.Head{Detail: detail})
	if s.Forward == ForwardRunning {
		s.Forward = ForwardTerminated
	}
	if s.Unwind != UnwindComplete { // it was undone before the end could be recorded
		s.Unwind = UnwindAbandoned
	}
	return s.String()
}

// parked is the status of a saga that parks. Where an unwinding goes on no more,
// what it has not undone stands.
func parked(detail string, stuck bool) (string, bool) {
	s := StatusOf(&durable.Head{Detail: detail})
	if stuck || s.Unwind == UnwindRunning {
		s.Unwind = UnwindStuck
		detail = s.String()
	}
	return detail, s.Unwind == UnwindStuck
}

// The reasons to park that sagas add to the engine's own.
const (
	// ParkUndoFailed: an undo failed for good; effects stand.
	ParkUndoFailed durable.ParkReason = "undo-failed"
	// ParkAfterPivot: a step after the pivot failed for good.
	ParkAfterPivot durable.ParkReason = "after-pivot-failed"
	// ParkPivotInDoubt: nobody can tell whether the pivot happened.
	ParkPivotInDoubt durable.ParkReason = "pivot-in-doubt"
	// ParkUnwindDeadline: the unwinding has taken longer than it may; effects stand.
	ParkUnwindDeadline durable.ParkReason = "unwind-deadline"
	// ParkKeyExpired: a step in doubt before the pivot cannot be repeated
	// under its key any more, and no Verify tells what became of it.
	ParkKeyExpired durable.ParkReason = "key-expired"
)

// Error is how a saga ends that did not commit: everything that stood was
// undone. It unwraps to what made it unwind.
type Error struct {
	Saga    string // its name; of a Stack, the execution's ID
	Forward Forwards
	Undone  []string // names of the steps that were undone, in that order
	Skipped []string // of those whose undo a person has said to skip
	Err     error
}

// skip moves names from those that were undone to those that were not.
func (e *Error) skip(names []string) {
	for _, name := range names {
		if i := slices.Index(e.Undone, name); i >= 0 {
			e.Undone = slices.Delete(e.Undone, i, i+1)
			e.Skipped = append(e.Skipped, name)
		}
	}
}

func (e *Error) Error() string {
	undone := "nothing to undo"
	if len(e.Undone) > 0 {
		undone = "undone: " + strings.Join(e.Undone, ", ")
	}
	if len(e.Skipped) > 0 {
		undone += "; skipped: " + strings.Join(e.Skipped, ", ")
	}
	return fmt.Sprintf("saga %q %s: %v (%s)", e.Saga, e.Forward, e.Err, undone)
}
func (e *Error) Unwrap() error { return e.Err }

// forwardOf classifies what made a saga unwind.
func forwardOf(cause error) Forwards {
	var rejected *rejection
	switch {
	case errors.Is(cause, durable.ErrTimedOut):
		return ForwardTimedOut
	case errors.Is(cause, durable.ErrCancelled):
		return ForwardCancelled
	case errors.As(cause, &rejected):
		return ForwardRejected
	}
	return ForwardFailed
}

// rejection marks the error of a step whose last attempt was rejected.
type rejection struct{ err error }

func (e *rejection) Error() string { return e.err.Error() }
func (e *rejection) Unwrap() error { return e.err }
