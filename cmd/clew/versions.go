package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

// inFlight is what there is of one definition version that has not ended.
type inFlight struct {
	Definition string    `json:"definition"`
	Version    string    `json:"version"`
	Pending    int       `json:"pending"`
	Running    int       `json:"running"`
	Suspended  int       `json:"suspended"`
	Parked     int       `json:"parked"`
	Oldest     time.Time `json:"oldest"`
	// Overdue is for how many seconds something has been due, at most.
	Overdue float64 `json:"overdue_seconds"`
	// Paused is the pause of the definition, if there is one.
	Paused *durable.Pause `json:"paused,omitempty"`
}

// late is when nobody seems to serve a version: workers look every second or
// so, and a lease that ended is taken over as soon.
const late = time.Minute

func (t *tool) versions() *cobra.Command {
	return &cobra.Command{
		Use: "versions", Short: "Show what is in flight on which version of which definition, and what is paused", Args: cobra.NoArgs,
		Long: "Show what is in flight on which version of which definition. An execution runs on the version that it started\n" +
			"with, and workers take only what they have registered. A version whose work stays due is served by nobody: run a\n" +
			"worker that registers it too. Nothing of it is lost, and nothing parks.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := map[[2]string]*inFlight{}
			q := &durable.ListQuery{Limit: 500, Statuses: []durable.Status{
				durable.StatusPending, durable.StatusRunning, durable.StatusSuspended, durable.StatusParked}}
			at := time.Now()
			err := t.each(cmd.Context(), q, func(h *durable.Head) error {
				key := [2]string{h.Definition, h.Version}
				if found[key] == nil {
					found[key] = &inFlight{Definition: h.Definition, Version: h.Version}
				}
				found[key].add(h, at)
				return nil
			})
			if err != nil {
				return err
			}
			paused, err := t.e.Pauses(cmd.Context())
			if err != nil {
				return err
			}
			pauses(found, paused)
			return t.listVersions(slices.SortedFunc(maps.Values(found), func(a, b *inFlight) int {
				return cmp.Or(cmp.Compare(a.Definition, b.Definition), cmp.Compare(a.Version, b.Version))
			}), paused)
		},
	}
}

// pauses adds the pauses to what is in flight, and those of which nothing is.
func pauses(found map[[2]string]*inFlight, paused []durable.Pause) {
	for i := range paused {
		p, known := &paused[i], false
		for _, v := range found {
			if v.Definition == p.Definition {
				v.Paused, known = p, true
			}
		}
		if !known {
			found[[2]string{p.Definition}] = &inFlight{Definition: p.Definition, Paused: p}
		}
	}
}

func (v *inFlight) add(h *durable.Head, at time.Time) {
	switch h.Status {
	case durable.StatusPending:
		v.Pending++
	case durable.StatusRunning:
		v.Running++
	case durable.StatusSuspended:
		v.Suspended++
	case durable.StatusParked:
		v.Parked++
	}
	if v.Oldest.IsZero() || h.Created.Before(v.Oldest) {
		v.Oldest = h.Created
	}
	if !h.Due.IsZero() {
		v.Overdue = max(v.Overdue, at.Sub(h.Due).Seconds())
	}
}

func (t *tool) listVersions(all []*inFlight, paused []durable.Pause) error {
	w := t.table("DEFINITION", "VERSION", "PENDING", "RUNNING", "SUSPENDED", "PARKED", "OLDEST", "OVERDUE")
	for _, v := range all {
		if t.json {
			if err := t.print(v); err != nil {
				return err
			}
			continue
		}
		if v.Version == "" { // it is paused, and nothing of it is in flight
			w.AppendRow([]any{v.Definition, "", 0, 0, 0, 0, "", ""})
			continue
		}
		overdue := ""
		if d := time.Duration(v.Overdue * float64(time.Second)); d > late {
			overdue = d.Round(time.Second).String() + ": does a worker serve it?"
		} else if d > 0 {
			overdue = d.Round(time.Millisecond).String()
		}
		w.AppendRow([]any{v.Definition, v.Version, v.Pending, v.Running, v.Suspended, v.Parked, v.Oldest.Local().Format(time.DateTime), overdue})
	}
	if t.json {
		return nil
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.out, "nothing is in flight")
		return err
	}
	w.Render()
	return t.listPauses(paused)
}
