package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
)

// plan is what SQLite is going to do for a statement.
func plan(t *testing.T, c *conn, sql string) string {
	t.Helper()
	s, _, err := c.db.PrepareTransient("EXPLAIN QUERY PLAN " + sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer s.Finalize()
	var lines []string
	for {
		row, err := s.Step()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if !row {
			break
		}
		lines = append(lines, s.GetText("detail"))
	}
	return strings.Join(lines, "; ")
}

// No statement may walk a table, whatever its size, but those that are meant
// to; and the parts that rest on an index rest on the right one.
func TestPlans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clew.db")
	openAt(t, path)
	c, err := dial(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for q, sql := range queries {
		switch got := plan(t, c, sql); query(q) {
		case qBegin, qBeginRead, qEnd, qRollback:
		case qOwners, qClaimsOf: // few rows; index alone, only after a death
			if query(q) == qClaimsOf && !strings.Contains(got, "USING COVERING INDEX due") {
				t.Errorf("%s: got plan %q, want the index alone", sql, got)
			}
		case qDue, qLater:
			if !strings.Contains(got, "INDEX due (definition=? AND due>") {
				t.Errorf("%s: got plan %q, want a range of index due", sql, got)
			}
		default:
			if strings.Contains(got, "SCAN") {
				t.Errorf("%s: got plan %q, want no scan", sql, got)
			}
		}
	}
	parked := plan(t, c, listSQL(&durable.ListQuery{Statuses: []durable.Status{durable.StatusParked}}))
	if !strings.Contains(parked, "INDEX parked") || strings.Contains(parked, "B-TREE") {
		t.Errorf("list of parked ones: got plan %q, want a range of index parked", parked)
	}
	all := plan(t, c, listSQL(&durable.ListQuery{}))
	if !strings.Contains(all, "SEARCH e USING INDEX sqlite_autoindex_executions_1 (id>?)") || strings.Contains(all, "B-TREE") {
		t.Errorf("list of all: got plan %q, want a range along the IDs", all)
	}
	both := plan(t, c, listSQL(&durable.ListQuery{Definition: "d", Statuses: []durable.Status{durable.StatusFailed}}))
	span := plan(t, c, listSQL(&durable.ListQuery{From: now, To: late, Tags: map[string]string{"k": "v"}}))
	if !strings.HasPrefix(span, "SEARCH e USING INDEX sqlite_autoindex_executions_1 (id>?)") || strings.Contains(span, "B-TREE") {
		t.Errorf("list by time: got plan %q, want a range along the IDs", span)
	}
	if !strings.HasPrefix(both, "SEARCH e USING INDEX sqlite_autoindex_executions_1 (id>?)") || strings.Contains(both, "B-TREE FOR ORDER") {
		t.Errorf("filtered list: got plan %q, want a range along the IDs", both)
	}
}
