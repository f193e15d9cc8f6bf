package mem

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// limitOf is the most that a page of a query with this limit holds.
func limitOf(limit int) int {
	if limit <= 0 {
		return 100
	}
	return limit
}

// Due implements durable.Store. It looks at every execution in the store.
func (s *Store) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	if err := ctx.Err(); err != nil {
		return durable.DuePage{}, err
	}
	from, err := parsePlace(q.Cursor)
	if err != nil {
		return durable.DuePage{}, err
	}
	due, later := s.due(q)
	due = slices.DeleteFunc(due, func(p place) bool { return q.Cursor != "" && p.compare(from) <= 0 })
	slices.SortFunc(due, place.compare)
	page := durable.DuePage{Later: later}
	if limit := limitOf(q.Limit); len(due) > limit {
		due = due[:limit]
		page.Next = due[limit-1].String()
	}
	for _, p := range due {
		page.Entries = append(page.Entries, durable.DueEntry{ID: p.id, At: p.due, Running: p.running})
	}
	return page, nil
}

// due returns, in no order, all that is due and when the next one that waits
// will be.
func (s *Store) due(q *durable.DueQuery) (due []place, later time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		switch {
		case r.Definition != q.Definition || r.Version != q.Version:
		case r.isDue(q.Now):
			due = append(due, place{r.Due, r.ID, r.Status == durable.StatusRunning})
		case !r.Due.IsZero() && r.Status != durable.StatusRunning && (later.IsZero() || r.Due.Before(later)):
			later = r.Due
		}
	}
	return due, later
}

// place is where an execution stands in the order of Due, and its cursor.
type place struct {
	due     time.Time
	id      string
	running bool // no part of the order
}

func (p place) compare(q place) int {
	return cmp.Or(p.due.Compare(q.due), strings.Compare(p.id, q.id))
}

func (p place) String() string { return p.due.Format(time.RFC3339Nano) + " " + p.id }

func parsePlace(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	due, id, _ := strings.Cut(cursor, " ")
	t, err := time.Parse(time.RFC3339Nano, due)
	if err != nil {
		return place{}, fmt.Errorf("mem: %q is not a cursor of Due: %w", cursor, err)
	}
	return place{due: t, id: id}, nil
}

// List implements durable.Store. Its heads come without input. It looks at
// every execution in the store.
func (s *Store) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	if err := ctx.Err(); err != nil {
		return durable.ListPage{}, err
	}
	heads := s.heads(q)
	slices.SortFunc(heads, func(a, b durable.Head) int { return strings.Compare(a.ID, b.ID) })
	var page durable.ListPage
	if limit := limitOf(q.Limit); len(heads) > limit {
		heads = heads[:limit]
		page.Next = heads[limit-1].ID
	}
	for _, h := range heads {
		h.Input = nil
		page.Heads = append(page.Heads, copyHead(h))
	}
	return page, nil
}

// heads returns, in no order and not copied, the heads after the cursor.
func (s *Store) heads(q *durable.ListQuery) []durable.Head {
	s.mu.Lock()
	defer s.mu.Unlock()
	var heads []durable.Head
	for id, r := range s.rows {
		if id > q.Cursor && q.Matches(&r.Head) {
			heads = append(heads, r.Head)
		}
	}
	return heads
}
