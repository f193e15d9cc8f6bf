package faultsuite

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/clewdev/clew/durable"
)

// verdict is what the checks found.
type verdict struct {
	violations []string
	unfinished []string
	givenUp    int // writes refused to whose they were: executions given up by an owner that still had them
	acked      int // commits
	claims     int // whose journal is known
	effects    int
	repeated   int // effects beyond the first of each step
	refused    int // effects that came after their undo
	takeovers  int // claims beyond the first, of all executions
	parked     int // times that a person had to help
	statuses   map[durable.Status]int
}

func (v *verdict) report(format string, args ...any) {
	v.violations = append(v.violations, fmt.Sprintf(format, args...))
}

// history is a journal as texts that can be compared.
type history []string

func historyOf(entries []durable.Entry) history {
	h := make(history, 0, len(entries))
	for i := range entries {
		h = append(h, string(durable.EncodeEntries(entries[i:i+1])))
	}
	return h
}

// begins tells whether the history is how another one begins.
func (h history) begins(longer history) bool {
	return len(h) <= len(longer) && slices.Equal(h, longer[:len(h)])
}

// readAcks reads what the workers saw acknowledged, by execution.
func readAcks(dir string) (map[string][]ack, error) {
	all := map[string][]ack{}
	files, err := filepath.Glob(filepath.Join(dir, "acks-*"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r := bufio.NewReader(f)
		for {
			line, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				break // what has no end was being written at the kill
			}
			var a ack
			if err := json.Unmarshal(line, &a); err == nil {
				all[a.ID] = append(all[a.ID], a)
			}
		}
		_ = f.Close()
	}
	return all, nil
}

// check compares the three sources about all executions.
func (r *run) check(ctx context.Context) (*verdict, error) {
	v := &verdict{statuses: map[durable.Status]int{}, parked: r.helped, givenUp: len(r.disowned), violations: r.disowned}
	acks, err := readAcks(r.dir)
	if err != nil {
		return nil, err
	}
	for n := range r.plan.Executions {
		id := executionID(n)
		rec, err := r.direct.Load(ctx, id, durable.LoadAll)
		if errors.Is(err, durable.ErrNotFound) {
			v.unfinished = append(v.unfinished, id+" was not started")
			continue
		}
		if err != nil {
			v.report("%s cannot be read: %v", id, err)
			continue
		}
		v.statuses[rec.Status]++
		v.takeovers += int(rec.Epoch) - 1
		if !rec.Status.Ended() {
			v.unfinished = append(v.unfinished, fmt.Sprintf("%s is %v (%s), want it to have ended", id, rec.Status, parkText(rec.Park)))
		}
		v.history(id, rec, r.sampled(id))
		v.acks(id, rec, acks[id])
		if r.wasCancelled(id) && !slices.ContainsFunc(rec.Journal, func(e durable.Entry) bool { return e.Kind == durable.EntryCancel && e.Op == 0 }) {
			v.report("%s: its cancel was acknowledged, and is not in its journal", id)
		}
		effects, err := r.participant.effects(id)
		if err != nil {
			return nil, err
		}
		v.judgeEffects(id, rec, effects, n)
	}
	return v, nil
}

func parkText(p *durable.Park) string {
	if p == nil {
		return "not parked"
	}
	return p.Message
}

// history: the journal is one line of events, and every journal that was read
// while it grew is how it begins.
func (v *verdict) history(id string, rec *durable.Record, sampled []history) {
	final := historyOf(rec.Journal)
	for _, h := range sampled {
		if !h.begins(final) {
			v.report("%s: a journal of %d entries was read that is not the beginning of the final one of %d", id, len(h), len(final))
			break
		}
	}
	type attempt struct {
		op int64
		n  int
	}
	ended, done := map[int64]bool{}, map[attempt]bool{}
	for i := range rec.Journal {
		e := &rec.Journal[i]
		if e.Kind == durable.EntryParked {
			v.parkedFor(id, e)
		}
		if e.Op == 0 || e.Kind == durable.EntryParked || e.Kind == durable.EntryVerb {
			continue
		}
		if ended[e.Op] && e.Type != durable.OpPark {
			v.report("%s: entry %d, of kind %d, follows the end of operation %d", id, i+1, e.Kind, e.Op)
			return
		}
		switch e.Kind {
		case durable.EntryResult, durable.EntryFailure, durable.EntryTimeout, durable.EntryCancel, durable.EntryLost:
			key := attempt{e.Op, e.Attempt}
			if e.Attempt > 0 && done[key] && e.Kind != durable.EntryLost {
				v.report("%s: operation %d ends its attempt %d twice", id, e.Op, e.Attempt)
			}
			done[key] = true
			if !e.Retry {
				ended[e.Op] = true
			}
		}
	}
}

// parkedFor: no fault makes a bug of an execution. One that parks for a bug has
// replayed something that did not happen.
func (v *verdict) parkedFor(id string, e *durable.Entry) {
	var p durable.Park
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		v.report("%s: a park that cannot be read: %v", id, err)
	} else if p.Reason == durable.ParkNondeterminism || p.Reason == durable.ParkPanic {
		v.report("%s parked for a bug: %s: %s", id, p.Reason, p.Message)
	}
}

// turn is how far a claim is known to have come: after commit seq of this
// epoch the journal had so many entries.
type turn struct {
	epoch, seq int64
	at         int
}

// acks: what was acknowledged is in the journal, whole and in order. A claim
// has seen everything that was acknowledged to those before it and nothing of
// those after it; its commits stand right behind that, with nothing of anybody
// else between them.
func (v *verdict) acks(id string, rec *durable.Record, acks []ack) {
	slices.SortStableFunc(acks, func(a, b ack) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
	})
	final, known := historyOf(rec.Journal), turn{epoch: 1}
	var last ack
	for _, a := range acks {
		if a.GivenUp != "" {
			v.givenUp++
			v.report("%s: %s", id, a.GivenUp)
			continue
		}
		if last.ID != "" && last.Epoch == a.Epoch && last.Seq == a.Seq && !a.Claim {
			continue // acknowledged twice
		}
		last = a
		entries, err := durable.DecodeEntries(a.Entries)
		if err != nil {
			v.report("%s: %v", id, err)
			continue
		}
		batch, ok := historyOf(entries), false
		if a.Claim {
			known, ok = v.seen(id, a, batch, final, known)
		} else {
			known, ok = v.stands(id, a, batch, final, known)
		}
		if !ok {
			return
		}
	}
}

// seen judges the journal that a claim returned.
func (v *verdict) seen(id string, a ack, journal, final history, known turn) (turn, bool) {
	v.claims++
	switch {
	case !journal.begins(final):
		v.report("%s: the claim of epoch %d saw a journal of %d entries that is not the beginning of the final one of %d", id, a.Epoch, len(journal), len(final))
	case len(journal) < known.at:
		v.report("%s: the claim of epoch %d saw %d entries, and those of epoch %d knew %d", id, a.Epoch, len(journal), known.epoch, known.at)
	default:
		return turn{epoch: a.Epoch, at: len(journal)}, true
	}
	return known, false
}

// stands judges a commit that was acknowledged. Where the ones before it are
// not known, because their owner was killed before it could note them, it
// stands somewhere behind.
func (v *verdict) stands(id string, a ack, batch, final history, known turn) (turn, bool) {
	v.acked++
	at := known.at
	if known.epoch != a.Epoch || known.seq+1 != a.Seq {
		for at < len(final) && !batch.begins(final[at:]) {
			at++
		}
	}
	if at > len(final) || !batch.begins(final[at:]) {
		v.report("%s: acknowledged commit %d of epoch %d is not in the journal, or not in its place", id, a.Seq, a.Epoch)
		return known, false
	}
	return turn{epoch: a.Epoch, seq: a.Seq, at: at + len(batch)}, true
}
