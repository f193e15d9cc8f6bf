package sqlite

import (
	"context"

	"github.com/clewdev/clew/durable"
)

// Delete implements durable.Store. The space is used again by what comes; the
// file does not shrink.
func (s *Store) Delete(ctx context.Context, id string) error {
	var refusal error
	err := s.writer.do(ctx, func(w *conn) { refusal = remove(w, id) })
	return firstOf(err, refusal)
}

func remove(w *conn, id string) error {
	st, found := readState(w, id)
	switch {
	case !found:
		return durable.ErrNotFound
	case !st.status.Ended():
		return durable.ErrNotEnded
	}
	for _, q := range []query{qDeleteExecution, qDeleteBirth, qDeleteEnd, qDeleteKeys} {
		of := w.query(q)
		of.int(st.n).run()
	}
	for _, q := range []query{qDropJournal, qDeleteInbox} {
		of := w.query(q)
		of.int(part(st.n, 0)).int(part(st.n, maxPart)).run()
	}
	return nil
}
