package participant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"zombiezen.com/go/sqlite"
)

// lostAfter is how long after its time a delayed call counts as lost: its
// holder was killed.
const lostAfter = 2 * time.Second

// WaitIdle returns when no participant on the files beside the saga database
// path holds a delayed call and no file has changed for a moment. It is for
// participants started by others, such as those of a killed worker that finish
// their calls; for one's own, Close does it. Callers must be quiet already.
func WaitIdle(ctx context.Context, path string) error {
	var conns []*sqlite.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for _, role := range roles {
		conn, err := openForReading(Path(path, role))
		if errors.Is(err, fs.ErrNotExist) {
			continue // never started, so idle
		}
		if err != nil {
			return fmt.Errorf("participant: wait until idle: %w", err)
		}
		conns = append(conns, conn)
	}
	var before []int64
	for {
		now, err := activity(conns)
		if err != nil {
			return fmt.Errorf("participant: wait until idle: %w", err)
		}
		if before != nil && quiet(before, now) {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return fmt.Errorf("participant: wait until idle: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// activity returns two numbers for each file: its version, which moves with
// every commit of others, and the number of calls it has yet to do.
func activity(conns []*sqlite.Conn) (numbers []int64, err error) {
	add := func(s *sqlite.Stmt) error {
		numbers = append(numbers, s.ColumnInt64(0))
		return nil
	}
	held := fmt.Sprintf(`SELECT count(*) FROM calls WHERE outcome = 'held' AND due > %d`,
		time.Now().Add(-lostAfter).UnixMicro())
	for _, conn := range conns {
		for _, query := range []string{"PRAGMA data_version", held} {
			if err := each(conn, query, add); err != nil {
				return nil, err
			}
		}
	}
	return numbers, nil
}

func quiet(before, now []int64) bool {
	for i := 0; i < len(now); i += 2 {
		if before[i] != now[i] || now[i+1] > 0 {
			return false
		}
	}
	return true
}
