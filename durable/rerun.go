package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// VerbRerun is how histories name a re-run.
const VerbRerun Verb = "rerun"

// Rerun runs an execution that did not succeed again, from one of its operations
// on: it creates an execution of the same definition, version and input, whose
// journal has what the origin recorded before that operation began, and so
// passes it without running anything. from is the operation's name, or its
// number in the history if the name is not unique. The new execution's ID, which
// is returned, is that of the first origin with ~n behind it; Head.Origin names
// the origin, and the history who asked for it and why.
//
// Nothing is re-run of which the effects are not known, or have been dealt with:
// ErrRerun when an operation is in doubt, when something was undone, or a saga's
// pivot has happened; and when the execution has not ended, or has succeeded.
// ErrNotFound when there is no such execution or operation.
func (e *Engine) Rerun(ctx context.Context, id, from, actor, reason string) (string, error) {
	if err := needActor("rerun", actor, reason); err != nil {
		return "", err
	}
	var rec *Record
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		rec, err = e.store.Load(ctx, id, LoadAll)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("rerun %q: %w", id, err)
	}
	j := newJournal()
	if err := j.load(rec.Journal); err != nil {
		return "", fmt.Errorf("rerun %q: %w", id, err)
	}
	op, err := j.find(from)
	if err == nil {
		err = mayRerun(&rec.Head, &j)
	}
	if err != nil {
		return "", fmt.Errorf("rerun %q from %q: %w", id, from, err)
	}
	entries := j.before(op, rec.Journal)
	at := now()
	said, err := json.Marshal(Decision{Verb: VerbRerun})
	if err != nil {
		return "", err
	}
	entries = append(entries, Entry{Kind: EntryVerb, At: at, Payload: said, Actor: actor, Reason: reason})
	return e.createRerun(ctx, rec, entries)
}

// createRerun creates the execution under the next free ID.
func (e *Engine) createRerun(ctx context.Context, rec *Record, entries []Entry) (string, error) {
	root := rec.ID
	if i := strings.LastIndexByte(root, '~'); i > 0 && rec.Origin != "" {
		root = root[:i]
	}
	at := now()
	for n := 1; ; n++ {
		suffix := "~" + strconv.Itoa(n)
		id := rec.Identity
		id.ID, id.Origin, id.Created, id.Parent = root+suffix, rec.ID, at, Parent{}
		if len(id.ID) > MaxNameLength {
			return "", fmt.Errorf("%w: the ID %q would have %d bytes, at most %d are possible", ErrInvalid, id.ID, len(id.ID), MaxNameLength)
		}
		id.Digest = digest(id.ID, id.Input)
		if !rec.Deadline.IsZero() {
			id.Deadline = at.Add(rec.Deadline.Sub(rec.Created))
		}
		c := &Create{Identity: id, Now: at, Owner: e.nonce(), First: &Commit{
			ID: id.ID, Epoch: 1, Seq: 1, Now: at, Entries: entries, Status: StatusSuspended, Due: at,
		}}
		err := e.insist(ctx, func(ctx context.Context) error { return e.store.Create(ctx, c) })
		switch {
		case err == nil:
			e.kick(at)
			return id.ID, nil
		case !errors.Is(err, ErrExists):
			return "", err
		}
	}
}

// find returns an operation by its name or its number.
func (j *journal) find(from string) (*operation, error) {
	var found []*operation
	for _, op := range j.ops {
		if op.name == from && from != "" {
			found = append(found, op)
		}
	}
	if n, err := strconv.Atoi(from); err == nil && len(found) == 0 && n >= 1 && n <= len(j.ops) {
		found = append(found, j.ops[n-1])
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("%w: there is no operation of this name or number in its history", ErrNotFound)
	}
	numbers := make([]string, len(found))
	for i, op := range found {
		numbers[i] = strconv.FormatInt(op.num, 10)
	}
	return nil, fmt.Errorf("%w: %d operations have this name: choose one by its number, of %s", ErrInvalid, len(found), strings.Join(numbers, ", "))
}

// mayRerun says why an execution may not be re-run, nil if it may.
func mayRerun(h *Head, j *journal) error {
	switch {
	case !h.Status.Ended():
		return fmt.Errorf("%w: it is %v: only what has ended is re-run", ErrRerun, h.Status)
	case h.Status == StatusSucceeded:
		return fmt.Errorf("%w: it has succeeded", ErrRerun)
	case j.run > 1:
		return fmt.Errorf("%w: it has continued as new, in run %d", ErrRerun, j.run)
	}
	for _, op := range j.ops {
		var why string
		switch {
		case op.id.scope == ScopeUnwind:
			why = "was part of the way out: what was undone is not run again"
		case op.subtype == SubtypePivot && op.end == EntryResult:
			why = "has happened, and the saga is committed"
		case op.typ == OpStep && op.end != EntryResult && (op.doubt || op.running) && !op.resolved,
			op.typ == OpInvoke && op.end != EntryResult:
			why = "is in doubt: it started, and nothing proves that it had no effect. Find out, mend it, and start anew under another ID"
		default:
			continue
		}
		return fmt.Errorf("%w: operation %d, %s, %s", ErrRerun, op.num, op.describe(), why)
	}
	return nil
}

// before returns what the journal has of the operations that began before one,
// and have ended; and of the contexts around it, that they have begun.
func (j *journal) before(op *operation, entries []Entry) []Entry {
	numbers := map[int64]int64{0: 0} // in the new journal
	around := map[int64]bool{}
	for up := j.parentOf(op); up != nil; up = j.parentOf(up) {
		around[up.num] = true
	}
	for _, prior := range j.ops[:op.num-1] {
		_, kept := numbers[prior.id.parent]
		if kept && (around[prior.num] || prior.done) {
			numbers[prior.num] = int64(len(numbers))
		}
	}
	var out []Entry
	for _, e := range entries {
		n, kept := numbers[e.Op]
		if !kept || e.Op == 0 || around[e.Op] && !e.First {
			continue
		}
		e.Op, e.Parent, e.Link, e.Epoch = n, numbers[e.Parent], numbers[e.Link], 0
		if e.Kind == EntryStart && e.Attempt > 0 {
			e.Epoch = 1
		}
		out = append(out, e)
	}
	return slices.Clip(out)
}
