package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/clewdev/clew/durable"
)

// ErrClosed is what every call on a closed Store gets.
var ErrClosed = errors.New("sqlite: store is closed")

// broken is an error that only a person can end. The text after the path says
// what is the matter and, after a colon, what to do.
func broken(path, format string, args ...any) error {
	return fmt.Errorf("sqlite: %s: %s: %w", path, fmt.Sprintf(format, args...), durable.ErrStoreBroken)
}

// What a person reads on each fault that only a person can end.
const (
	textFull       = "the disk is full: free some space, then the store goes on by itself; nothing that was acknowledged is lost"
	textWrite      = "the file cannot be written: see whether the disk is full, over quota or failing; the store tries on and nothing that was acknowledged is lost"
	textIO         = "the disk does not serve the file: see the system's log and mend the disk, or move the file to another"
	textCorrupt    = "the file is damaged: stop all programs that use it, then restore it from a backup, or save what is left with the .recover command of the sqlite3 shell"
	textNotSQLite  = "this is not a database: give clew another path, or restore the file from a backup"
	textReadOnly   = "the file cannot be written: give the user of this program write permission on the file, on its -wal and -shm neighbours and on the directory, or see whether the disk is mounted read-only"
	textMoved      = "the file was moved or removed while in use: put it back and start this program anew"
	textCannotOpen = "the file cannot be opened: see that the directory and the file exist, that the user of this program may read and write them, and that the disk is not full or mounted read-only"
)

// explain turns a fault of the driver into one that names the file and, where
// a person must act, the remedy. It leaves an error alone that was explained
// before.
func explain(path string, err error) error {
	if err == nil || errors.Is(err, durable.ErrStoreBroken) || errors.Is(err, ErrClosed) {
		return err
	}
	if text := remedy(sqlite.ErrCode(err)); text != "" {
		return fmt.Errorf("sqlite: %s: %s: %w (%w)", path, text, durable.ErrStoreBroken, err)
	}
	if isBusy(err) {
		return fmt.Errorf("sqlite: %s: another process keeps the file locked: %w", path, err)
	}
	return fmt.Errorf("sqlite: %s: %w", path, err)
}

// remedy is the text for a result that only a person can end, else "".
func remedy(code sqlite.ResultCode) string {
	switch code {
	case sqlite.ResultIOErrWrite, sqlite.ResultIOErrFsync, sqlite.ResultIOErrDirFsync,
		sqlite.ResultIOErrTruncate, sqlite.ResultIOErrSHMSize:
		return textWrite
	case sqlite.ResultReadOnlyDBMoved:
		return textMoved
	case sqlite.ResultIOErrNoMem:
		return ""
	}
	switch code.ToPrimary() {
	case sqlite.ResultFull:
		return textFull
	case sqlite.ResultIOErr:
		return textIO
	case sqlite.ResultCorrupt:
		return textCorrupt
	case sqlite.ResultNotADB:
		return textNotSQLite
	case sqlite.ResultReadOnly, sqlite.ResultPerm:
		return textReadOnly
	case sqlite.ResultCantOpen:
		return textCannotOpen
	}
	return ""
}

// isBusy tells whether another connection was in the way, which passes.
func isBusy(err error) bool {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultProtocol:
		return true
	}
	return false
}
