package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// fileBooks are books in one SQLite file of their own.
type fileBooks struct {
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

// openFileBooks opens the file, and makes it if it is not there. Another process may
// be making it right now, so being locked out is no error for a while.
func openFileBooks(path string) (*fileBooks, error) {
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

func openForWriting(path string) (*fileBooks, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(10 * time.Second)
	b := &fileBooks{conn: conn}
	if err := b.write(context.Background(), func() error { return sqlitex.ExecuteScript(conn, schema, nil) }); err != nil {
		conn.Close()
		return nil, err
	}
	return b, nil
}

func (b *fileBooks) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn.Close()
}

// write runs f in a transaction that has the file to itself.
func (b *fileBooks) write(ctx context.Context, f func() error) (err error) {
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
func (b *fileBooks) Do(ctx context.Context, key string, e Effect) (string, error) {
	err := b.write(ctx, func() error {
		old, err := b.find(key)
		if err == nil {
			err = e.refusal(key, old)
		}
		if err == nil && old == nil {
			err = b.insert(key, e, stands)
		}
		return err
	})
	return idOf(e.Kind, key), err
}

// Undo implements outside.
func (b *fileBooks) Undo(ctx context.Context, forwardKey string) error {
	return b.write(ctx, func() error {
		old, err := b.find(forwardKey)
		switch {
		case err != nil:
			return err
		case old == nil:
			return b.insert(forwardKey, Effect{}, barred)
		case old.State != stands:
			return nil
		}
		return sqlitex.Execute(b.conn, `UPDATE effects SET state = ?, at = ? WHERE key = ?`,
			&sqlitex.ExecOptions{Args: []any{undone, time.Now().UnixMilli(), forwardKey}})
	})
}

// Settle implements outside.
func (b *fileBooks) Settle(ctx context.Context, key string) (id string, done bool, err error) {
	err = b.write(ctx, func() error {
		old, err := b.find(key)
		switch {
		case err != nil:
			return err
		case old == nil:
			return b.insert(key, Effect{}, barred)
		}
		if done = old.State == stands; done {
			id = old.ID
		}
		return nil
	})
	return id, done, err
}

// all implements records.
func (b *fileBooks) all(ctx context.Context) (entries []entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn.SetInterrupt(ctx.Done())
	defer b.conn.SetInterrupt(nil)
	return b.read(`kind <> '' ORDER BY n`)
}

// page implements records.
func (b *fileBooks) page(ctx context.Context) (url string, err error) {
	err = b.write(ctx, func() error {
		return sqlitex.Execute(b.conn, `SELECT url FROM pages`, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			url = s.ColumnText(0)
			return nil
		}})
	})
	return url, err
}

// setPage implements records.
func (b *fileBooks) setPage(ctx context.Context, url string) error {
	return b.write(ctx, func() error {
		return sqlitex.Execute(b.conn, `INSERT OR REPLACE INTO pages (n, url) VALUES (1, ?)`, &sqlitex.ExecOptions{Args: []any{url}})
	})
}

func (b *fileBooks) find(key string) (*entry, error) {
	found, err := b.read(`key = ?`, key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

func (b *fileBooks) read(where string, args ...any) (entries []entry, err error) {
	err = sqlitex.Execute(b.conn, `SELECT key, hire, kind, mail_to, text, callback, state, at FROM effects WHERE `+where, &sqlitex.ExecOptions{
		Args: args, ResultFunc: func(s *sqlite.Stmt) error {
			e := Effect{Hire: s.ColumnText(1), Kind: s.ColumnText(2), To: s.ColumnText(3), Text: s.ColumnText(4), Callback: s.ColumnText(5)}
			entries = append(entries, entry{Effect: e, Key: s.ColumnText(0), ID: idOf(e.Kind, s.ColumnText(0)), State: s.ColumnText(6), At: time.UnixMilli(s.ColumnInt64(7))})
			return nil
		}})
	return entries, err
}

func (b *fileBooks) insert(key string, e Effect, state string) error {
	return sqlitex.Execute(b.conn, `INSERT INTO effects (key, hire, kind, mail_to, text, callback, state, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		&sqlitex.ExecOptions{Args: []any{key, e.Hire, e.Kind, e.To, e.Text, e.Callback, state, time.Now().UnixMilli()}})
}
