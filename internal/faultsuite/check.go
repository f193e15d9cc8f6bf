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
	givenUp    int // executions given up by an owner that still had them
	acked      int // commits
	effects    int
	repeated   int // effects beyond the first of each step
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
	v := &verdict{statuses: map[durable.Status]int{}, parked: r.helped}
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

// acks: what was acknowledged is in the journal, in order and whole.
func (v *verdict) acks(id string, rec *durable.Record, acks []ack) {
	slices.SortStableFunc(acks, func(a, b ack) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq))
	})
	final, at := historyOf(rec.Journal), 0
	for i, a := range acks {
		if a.GivenUp != "" {
			v.givenUp++
			v.report("%s: commit %d of epoch %d was refused to the owner: %s", id, a.Seq, a.Epoch, a.GivenUp)
			continue
		}
		if i > 0 && acks[i-1].GivenUp == "" && acks[i-1].Epoch == a.Epoch && acks[i-1].Seq == a.Seq {
			continue // acknowledged twice
		}
		v.acked++
		entries, err := durable.DecodeEntries(a.Entries)
		if err != nil {
			v.report("%s: %v", id, err)
			continue
		}
		batch := historyOf(entries)
		for at <= len(final) && !batch.begins(final[at:]) {
			at++
		}
		if at > len(final) {
			v.report("%s: acknowledged commit %d of epoch %d is not in the journal, or out of order", id, a.Seq, a.Epoch)
			return
		}
		at += len(batch)
	}
}

// judgeEffects: no effect without a start in the journal, no attempt twice that
// may run once, no undo missing, and no effect after its undo.
func (v *verdict) judgeEffects(id string, rec *durable.Record, effects []effect, n int) {
	started := map[string]bool{}
	for i := range rec.Journal {
		if e := &rec.Journal[i]; e.First {
			started[e.Name] = true
		}
	}
	type key struct {
		step, what string
		attempt    int
	}
	standing, count, calls := map[string]bool{}, map[key]int{}, map[string]int{}
	for _, e := range effects {
		v.effects++
		if !started[e.step] {
			v.report("%s: %s had an effect, and the journal has no start of it", id, e.step)
		}
		count[key{e.step, e.what, e.attempt}]++
		if calls[e.step+e.what]++; calls[e.step+e.what] > 1 {
			v.repeated++
		}
		switch e.what {
		case "do":
			standing[e.step] = true
		case "undo":
			standing[e.step] = false
		}
	}
	for k, times := range count {
		if n%2 == 0 && (k.step == "step-04" || k.step == "step-11") && times > 1 {
			v.report("%s: attempt %d of %s, which may run once, ran %d times", id, k.attempt, k.step, times)
		}
	}
	for step, times := range calls {
		if most := int(rec.Epoch) + attempts(rec); times > most {
			v.report("%s: %s was called %d times, in %d activations", id, step, times, rec.Epoch)
		}
	}
	v.judgeEnd(id, rec, standing)
}

// attempts counts attempts that were followed by another.
func attempts(rec *durable.Record) (n int) {
	for i := range rec.Journal {
		if rec.Journal[i].Retry {
			n++
		}
	}
	return n
}

// judgeEnd: what succeeded stands whole, and of a saga that did not, nothing.
func (v *verdict) judgeEnd(id string, rec *durable.Record, standing map[string]bool) {
	for i := 1; i <= 14; i++ {
		step := fmt.Sprintf("step-%02d", i)
		body := rec.Definition == tripName || i != 6 && i != 8
		switch {
		case rec.Status == durable.StatusSucceeded && body && !standing[step]:
			v.report("%s succeeded, and the effect of %s is missing", id, step)
		case rec.Definition == tripName && rec.Status.Ended() && rec.Status != durable.StatusSucceeded && standing[step]:
			v.report("%s ended as %v, and the undo of %s is missing", id, rec.Status, step)
		}
	}
}
