package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/clewdev/clew/durable"
)

// finding is what the audit says of one hire.
type finding struct {
	ID      string
	Class   string
	Problem string // what stands and should not, or the other way round
}

// The classes of findings. Only the last one is somebody's mistake.
const (
	allDone   = "all done"
	allUndone = "all undone"
	underWay  = "under way"
	isParked  = "parked"
	abandoned = "abandoned" // a person has ended it with effects left
	broken    = "BROKEN"
)

// audit holds the books of the outside world against what each saga says of
// itself. The sagas are read first: what has ended does nothing more outside, so
// the books that are read later are final for it.
func audit(ctx context.Context, d *desk) ([]finding, error) {
	heads := map[string]durable.Head{}
	q := &durable.ListQuery{Definition: d.saga.Name()}
	for more := true; more; more = q.Cursor != "" {
		list, err := d.engine.Store().List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, h := range list.Heads {
			heads[h.ID] = h
		}
		q.Cursor = list.Next
	}
	entries, err := d.books.all(ctx)
	if err != nil {
		return nil, err
	}
	standing := map[string]map[string]int{} // by hire and kind
	for _, e := range entries {
		if standing[e.Hire] == nil {
			standing[e.Hire] = map[string]int{}
		}
		if e.State == stands && e.Kind != kindReminder {
			standing[e.Hire][e.Kind]++
		}
	}
	var findings []finding
	for _, id := range slices.Sorted(maps.Keys(heads)) {
		h := heads[id]
		findings = append(findings, judge(&h, standing[id]))
		delete(standing, id)
	}
	for _, id := range slices.Sorted(maps.Keys(standing)) {
		if _, _, err := load(ctx, d.engine, id); err == nil {
			findings = append(findings, finding{ID: id, Class: underWay}) // since the list was read
			continue
		}
		findings = append(findings, finding{id, broken, "things were done for a hire whom no saga knows"})
	}
	return findings, nil
}

// judge says what stands for one hire, and whether it is right so.
func judge(h *durable.Head, standing map[string]int) finding {
	f := finding{ID: h.ID}
	var wrong []string
	for _, kind := range kinds {
		want := 0
		if h.Status == durable.StatusSucceeded {
			want = 1
		}
		if n := standing[kind]; n != want {
			wrong = append(wrong, fmt.Sprintf("%d × %s", n, kind))
		}
	}
	what := strings.Join(wrong, ", ")
	switch {
	case h.Status == durable.StatusParked:
		f.Class, f.Problem = isParked, "stands: "+what+"; see clew show "+h.ID
	case !h.Status.Ended():
		f.Class = underWay
	case h.Status == durable.StatusTerminated:
		f.Class, f.Problem = abandoned, what
	case what != "":
		f.Class, f.Problem = broken, fmt.Sprintf("the saga is %s, and there is: %s", h.Detail, what)
	case h.Status == durable.StatusSucceeded:
		f.Class = allDone
	default:
		f.Class = allUndone
	}
	return f
}

// errAudit: something is to be looked at.
var errAudit = errors.New("not all is well")

// report prints the findings. It is an error if one is broken or parked.
func report(w io.Writer, findings []finding) error {
	t := tableOn(w, "who", "books", "")
	count := map[string]int{}
	for _, f := range findings {
		t.AppendRow(table.Row{f.ID, f.Class, f.Problem})
		count[f.Class]++
	}
	t.Render()
	var words []string
	for _, class := range []string{allDone, allUndone, underWay, isParked, abandoned, broken} {
		if count[class] > 0 || class != abandoned {
			words = append(words, fmt.Sprintf("%d %s", count[class], class))
		}
	}
	fmt.Fprintln(w, strings.Join(words, ", "))
	if count[broken]+count[isParked] > 0 {
		return fmt.Errorf("%w: %d parked, %d broken", errAudit, count[isParked], count[broken])
	}
	return nil
}
