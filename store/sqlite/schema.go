package sqlite

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// How a file says that it is ours, in its header, and in which version.
const (
	applicationID = 0x636c6577 // "clew"
	schemaVersion = 1
)

// schema is version 1. Times are nanoseconds since 1970, NULL is never.
//
// A commit rewrites one row of executions and adds one to the journal, so
// executions holds only what commits touch, and all that is set once stands
// elsewhere, under the same n. Rows that belong to one execution are keyed by
// n and a number within it (see part): an integer key is the cheapest that
// SQLite has, and keeps them side by side.
const schema = `
CREATE TABLE definitions (
	n       INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	version TEXT NOT NULL,
	UNIQUE (name, version)
);

-- Processes (strictly: opened stores) that may hold claims. Each holds an OS
-- lock on its file. A claim whose proc has no row here is of a dead one, so
-- numbers are never used again.
CREATE TABLE owners (
	n    INTEGER PRIMARY KEY AUTOINCREMENT,
	file TEXT NOT NULL UNIQUE
);

CREATE TABLE executions (
	n          INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	definition INTEGER NOT NULL, -- definitions.n
	status     INTEGER NOT NULL,
	due        INTEGER,          -- of a running one its lease, of an ended one when it may be deleted
	owner      TEXT,             -- nonce of the last claim
	proc       INTEGER NOT NULL, -- owners.n while running, else 0
	epoch      INTEGER NOT NULL, -- also the number of activations
	seq        INTEGER NOT NULL,
	safe       INTEGER NOT NULL,
	crashes    INTEGER NOT NULL,
	revision   INTEGER NOT NULL,
	base       INTEGER NOT NULL DEFAULT 0, -- revision at which the journal last began anew
	delivered  INTEGER NOT NULL,
	seen       INTEGER NOT NULL,
	detail     TEXT,
	park       TEXT              -- JSON
);

-- proc is in the index so that the claims of a dead process are found in it
-- alone, without a look at the rows of all that sleep.
CREATE INDEX due ON executions (definition, due, proc) WHERE due IS NOT NULL;
CREATE INDEX parked ON executions (id) WHERE status = 4;

CREATE TABLE births (
	n           INTEGER PRIMARY KEY,
	creator     TEXT NOT NULL, -- nonce of the call that created it
	created     INTEGER,
	deadline    INTEGER,
	fingerprint TEXT,
	digest      BLOB,
	extras      BLOB, -- durable.Identity.EncodeExtras
	input       BLOB
);

CREATE TABLE ends (
	n      INTEGER PRIMARY KEY,
	ended  INTEGER,
	result BLOB,
	error  TEXT -- JSON
);

-- n: execution and the number of the batch's first entry, of all that were
-- ever written.
CREATE TABLE journal (
	n     INTEGER PRIMARY KEY,
	batch BLOB NOT NULL -- durable.EncodeEntries
);

-- n: execution and the place in the order of arrival. Only unseen ones.
CREATE TABLE inbox (
	n        INTEGER PRIMARY KEY,
	kind     INTEGER NOT NULL,
	key      TEXT NOT NULL,
	nonce    TEXT NOT NULL,
	at       INTEGER,
	payload  BLOB,
	error    TEXT, -- JSON
	actor    TEXT NOT NULL,
	reason   TEXT NOT NULL,
	revision INTEGER NOT NULL
);

-- What deliveries compete for: whether a callback accepts one, who won, and
-- the last heartbeat.
CREATE TABLE keys (
	execution INTEGER NOT NULL,
	key       TEXT NOT NULL,
	open      INTEGER NOT NULL,
	winner    TEXT,
	beat      INTEGER,
	PRIMARY KEY (execution, key)
) WITHOUT ROWID;
`

// partBits is how many bits of a key number the parts of one execution: 16
// million entries or deliveries in each of 500 billion executions.
const partBits = 24

// maxPart is the highest number of a part.
const maxPart = 1<<partBits - 1

// part is the key of a part of execution n.
func part(n, number int64) int64 { return n<<partBits | number }

// inspection is what a file says of itself.
type inspection struct {
	app, version, tables int
}

// inspect reads all of it at one moment: between two of its reads another
// process may be putting the schema in.
func inspect(db *sqlite.Conn) (in inspection, err error) {
	if db.AutocommitEnabled() {
		done := sqlitex.Transaction(db)
		defer done(&err)
	}
	for _, q := range []struct {
		sql string
		to  *int
	}{
		{"PRAGMA application_id", &in.app},
		{"PRAGMA user_version", &in.version},
		{"SELECT count(*) FROM sqlite_schema", &in.tables},
	} {
		err := sqlitex.ExecuteTransient(db, q.sql, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			*q.to = s.ColumnInt(0)
			return nil
		}})
		if err != nil {
			return in, err
		}
	}
	return in, nil
}

// fresh: nobody has put anything into the file yet.
func (in inspection) fresh() bool { return in == inspection{} }

// refuse says why a file with something in it cannot be served.
func (in inspection) refuse(path string) error {
	switch {
	case in.fresh():
		return nil
	case in.app != applicationID:
		return broken(path, "this is the database of another program (application id %#x, %d tables): give clew a path of its own, nothing was changed", in.app, in.tables)
	case in.version > schemaVersion:
		return broken(path, "the file was written by a newer clew (schema %d, this build knows %d): use that build or a newer one, nothing was changed", in.version, schemaVersion)
	case in.version < schemaVersion:
		return broken(path, "the file has schema %d, which no release of clew wrote: restore it from a backup", in.version)
	}
	return nil
}

// prepareFile makes sure that the file at path is ours, creating it where
// there is none. A file of somebody else is not touched, not even switched to
// WAL, which would stay.
func prepareFile(path string, busy time.Duration) error {
	db, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return explain(path, err)
	}
	defer db.Close()
	db.SetBusyTimeout(busy)
	in, err := inspect(db)
	if err != nil {
		return explain(path, err)
	}
	if err := in.refuse(path); err != nil {
		return err
	}
	if err := useWAL(db, path, busy); err != nil {
		return err
	}
	if !in.fresh() {
		return nil
	}
	if in, err = createSchema(db); err != nil {
		return explain(path, err)
	}
	return in.refuse(path)
}

// useWAL switches the file to a write-ahead log, in which it stays.
func useWAL(db *sqlite.Conn, path string, busy time.Duration) error {
	deadline := time.Now().Add(busy)
	for {
		var mode string
		err := sqlitex.ExecuteTransient(db, "PRAGMA journal_mode = wal", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			mode = s.ColumnText(0)
			return nil
		}})
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return broken(path, "the file system has no shared memory for a write-ahead log (journal mode stays %q): use a path on a local disk", mode)
		case !isBusy(err) || time.Now().After(deadline):
			return explain(path, err)
		}
		// SQLite does not wait where two processes switch at once, as either
		// would wait for the other.
		time.Sleep(5 * time.Millisecond)
	}
}

// createSchema fills a new file, unless another process was quicker, and tells
// what the file is then. A crash leaves it whole or empty.
func createSchema(db *sqlite.Conn) (in inspection, err error) {
	if err := sqlitex.ExecuteTransient(db, "PRAGMA synchronous = FULL", nil); err != nil {
		return in, err
	}
	done, err := sqlitex.ImmediateTransaction(db)
	if err != nil {
		return in, err
	}
	defer done(&err)
	if in, err = inspect(db); err != nil || !in.fresh() {
		return in, err
	}
	if err := sqlitex.ExecScript(db, schema); err != nil {
		return in, err
	}
	for _, pragma := range []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion),
	} {
		if err := sqlitex.ExecuteTransient(db, pragma, nil); err != nil {
			return in, err
		}
	}
	return inspect(db)
}
