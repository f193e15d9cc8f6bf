package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// discontinued is a laptop that the shop does not sell any more.
const discontinued = "ThinkPad 701"

// laptops are the models on the form. The last one shows how an onboarding
// unwinds that was approved already.
var laptops = []string{"light, 13 inch", "strong, 16 inch", discontinued}

// books are the outside world in one SQLite file of its own: a row for each key,
// which makes every call idempotent, in every process on the file and after every
// crash. They know nothing of clew, so that an audit can hold them against it.
type books struct {
	mu   sync.Mutex
	conn *sqlite.Conn
}

const schema = `
CREATE TABLE IF NOT EXISTS effects (
	n        INTEGER PRIMARY KEY,
	key      TEXT NOT NULL UNIQUE,
	hire     TEXT NOT NULL,
	kind     TEXT NOT NULL,
	mail_to  TEXT NOT NULL,
	text     TEXT NOT NULL,
	callback TEXT NOT NULL,
	state    TEXT NOT NULL,   -- stands, undone, or barred: undone before it came
	at       INTEGER NOT NULL -- milliseconds since 1970, of the state
);
CREATE TABLE IF NOT EXISTS pages (
	n   INTEGER PRIMARY KEY,  -- always 1
	url TEXT NOT NULL         -- where the links of mails lead
);`

// The states of a key. A barred one is a tombstone.
const (
	stands = "stands"
	undone = "undone"
	barred = "barred"
)

// entry is a row of the books.
type entry struct {
	Effect
	ID    string
	State string
	At    time.Time
}

// openBooks opens the file, and makes it if it is not there. Another process may
// be making it right now, so being locked out is no error for a while.
func openBooks(path string) (*books, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		b, err := openForWriting(path)
		if err == nil {
			return b, nil
		}
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy || time.Now().After(deadline) {
			return nil, fmt.Errorf("the books of the outside world, %s: %w: pass another -db, or move that file away", path, err)
		}
	}
}

func openForWriting(path string) (*books, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(10 * time.Second)
	b := &books{conn: conn}
	if err := b.write(context.Background(), func() error { return sqlitex.ExecuteScript(conn, schema, nil) }); err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *books) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn.Close()
}

// write runs f in a transaction that has the file to itself.
func (b *books) write(ctx context.Context, f func() error) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn.SetInterrupt(ctx.Done())
	defer b.conn.SetInterrupt(nil)
	end, err := sqlitex.ImmediateTransaction(b.conn)
	if err != nil {
		return err
	}
	defer end(&err)
	return f()
}

// Do implements outside.
func (b *books) Do(ctx context.Context, key string, e Effect) (id string, err error) {
	err = b.write(ctx, func() error {
		old, err := b.find(key)
		switch {
		case err != nil:
			return err
		case old == nil && e.Kind == kindLaptop && e.Text == discontinued:
			return fmt.Errorf("%w: laptop model %q is discontinued", errRefused, e.Text)
		case old == nil:
			id, err = b.insert(key, e, stands)
			return err
		case old.State == barred:
			return fmt.Errorf("%w: %q was undone before it came", errRefused, key)
		case old.Effect != e:
			return fmt.Errorf("key %q came for %+v before, and now for %+v", key, old.Effect, e)
		case old.State == undone:
			return fmt.Errorf("%w: %q was undone", errRefused, key)
		}
		id = old.ID
		return nil
	})
	return id, err
}

// Undo implements outside.
func (b *books) Undo(ctx context.Context, forwardKey string) error {
	return b.write(ctx, func() error {
		old, err := b.find(forwardKey)
		switch {
		case err != nil:
			return err
		case old == nil:
			_, err := b.insert(forwardKey, Effect{}, barred)
			return err
		case old.State != stands:
			return nil
		}
		return sqlitex.Execute(b.conn, `UPDATE effects SET state = ?, at = ? WHERE key = ?`,
			&sqlitex.ExecOptions{Args: []any{undone, time.Now().UnixMilli(), forwardKey}})
	})
}

// Settle implements outside.
func (b *books) Settle(ctx context.Context, key string) (id string, done bool, err error) {
	err = b.write(ctx, func() error {
		old, err := b.find(key)
		switch {
		case err != nil:
			return err
		case old == nil:
			_, err := b.insert(key, Effect{}, barred)
			return err
		}
		id, done = old.ID, old.State == stands
		return nil
	})
	return id, done, err
}

// all implements records.
func (b *books) all(ctx context.Context) (entries []entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn.SetInterrupt(ctx.Done())
	defer b.conn.SetInterrupt(nil)
	return b.read(`kind <> '' ORDER BY n`)
}

// page implements records: whoever served last has set it.
func (b *books) page(ctx context.Context, url string) (string, error) {
	err := b.write(ctx, func() error {
		if url != "" {
			return sqlitex.Execute(b.conn, `INSERT OR REPLACE INTO pages (n, url) VALUES (1, ?)`, &sqlitex.ExecOptions{Args: []any{url}})
		}
		return sqlitex.Execute(b.conn, `SELECT url FROM pages`, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			url = s.ColumnText(0)
			return nil
		}})
	})
	return url, err
}

func (b *books) find(key string) (*entry, error) {
	found, err := b.read(`key = ?`, key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (b *books) read(where string, args ...any) (entries []entry, err error) {
	err = sqlitex.Execute(b.conn, `SELECT n, hire, kind, mail_to, text, callback, state, at FROM effects WHERE `+where, &sqlitex.ExecOptions{
		Args: args, ResultFunc: func(s *sqlite.Stmt) error {
			e := Effect{Hire: s.ColumnText(1), Kind: s.ColumnText(2), To: s.ColumnText(3), Text: s.ColumnText(4), Callback: s.ColumnText(5)}
			entries = append(entries, entry{Effect: e, ID: idOf(e.Kind, s.ColumnInt64(0)), State: s.ColumnText(6), At: time.UnixMilli(s.ColumnInt64(7))})
			return nil
		}})
	return entries, err
}

func (b *books) insert(key string, e Effect, state string) (string, error) {
	err := sqlitex.Execute(b.conn, `INSERT INTO effects (key, hire, kind, mail_to, text, callback, state, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		&sqlitex.ExecOptions{Args: []any{key, e.Hire, e.Kind, e.To, e.Text, e.Callback, state, time.Now().UnixMilli()}})
	return idOf(e.Kind, b.conn.LastInsertRowID()), err
}

// idOf is the ID of the n-th effect: laptop-7.
func idOf(kind string, n int64) string {
	first, _, _ := strings.Cut(kind, " ")
	return fmt.Sprintf("%s-%d", first, n)
}
