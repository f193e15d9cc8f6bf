package participant

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// schema is the same for every participant; only the ledger posts.
//
// The primary key of keys is what makes calls idempotent across processes.
// effects has no such constraint on purpose: it is evidence, and a participant
// that reversed an effect twice must show it there and not hide it in an error.
const schema = `
CREATE TABLE IF NOT EXISTS keys (
	key      TEXT PRIMARY KEY,
	kind     TEXT NOT NULL,
	order_id TEXT NOT NULL,
	input    TEXT NOT NULL,
	state    TEXT NOT NULL,
	status   INTEGER NOT NULL,
	body     TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS calls (
	key     TEXT NOT NULL,
	n       INTEGER NOT NULL, -- 1 for the first call with the key
	kind    TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	at      INTEGER NOT NULL, -- microseconds since 1970
	outcome TEXT NOT NULL,
	fault   TEXT NOT NULL,
	due     INTEGER NOT NULL, -- when a delayed call is to be done
	PRIMARY KEY (key, n)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS held ON calls (due) WHERE outcome = 'held';

CREATE TABLE IF NOT EXISTS effects (
	id           INTEGER PRIMARY KEY,
	at           INTEGER NOT NULL,
	order_id     TEXT NOT NULL,
	kind         TEXT NOT NULL, -- of the forward call
	act          TEXT NOT NULL, -- applied or reversed
	key          TEXT NOT NULL, -- of the forward call
	effect_id    TEXT NOT NULL,
	amount_cents INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS postings (
	id           INTEGER PRIMARY KEY,
	entry_id     TEXT NOT NULL,
	order_id     TEXT NOT NULL,
	account      TEXT NOT NULL,
	debit_cents  INTEGER NOT NULL,
	credit_cents INTEGER NOT NULL
);
`

// sqliteBook is a book in a file of its participant. Whoever calls its methods
// has begun a transaction on conn.
type sqliteBook struct{ conn *sqlite.Conn }

// openBook opens or creates the file of a participant. Another process may be
// creating it right now, so being locked out is no error for a while.
func openBook(path string) (*sqliteBook, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := openForWriting(path)
		if err == nil {
			return &sqliteBook{conn: conn}, nil
		}
		if !isBusy(err) || time.Now().After(deadline) {
			return nil, fmt.Errorf("participant: open %s: %w", path, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func openForWriting(path string) (_ *sqlite.Conn, err error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	conn.SetBusyTimeout(5 * time.Second)
	// NORMAL loses no commit when processes die, only when power does.
	for _, pragma := range []string{"PRAGMA journal_mode = wal", "PRAGMA synchronous = normal"} {
		if err := sqlitex.ExecuteTransient(conn, pragma, nil); err != nil {
			return nil, err
		}
	}
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return nil, err
	}
	err = sqlitex.ExecuteScript(conn, schema, nil)
	end(&err)
	if err != nil {
		return nil, err
	}
	// From here on the writer waits by itself; see writer.begin.
	conn.SetBusyTimeout(0)
	return conn, nil
}

func isBusy(err error) bool {
	return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy
}

func (b *sqliteBook) lookup(key string) (*keyRow, error) {
	stmt, err := b.conn.Prepare(`SELECT kind, order_id, input, state, status, body FROM keys WHERE key = ?`)
	if err != nil {
		return nil, err
	}
	stmt.BindText(1, key)
	found, err := stmt.Step()
	if err != nil || !found {
		return nil, err
	}
	row := &keyRow{
		key: key, kind: stmt.ColumnText(0), order: stmt.ColumnText(1), input: stmt.ColumnText(2),
		state: stmt.ColumnText(3), status: stmt.ColumnInt(4), body: []byte(stmt.ColumnText(5)),
	}
	return row, stmt.Reset()
}

func (b *sqliteBook) insertKey(row keyRow) error {
	return b.exec(`INSERT INTO keys (key, kind, order_id, input, state, status, body) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		row.key, row.kind, row.order, row.input, row.state, row.status, string(row.body))
}

func (b *sqliteBook) markReversed(key string) error {
	return b.exec(`UPDATE keys SET state = ? WHERE key = ?`, stateReversed, key)
}

func (b *sqliteBook) appendEffect(e effect) error {
	return b.exec(`INSERT INTO effects (at, order_id, kind, act, key, effect_id, amount_cents) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		e.at.UnixMicro(), e.order, e.kind, e.act, e.key, e.id, e.amount)
}

func (b *sqliteBook) appendPosting(p posting) error {
	return b.exec(`INSERT INTO postings (entry_id, order_id, account, debit_cents, credit_cents) VALUES (?, ?, ?, ?, ?)`,
		p.entry, p.order, p.account, p.debit, p.credit)
}

func (b *sqliteBook) nextCall(key string) (int64, error) {
	stmt, err := b.conn.Prepare(`SELECT max(n) FROM calls WHERE key = ?`)
	if err != nil {
		return 0, err
	}
	stmt.BindText(1, key)
	if _, err := stmt.Step(); err != nil {
		return 0, err
	}
	n := stmt.ColumnInt64(0) + 1
	return n, stmt.Reset()
}

func (b *sqliteBook) logCall(c *call, a answer) error {
	r := rowOf(c, a)
	return b.exec(`INSERT INTO calls (key, n, kind, attempt, at, outcome, fault, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.key, r.n, r.kind, r.attempt, r.at.UnixMicro(), r.outcome, r.fault, r.due.UnixMicro())
}

func (b *sqliteBook) relogCall(c *call, a answer) error {
	return b.exec(`UPDATE calls SET outcome = ? WHERE key = ? AND n = ?`, a.outcome, c.key, c.n)
}

// exec runs a statement that returns no rows; the connection keeps it prepared.
func (b *sqliteBook) exec(query string, args ...any) error {
	stmt, err := b.conn.Prepare(query)
	if err != nil {
		return err
	}
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			stmt.BindText(i+1, v)
		case int:
			stmt.BindInt64(i+1, int64(v))
		case int64:
			stmt.BindInt64(i+1, v)
		default:
			return fmt.Errorf("participant: cannot bind %T", arg)
		}
	}
	_, err = stmt.Step()
	return err
}
