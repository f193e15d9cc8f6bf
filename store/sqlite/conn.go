package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// conn is one connection with its prepared statements. It remembers the first
// fault: from then on its calls do nothing, so that a piece of work reads like
// its plan and the fault is looked at once, after it.
type conn struct {
	db    *sqlite.Conn
	stmts [queryCount]*sqlite.Stmt
	fault error
}

// dial opens a connection to a file that was inspected before. It never
// creates one: a store whose file vanished must not go on in an empty one.
func dial(path string, busy time.Duration, pragmas ...string) (*conn, error) {
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	db.SetBusyTimeout(busy)
	for _, pragma := range pragmas {
		if err := sqlitex.ExecuteTransient(db, "PRAGMA "+pragma, nil); err != nil {
			db.Close()
			return nil, err
		}
	}
	return &conn{db: db}, nil
}

// take returns the fault and makes the connection usable again.
func (c *conn) take() error {
	err := c.fault
	c.fault = nil
	return err
}

// call is one use of a statement: parameters are bound and columns read in
// their order.
type call struct {
	c    *conn
	s    *sqlite.Stmt
	args int // bound so far
	cols int // read so far
}

// query begins to use a statement. Every use binds all of its parameters.
func (c *conn) query(q query) call {
	if c.fault != nil {
		return call{c: c}
	}
	if c.stmts[q] == nil {
		s, err := c.db.Prepare(queries[q])
		if err != nil {
			c.fault = err
			return call{c: c}
		}
		c.stmts[q] = s
	}
	return call{c: c, s: c.stmts[q]}
}

func (q *call) int(v int64) *call {
	if q.args++; q.s != nil {
		q.s.BindInt64(q.args, v)
	}
	return q
}

func (q *call) bool(v bool) *call {
	if v {
		return q.int(1)
	}
	return q.int(0)
}

func (q *call) text(v string) *call {
	if q.args++; q.s != nil {
		q.s.BindText(q.args, v)
	}
	return q
}

// maybe binds a text of which the empty one is kept as NULL.
func (q *call) maybe(v string) *call {
	if v == "" {
		return q.null()
	}
	return q.text(v)
}

// bytes keeps nil and empty apart.
func (q *call) bytes(v []byte) *call {
	if v == nil {
		return q.null()
	}
	if q.args++; q.s != nil {
		q.s.BindBytes(q.args, v)
	}
	return q
}

// time binds the nanoseconds of t, and NULL for the zero time.
func (q *call) time(t time.Time) *call {
	if t.IsZero() {
		return q.null()
	}
	return q.int(nanos(t))
}

func (q *call) null() *call {
	if q.args++; q.s != nil {
		q.s.BindNull(q.args)
	}
	return q
}

// row runs the statement up to its next row and tells whether there is one.
// After the last one the statement can be used again.
func (q *call) row() bool {
	if q.s == nil || q.c.fault != nil {
		return false
	}
	q.cols = 0
	row, err := q.s.Step()
	if err != nil {
		q.c.fault = err
		return false
	}
	if !row {
		q.end()
	}
	return row
}

// one runs a statement of which only the first row matters. read, if not nil,
// reads that row.
func (q *call) one(read func(*call)) bool {
	if !q.row() {
		return false
	}
	if read != nil {
		read(q)
	}
	q.end()
	return true
}

// run runs a statement that has no rows and returns how many it changed.
func (q *call) run() int {
	if q.row() {
		q.end()
	}
	if q.c.fault != nil {
		return 0
	}
	return q.c.db.Changes()
}

// end gives up the rows that are left.
func (q *call) end() {
	if q.s == nil {
		return
	}
	if err := q.s.Reset(); err != nil && q.c.fault == nil {
		q.c.fault = err
	}
}

func (q *call) getInt() int64 {
	v := q.s.ColumnInt64(q.cols)
	q.cols++
	return v
}

func (q *call) getText() string {
	v := q.s.ColumnText(q.cols)
	q.cols++
	return v
}

func (q *call) getBytes() []byte {
	col := q.cols
	q.cols++
	if q.s.ColumnIsNull(col) {
		return nil
	}
	v := make([]byte, q.s.ColumnLen(col))
	q.s.ColumnBytes(col, v)
	return v
}

func (q *call) getTime() time.Time {
	if q.s.ColumnIsNull(q.cols) {
		q.cols++
		return time.Time{}
	}
	return time.Unix(0, q.getInt()).UTC()
}

// The times that fit into 64 bits of nanoseconds.
var (
	firstTime = time.Unix(0, -1<<63)
	lastTime  = time.Unix(0, 1<<63-1)
)

// nanos is the stored form of a time that is not zero. What lies beyond the
// years 1677 to 2262 becomes the nearest time within.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(firstTime):
		return -1 << 63
	case t.After(lastTime):
		return 1<<63 - 1
	}
	return t.UnixNano()
}

// close closes the connection; its statements go with it.
func (c *conn) close() error {
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// exec runs a statement without parameters.
func (c *conn) exec(q query) {
	call := c.query(q)
	call.run()
}
