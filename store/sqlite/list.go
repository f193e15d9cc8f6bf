package sqlite

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// List implements durable.Store; its heads come without input. It walks along
// the IDs. Parked executions have an index of their own; any other filter
// looks at each execution that it passes, and that for tags decodes it too.
func (s *Store) List(ctx context.Context, q *durable.ListQuery) (durable.ListPage, error) {
	limit := limitOf(q.Limit)
	var found []row
	var failed error
	err := s.read(ctx, func(c *conn) {
		// The way to the next match can be long, so it ends with the context.
		c.db.SetInterrupt(ctx.Done())
		defer c.db.SetInterrupt(nil)
		found, failed = list(c, q, limit+1)
	})
	if err = firstOf(err, failed); err != nil {
		return durable.ListPage{}, err
	}
	var page durable.ListPage
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].ID
	}
	for i := range found {
		page.Heads = append(page.Heads, found[i].Head)
	}
	return page, nil
}

func list(c *conn, q *durable.ListQuery, limit int) (found []row, failed error) {
	s, _, err := c.db.PrepareTransient(listSQL(q))
	if err != nil {
		c.fault = err
		return nil, nil
	}
	defer s.Finalize()
	rest := *q                                              // of the filter, which is in the query too, but for tags
	rest.EndedFrom, rest.EndedTo = time.Time{}, time.Time{} // the end is read only of those that match
	rows := call{c: c, s: s}
	rows.text(q.Cursor)
	if q.Definition != "" {
		rows.text(q.Definition)
	}
	for len(found) < limit && rows.row() {
		var r row
		failed = firstOf(failed, r.scanHead(&rows))
		if rest.Matches(&r.Head) {
			found = append(found, r)
		}
	}
	for i := range found {
		found[i].readEnd(c, &failed)
	}
	return found, failed
}

// listSQL writes the statuses as numbers, because only a query that has the
// status in its text gets the index of parked executions. How many rows are
// wanted it does not say: tags, which are no columns, are looked at on the way.
func listSQL(q *durable.ListQuery) string {
	sql := `SELECT ` + headColumns
	if len(q.Statuses) == 1 && q.Statuses[0] == durable.StatusParked {
		sql += `INDEXED BY parked ` // few among many, which SQLite cannot know
	}
	sql += joinHead + `WHERE e.id > ?1 `
	if q.Definition != "" {
		sql += `AND e.definition IN (SELECT n FROM definitions WHERE name = ?2) `
	}
	if len(q.Statuses) > 0 {
		terms := make([]string, len(q.Statuses))
		for i, status := range q.Statuses {
			terms[i] = `e.status = ` + strconv.Itoa(int(status))
		}
		sql += `AND (` + strings.Join(terms, ` OR `) + `) `
	}
	if !q.From.IsZero() {
		sql += `AND b.created >= ` + strconv.FormatInt(nanos(q.From), 10) + ` `
	}
	if !q.To.IsZero() { // what was never given a time was before any
		sql += `AND (b.created IS NULL OR b.created < ` + strconv.FormatInt(nanos(q.To), 10) + `) `
	}
	if !q.EndedFrom.IsZero() || !q.EndedTo.IsZero() {
		sql += `AND e.n IN (SELECT n FROM ends WHERE ` + endedSQL(q) + `) `
	}
	return sql + `ORDER BY e.id`
}

// endedSQL bounds the end.
func endedSQL(q *durable.ListQuery) string {
	sql := `ended IS NOT NULL`
	if !q.EndedFrom.IsZero() {
		sql += ` AND ended >= ` + strconv.FormatInt(nanos(q.EndedFrom), 10)
	}
	if !q.EndedTo.IsZero() {
		sql += ` AND ended < ` + strconv.FormatInt(nanos(q.EndedTo), 10)
	}
	return sql
}

// limitOf is the most that a page of a query with this limit holds.
func limitOf(limit int) int {
	if limit <= 0 {
		return 100
	}
	return limit
}
