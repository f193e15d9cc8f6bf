package durable

import "time"

// OperationInfo is what a journal says of one operation.
type OperationInfo struct {
	Number   int64 // in the history
	Parent   int64 // operation whose context it stands in, 0 for the execution
	Name     string
	Type     OpType
	Subtype  string
	Link     int64 // operation that it undoes or verifies
	Scope    Scope
	Started  time.Time
	Ended    time.Time // zero while it has not
	Attempts int
	InDoubt  bool   // some attempt of it is not proven to have had no effect
	Stopped  bool   // it ended because the execution was asked to stop
	Err      *Error // how it failed
}

// Operations returns what the journal of a record, which must have been loaded
// whole (LoadAll), says of each operation, by number. It reads nothing.
func Operations(rec *Record) ([]OperationInfo, error) {
	j := newJournal()
	if err := j.load(rec.Journal); err != nil {
		return nil, err
	}
	return j.infos(), nil
}

func (j *journal) infos() []OperationInfo {
	all := make([]OperationInfo, len(j.ops))
	for i, op := range j.ops {
		all[i] = OperationInfo{
			Number: op.num, Parent: op.id.parent, Name: op.name, Type: op.typ, Subtype: op.subtype, Link: op.link, Scope: op.id.scope,
			Started: op.first, Ended: op.ended, Attempts: op.attempt, InDoubt: op.doubt, Stopped: op.end == EntryCancel,
		}
		if op.done && op.end != EntryResult {
			all[i].Err = op.err
		}
	}
	return all
}
