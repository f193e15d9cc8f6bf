package durable

// SagaFingerprint is what the fingerprints of sagas' definitions begin with.
// Histories of their executions tell what the journal means for a saga:
// SagaRejected, SagaCommitted, UnwindStarted, UnwindCompleted, SagaAbandoned with
// what was left, and of undos, which step they undo and whether it was in doubt.
const SagaFingerprint = "saga:"

// Subtypes by which histories know what a step is to a saga: see WithSubtype.
const (
	SubtypeUndo   = "Undo"
	SubtypePivot  = "Pivot"
	SubtypeVerify = "Verify"
	// SubtypeSubSaga marks the context in which a sub-saga's steps stand.
	SubtypeSubSaga = "SubSaga"
)

// What a Verify found, as its stored result has it under "verdict".
const (
	VerdictHappened = "happened"
	VerdictNoEffect = "no-effect"
	VerdictUnknown  = "unknown"
)

// sagaTeller adds a saga's events to a history. Its methods do nothing on nil.
type sagaTeller struct {
	*teller
	journal   []Entry
	happened  map[int64]bool // forward operations that have a result
	unwinding bool
	committed bool
}

// before tells what comes before the event of an entry.
func (s *sagaTeller) before(e, first *Entry) {
	if s != nil && !s.unwinding && first.Type == OpStep && first.Subtype == SubtypeUndo {
		s.unwinding = true
		s.tell(Event{Type: "UnwindStarted", At: e.At})
	}
}

// undoing completes the event of an undo.
func (s *sagaTeller) undoing(ev *Event, e, first *Entry) {
	if s != nil && e.First && first.Subtype == SubtypeUndo {
		ev.Details.InDoubt = !s.happened[first.Link]
	}
}

// after tells what follows from the event of an entry.
func (s *sagaTeller) after(e, first *Entry) {
	if s == nil || first.Type != OpStep || first.Scope != ScopeForward || first.Subtype == SubtypeUndo { // undos beside each other have a context of their own
		return
	}
	switch {
	case e.Kind == EntryResult && !e.Retry:
		s.happened[e.Op] = true
		if first.Subtype == SubtypePivot {
			s.committed = true
			s.tell(Event{Type: "SagaCommitted", At: e.At})
		}
	case e.Kind == EntryFailure && !e.Retry && e.NoEffect && !unbegun(e.Error):
		s.tell(Event{Type: "SagaRejected", At: e.At, Name: first.Name, Details: EventDetails{Error: errorOf(e.Error)}})
	}
}

// end tells how the saga ended, before its execution does.
func (s *sagaTeller) end(head *Head) {
	switch {
	case s == nil:
	case head.Status == StatusTerminated:
		s.tell(Event{Type: "SagaAbandoned", At: head.Ended, Details: EventDetails{Left: leftStanding(s.journal)}})
	case s.unwinding:
		s.tell(Event{Type: "UnwindCompleted", At: head.Ended})
	case head.Status == StatusSucceeded && !s.committed:
		s.tell(Event{Type: "SagaCommitted", At: head.Ended})
	}
}

// unbegun tells whether an attempt that had no effect did not get to begin, which
// rejects nothing.
func unbegun(e *Error) bool {
	return e != nil && (e.Code == "clew/key-expired" || e.Code == "saga/no-turn")
}
