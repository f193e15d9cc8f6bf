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
// journal has what the origin recorded before that operation began, and what
// had begun then and has succeeded since, and so passes it without running
// anything. Signals that had arrived are kept. from is the operation's name, or its
// number in the history if the name is not unique. The new execution's ID, which
// is returned, is that of the first origin with ~n behind it; Head.Origin names
// the origin, and the history who asked for it and why.
//
// Nothing is re-run of which the effects are not known, or have been dealt with:
// ErrRerun when an operation is in doubt, when something was undone, or a saga's
// pivot has happened; when a callback that was open then would have to be waited
// for again, of which nobody has the new ID; and when the execution has not
// ended, or has succeeded.
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
	entries, err := j.before(op, rec)
	if err != nil {
		return "", fmt.Errorf("rerun %q from %q: %w", id, from, err)
	}
	if p := e.pausedNow(ctx, rec.Definition); p != nil && p.Starts {
		return "", fmt.Errorf("rerun %q from %q: %w", id, from, &PausedError{*p})
	}
	at := now()
	said, err := json.Marshal(Decision{Verb: VerbRerun})
	if err != nil {
		return "", err
	}
	entries = append(entries, Entry{Kind: EntryVerb, At: at, Payload: said, Actor: actor, Reason: reason},
		Entry{Kind: EntrySuspended, At: at, Epoch: 1})
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
			e.started(ctx, &id)
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
		return nil, fmt.Errorf("%w: there is no operation of this name or number in its history, which has %s", ErrNotFound, j.named())
	}
	numbers := make([]string, len(found))
	for i, op := range found {
		numbers[i] = strconv.FormatInt(op.num, 10)
	}
	return nil, fmt.Errorf("%w: %d operations have this name: choose one by its number, of %s", ErrInvalid, len(found), strings.Join(numbers, ", "))
}

// named lists the names of the operations, as many as a person reads.
func (j *journal) named() string {
	const most = 20
	var names []string
	for _, op := range j.ops {
		if op.name != "" && !slices.Contains(names, op.name) {
			names = append(names, op.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
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

// before returns what the journal had before an operation began, and what other
// operations that had begun then have succeeded with since: what has happened
// is not run again. The contexts of what is left to do have begun, and no more.
func (j *journal) before(op *operation, rec *Record) ([]Entry, error) {
	p, err := j.prefix(op, rec)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for i, e := range rec.Journal {
		keep := p.numbers[e.Op] != 0 && (e.First || !p.open[e.Op])
		if e.Op == 0 {
			if keep, err = p.keepsOf(&e, i); err != nil {
				return nil, err
			}
		}
		if !keep {
			continue
		}
		e.Op, e.Parent, e.Link, e.Epoch = p.numbers[e.Op], p.numbers[e.Parent], p.numbers[e.Link], 0
		if e.Kind == EntryStart && e.Attempt > 0 {
			e.Epoch = 1
		}
		if e.Delivery != 0 { // before those that the new execution will get
			e.Delivery -= rec.Delivered + 1
		}
		out = append(out, e)
	}
	return slices.Clip(out), nil
}

// prefix is what of a journal a re-run begins with.
type prefix struct {
	began   int             // entries before the operation from which it is run again
	numbers map[int64]int64 // of operations in the new journal; 0 for the execution, and what is not kept
	open    map[int64]bool  // contexts that have begun, and no more
	taken   map[int64]bool  // deliveries that kept operations have received
	parked  bool            // the last parking of the engine was over what is kept
}

func (j *journal) prefix(op *operation, rec *Record) (*prefix, error) {
	p := &prefix{numbers: map[int64]int64{}, open: map[int64]bool{}, taken: map[int64]bool{}}
	p.began = slices.IndexFunc(rec.Journal, func(e Entry) bool { return e.First && e.Op == op.num })
	then := newJournal()
	if err := then.load(rec.Journal[:p.began]); err != nil {
		return nil, err
	}
	for i, prior := range j.ops[:op.num-1] {
		ended := then.ops[i].done || prior.succeeded() && !j.within(op, prior)
		switch {
		case prior.id.parent != 0 && p.numbers[prior.id.parent] == 0:
		case prior.typ == OpContext && !ended:
			p.open[prior.num] = true
			fallthrough
		case ended:
			p.numbers[prior.num] = int64(len(p.numbers)) + 1
		case prior.typ == OpCallback:
			return nil, fmt.Errorf("%w: operation %d, %s, waited for a result then, and whoever was asked for it knows the origin's: choose it, or what came before it", ErrRerun, prior.num, prior.describe())
		}
	}
	for _, e := range rec.Journal {
		if p.numbers[e.Op] != 0 && e.Delivery != 0 {
			p.taken[e.Delivery] = true
		}
	}
	return p, nil
}

// succeeded tells whether an operation has ended well. Of a Parallel or Map only
// its branches can tell.
func (op *operation) succeeded() bool {
	several := op.typ == OpContext && (op.subtype == subtypeParallel || op.subtype == subtypeMap)
	return op.done && op.end == EntryResult && !several
}

// keepsOf tells whether an entry that concerns the execution as a whole is kept:
// a signal that had arrived, or has been received; and what an operator said
// of an operation over which the engine had parked, which is renumbered.
func (p *prefix) keepsOf(e *Entry, i int) (bool, error) {
	switch e.Kind {
	case EntrySignal:
		return i < p.began || p.taken[e.Delivery], nil
	case EntryParked:
		park, err := fromJSON[Park](e.Payload)
		if err != nil {
			return false, err
		}
		park.Op = p.numbers[park.Op]
		p.parked = park.Op != 0
		e.Payload, err = json.Marshal(park)
		return p.parked, err
	case EntryVerb:
		keep := p.parked
		p.parked = false
		return keep, nil
	}
	return false, nil
}
