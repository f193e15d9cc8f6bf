package participant

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Path returns the file of a participant: it lies beside the saga database.
func Path(saga string, role Role) string {
	return strings.TrimSuffix(filepath.Clean(saga), ".db") + "." + string(role) + ".db"
}

// Files are the books of participants that Start started, which lie beside the
// saga database path.
func Files(path string) Books { return files(path) }

type files string

func (f files) read(_ context.Context, r reader) error {
	for _, role := range roles {
		path := Path(string(f), role)
		conn, err := openForReading(path)
		if err != nil {
			return err
		}
		err = readFile(conn, role, r)
		conn.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func openForReading(path string) (*sqlite.Conn, error) {
	// SQLite says "unable to open" of a file that is not there.
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	conn.SetBusyTimeout(5 * time.Second)
	return conn, nil
}

// readFile tells all rows of one file.
func readFile(conn *sqlite.Conn, role Role, r reader) error {
	// One transaction, so that the tables are seen at the same moment.
	if err := sqlitex.ExecuteTransient(conn, "BEGIN", nil); err != nil {
		return err
	}
	err := each(conn, `SELECT at, order_id, kind, key, act, effect_id, amount_cents FROM effects ORDER BY id`, func(s *sqlite.Stmt) error {
		return r.effect(role, effect{at: time.UnixMicro(s.ColumnInt64(0)), order: s.ColumnText(1), kind: s.ColumnText(2),
			key: s.ColumnText(3), act: s.ColumnText(4), id: s.ColumnText(5), amount: s.ColumnInt64(6)})
	})
	if err != nil {
		return err
	}
	err = each(conn, `SELECT entry_id, order_id, account, debit_cents, credit_cents FROM postings ORDER BY id`, func(s *sqlite.Stmt) error {
		r.posting(posting{entry: s.ColumnText(0), order: s.ColumnText(1), account: s.ColumnText(2),
			debit: s.ColumnInt64(3), credit: s.ColumnInt64(4)})
		return nil
	})
	if err != nil {
		return err
	}
	return each(conn, `SELECT key, n, kind, attempt, at, due, outcome, fault FROM calls`, func(s *sqlite.Stmt) error {
		r.call(role, callRow{key: s.ColumnText(0), n: s.ColumnInt64(1), kind: s.ColumnText(2), attempt: s.ColumnInt(3),
			at: time.UnixMicro(s.ColumnInt64(4)), due: time.UnixMicro(s.ColumnInt64(5)), outcome: s.ColumnText(6), fault: s.ColumnText(7)})
		return nil
	})
}

func each(conn *sqlite.Conn, query string, row func(*sqlite.Stmt) error) error {
	return sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: row})
}

func (f files) orderOf(_ context.Context, role Role, key string) (order string, err error) {
	conn, err := openForReading(Path(string(f), role))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	err = sqlitex.ExecuteTransient(conn, `SELECT order_id FROM keys WHERE key = ?`, &sqlitex.ExecOptions{
		Args: []any{key},
		ResultFunc: func(s *sqlite.Stmt) error {
			order = s.ColumnText(0)
			return nil
		},
	})
	return order, err
}
