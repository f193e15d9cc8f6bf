package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

// filter chooses executions: the same for all commands that take several.
type filter struct {
	definition, since, until string
	statuses, parkedFor      []string
	tags                     map[string]string
}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.definition, "definition", "", "only of this definition")
	cmd.Flags().StringToStringVar(&f.tags, "tag", nil, "only with this tag, as name=value")
	cmd.Flags().StringVar(&f.since, "since", "", "only created since then: a time, as 2026-11-24T08:00:00Z, or so long ago, as 24h")
	cmd.Flags().StringVar(&f.until, "until", "", "only created before then, likewise")
	cmd.Flags().StringSliceVar(&f.statuses, "status", nil, "only in these statuses: "+strings.Join(statusNames(), ", "))
	cmd.Flags().StringSliceVar(&f.parkedFor, "parked-for", nil, "only parked for these reasons, as undo-failed")
}

// filterFlags are the names of the flags of a filter.
var filterFlags = []string{"definition", "tag", "since", "until", "status", "parked-for"}

// noFilter refuses the flags of a filter beside an ID.
func noFilter(cmd *cobra.Command) error {
	for _, name := range filterFlags {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s is for many, not with one ID", name)
		}
	}
	return nil
}

// query is the part of a filter that the store sees to. Without a status it is
// for those that are given.
func (f *filter) query(usual ...durable.Status) (durable.ListQuery, error) {
	q := durable.ListQuery{Definition: f.definition, Tags: f.tags, Limit: 500}
	var err error
	if q.From, err = moment(f.since); err != nil {
		return q, err
	}
	if q.To, err = moment(f.until); err != nil {
		return q, err
	}
	for _, name := range f.statuses {
		s, err := statusNamed(name)
		if err != nil {
			return q, err
		}
		q.Statuses = append(q.Statuses, s)
	}
	switch {
	case len(q.Statuses) > 0:
	case len(f.parkedFor) > 0:
		q.Statuses = []durable.Status{durable.StatusParked}
	default:
		q.Statuses = usual
	}
	return q, nil
}

// matches is the rest of the filter.
func (f *filter) matches(h *durable.Head) bool {
	return len(f.parkedFor) == 0 || h.Status == durable.StatusParked && h.Park != nil && slices.Contains(f.parkedFor, string(h.Park.Reason))
}

// moment reads a time, or how long ago it was; "" is no time.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%q is neither a time, as 2026-11-24T08:00:00Z, nor a duration, as 24h", s)
	}
	return at, nil
}

var allStatuses = []durable.Status{durable.StatusPending, durable.StatusRunning, durable.StatusSuspended, durable.StatusParked,
	durable.StatusSucceeded, durable.StatusFailed, durable.StatusCancelled, durable.StatusTimedOut, durable.StatusTerminated}

func statusNames() (names []string) {
	for _, s := range allStatuses {
		names = append(names, s.String())
	}
	return names
}

func statusNamed(name string) (durable.Status, error) {
	i := slices.Index(statusNames(), name)
	if i < 0 {
		return 0, fmt.Errorf("unknown status %q: known are %s", name, strings.Join(statusNames(), ", "))
	}
	return allStatuses[i], nil
}
