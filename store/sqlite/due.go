package sqlite

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// Due implements durable.Store. It also looks, a few times a second at most,
// whether other processes that share the file are still alive, and lists what
// dead ones left.
func (s *Store) Due(ctx context.Context, q *durable.DueQuery) (page durable.DuePage, err error) {
	from, err := parsePlace(q.Cursor)
	if err != nil {
		return page, err
	}
	if err := s.sound(); err != nil {
		return page, err
	}
	s.reap(ctx, q.Now)
	limit := limitOf(q.Limit)
	var found []place
	err = s.read(ctx, func(c *conn) {
		now := nanos(q.Now)
		rows := c.query(qDue)
		rows.text(q.Definition).text(q.Version).int(from.due).int(now).text(from.id)
		for rows.int(int64(limit) + 1); rows.row(); {
			id := rows.getText()
			found = append(found, place{due: rows.getInt(), id: id, running: rows.getInt() == int64(durable.StatusRunning)})
		}
		later := c.query(qLater)
		later.text(q.Definition).text(q.Version).int(now).one(func(q *call) { page.Later = q.getTime() })
	})
	if err != nil {
		return durable.DuePage{}, err
	}
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].String()
	}
	for _, p := range found {
		page.Entries = append(page.Entries, durable.DueEntry{ID: p.id, At: time.Unix(0, p.due).UTC(), Running: p.running})
	}
	return page, nil
}

// place is where an execution stands in the order of Due, and its cursor.
type place struct {
	due     int64
	id      string
	running bool // no part of the order
}

func (p place) String() string { return strconv.FormatInt(p.due, 10) + " " + p.id }

func parsePlace(cursor string) (place, error) {
	if cursor == "" {
		return place{due: math.MinInt64}, nil
	}
	due, id, _ := strings.Cut(cursor, " ")
	n, err := strconv.ParseInt(due, 10, 64)
	if err != nil {
		return place{}, fmt.Errorf("sqlite: %q is not a cursor of Due: %w", cursor, durable.ErrInvalid)
	}
	return place{due: n, id: id}, nil
}

// stored is a time as it comes back from the file.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(0, nanos(t)).UTC()
}
