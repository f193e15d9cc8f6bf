package participant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"
)

// lostAfter is how long after its time a delayed call counts as lost: its
// holder was killed.
const lostAfter = 2 * time.Second

// watcher watches books for activity.
type watcher interface {
	// look returns numbers that move with every change, as far as the books
	// have such, and how many calls are yet to be done.
	look(context.Context) (versions []int64, held int64, err error)
	// pause is how long to wait between two looks.
	pause() time.Duration
	close()
}

// WaitIdle returns when no participant holds a delayed call and, where that can
// be seen (Files), no book has changed for a moment. It is for participants
// started by others, such as those of a killed worker that finish their calls;
// for one's own, Close does it. Callers must be quiet already.
func WaitIdle(ctx context.Context, books Books) error {
	if err := waitIdle(ctx, books); err != nil {
		return fmt.Errorf("participant: wait until idle: %w", err)
	}
	return nil
}

func waitIdle(ctx context.Context, books Books) error {
	w, err := books.watch(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	before, _, err := w.look(ctx)
	for err == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.pause()):
		}
		var now []int64
		var held int64
		if now, held, err = w.look(ctx); err == nil && held == 0 && slices.Equal(before, now) {
			return nil
		}
		before = now
	}
	return err
}

// fileWatcher watches files, each on one connection: versions are those that a
// connection sees.
type fileWatcher []*sqlite.Conn

func (f files) watch(context.Context) (watcher, error) {
	var w fileWatcher
	for _, role := range roles {
		conn, err := openForReading(Path(string(f), role))
		if errors.Is(err, fs.ErrNotExist) {
			continue // never started, so idle
		}
		if err != nil {
			w.close()
			return nil, err
		}
		w = append(w, conn)
	}
	return w, nil
}

func (w fileWatcher) look(context.Context) (versions []int64, held int64, err error) {
	waiting := fmt.Sprintf(`SELECT count(*) FROM calls WHERE outcome = '%s' AND due > %d`,
		outcomeHeld, time.Now().Add(-lostAfter).UnixMicro())
	for _, conn := range w {
		err = errors.Join(
			each(conn, "PRAGMA data_version", func(s *sqlite.Stmt) error {
				versions = append(versions, s.ColumnInt64(0))
				return nil
			}),
			each(conn, waiting, func(s *sqlite.Stmt) error {
				held += s.ColumnInt64(0)
				return nil
			}),
		)
		if err != nil {
			return nil, 0, err
		}
	}
	return versions, held, nil
}

func (fileWatcher) pause() time.Duration { return 50 * time.Millisecond }

func (w fileWatcher) close() {
	for _, conn := range w {
		conn.Close()
	}
}
