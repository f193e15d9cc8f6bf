package sqlite

import (
	"context"

	"github.com/clewdev/clew/durable"
)

// Create implements durable.Store.
func (s *Store) Create(ctx context.Context, c *durable.Create) error {
	h := newborn(c, s.self.n)
	var first *batch
	if c.First != nil {
		var err error
		if first, err = encode(c.First); err != nil {
			return err
		}
	}
	var refusal error
	err := s.writer.do(ctx, func(w *conn) {
		definition := s.writer.defs.number(w, c.Definition, c.Version)
		refusal = insert(w, c, &h, first, definition)
	})
	return firstOf(err, refusal)
}

// newborn is the head with which an execution begins: pending, or claimed and
// as its first commit leaves it.
func newborn(c *durable.Create, proc int64) row {
	h := row{Record: durable.Record{Head: durable.Head{Identity: c.Identity, Status: durable.StatusPending, Due: c.Due}}}
	if c.First == nil {
		return h
	}
	f := c.First
	h.Owner, h.Epoch, h.Seq = c.Owner, 1, 1
	h.Status, h.Detail, h.Due = f.Status, f.Detail, f.Due
	h.Revision, h.Seen = int64(len(f.Entries)), f.Seen
	if f.Status == durable.StatusRunning {
		h.proc, h.Due = proc, f.Lease
	}
	return h
}

// insert adds an execution unless the ID is taken.
func insert(w *conn, c *durable.Create, h *row, first *batch, definition int64) error {
	add := w.query(qCreate)
	add.text(h.ID).int(definition).int(int64(h.Status)).time(h.Due).maybe(h.Owner).int(h.proc)
	add.int(h.Epoch).int(h.Seq).int(h.Revision).int(h.Seen).maybe(h.Detail)
	if first != nil {
		add.bytes(first.park)
	} else {
		add.null()
	}
	if add.run() == 0 {
		return repeated(w, c)
	}
	h.n = w.db.LastInsertRowID()
	birth := w.query(qCreateBirth)
	birth.int(h.n).text(c.Owner).time(c.Created).time(c.Deadline).maybe(c.Fingerprint).bytes(c.Digest).bytes(c.EncodeExtras()).bytes(c.Input).run()
	if first != nil {
		first.write(w, c.First, h.n, h.Revision)
	}
	return nil
}

// repeated tells whether the ID was taken by an earlier try of this very call.
func repeated(w *conn, c *durable.Create) error {
	var creator string
	by := w.query(qCreator)
	if by.text(c.ID).one(func(q *call) { creator = q.getText() }) && creator == c.Owner {
		return nil
	}
	return durable.ErrExists
}
