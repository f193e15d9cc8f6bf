package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// batch is the stored form of a commit's parts. It is made before the commit
// queues, so that the writer only writes.
type batch struct {
	journal      []byte
	park, failed []byte // JSON
}

// maxBatch bounds what one commit can write. SQLite's own limit is about a
// billion bytes; beyond it a whole group of commits would fail, over and over.
const maxBatch = 512 << 20

func encode(c *durable.Commit) (b *batch, err error) {
	b = &batch{journal: durable.EncodeEntries(c.Entries)}
	if b.park, err = toJSON(c.Park); err != nil {
		return nil, err
	}
	if b.failed, err = toJSON(c.Error); err != nil {
		return nil, err
	}
	if size := len(b.journal) + len(b.park) + len(b.failed) + len(c.Result); size > maxBatch {
		return nil, fmt.Errorf("sqlite: execution %q: a commit of %d bytes, at most %d are possible: %w", c.ID, size, maxBatch, durable.ErrInvalid)
	}
	return b, nil
}

// toJSON returns nil for nil.
func toJSON[T any](v *T) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	stored, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return stored, nil
}

// Commit implements durable.Store.
func (s *Store) Commit(ctx context.Context, c *durable.Commit) (receipt durable.Receipt, err error) {
	b, err := encode(c)
	if err != nil {
		return receipt, err
	}
	var refusal error
	err = s.writer.do(ctx, func(w *conn) { receipt, refusal = b.commit(w, c) })
	if err != nil {
		return durable.Receipt{}, err
	}
	return receipt, refusal
}

// commit changes the head if the commit is the next one of its claim, and then
// all the rest. Whether it is gets decided by the one UPDATE; only when that
// found nothing to change is there a look at why.
func (b *batch) commit(w *conn, c *durable.Commit) (receipt durable.Receipt, refusal error) {
	var n, revision, delivered int64
	accepted := b.updateHead(w, c, func(q *call) { n, revision, delivered = q.getInt(), q.getInt(), q.getInt() })
	if !accepted {
		return b.refuse(w, c)
	}
	b.write(w, c, n, revision)
	if delivered > c.Seen {
		receipt.Unseen = readInbox(w, c.ID, n, c.Seen, &refusal)
		b.wake(w, c, n, receipt.Unseen)
	}
	return receipt, refusal
}

func (b *batch) updateHead(w *conn, c *durable.Commit, read func(*call)) (accepted bool) {
	onward := c.Status == durable.StatusRunning && c.Lease.IsZero()
	head := w.query(qTurn)
	if onward {
		head = w.query(qAdvance)
	}
	head.text(c.ID).int(c.Epoch).int(c.Seq).int(int64(len(c.Entries))).int(c.Seen)
	head.maybe(c.Detail).bytes(b.park).bool(c.Progress).bool(c.IfSeen)
	if onward {
		return head.one(read)
	}
	head.int(int64(c.Status))
	switch {
	case c.Status == durable.StatusRunning:
		head.time(c.Lease).time(c.Lease)
	case c.Status.Ended() || c.Status == durable.StatusParked:
		head.time(c.Due).time(c.Due) // of what is parked see wake
	default:
		head.time(c.Due).time(c.Now) // what waits must be looked at
	}
	return head.one(read)
}

// write adds what stands outside the head. revision counts this batch too.
func (b *batch) write(w *conn, c *durable.Commit, n, revision int64) {
	was := revision - int64(len(c.Entries))
	if c.Anew && was > 0 {
		drop := w.query(qDropJournal)
		drop.int(part(n, 0)).int(part(n, was)).run()
		base := w.query(qBase)
		base.int(was).int(n).run()
	}
	if b.journal != nil {
		add := w.query(qAppend)
		add.int(part(n, was+1)).bytes(b.journal).run()
	}
	if c.Seen > 0 {
		seen := w.query(qDrainInbox)
		seen.int(part(n, 0)).int(part(n, min(c.Seen, maxPart))).run()
	}
	for _, key := range c.Open {
		open := w.query(qOpenKey)
		open.int(n).text(key).run()
	}
	for _, key := range c.Close {
		shut := w.query(qCloseKey)
		shut.int(n).text(key).run()
		drop := w.query(qDropKey)
		drop.int(n).text(key).run()
	}
	if c.Status.Ended() {
		end := w.query(qEndOf)
		end.int(n).time(c.Now).bytes(c.Result).bytes(b.failed).run()
	}
}

// wake makes a record that parks due at once if an operator's verb waits; no
// other delivery wakes a parked one.
func (b *batch) wake(w *conn, c *durable.Commit, n int64, unseen []durable.Delivery) {
	if c.Status != durable.StatusParked {
		return
	}
	for i := range unseen {
		if unseen[i].Kind == durable.DeliverVerb {
			at := w.query(qWakeAt)
			at.time(c.Now).int(n).run()
			return
		}
	}
}

// state is what the rules of deliveries and refusals look at.
type state struct {
	n                    int64
	status               durable.Status
	epoch, seq, revision int64
	delivered, seen      int64
	due                  time.Time
}

func readState(w *conn, id string) (st state, found bool) {
	q := w.query(qState)
	found = q.text(id).one(func(q *call) {
		st.n, st.status = q.getInt(), durable.Status(q.getInt())
		st.epoch, st.seq, st.revision = q.getInt(), q.getInt(), q.getInt()
		st.delivered, st.seen, st.due = q.getInt(), q.getInt(), q.getTime()
	})
	return st, found
}

// refuse says why the head was not changed, which may be that it had been
// before, by this commit.
func (b *batch) refuse(w *conn, c *durable.Commit) (receipt durable.Receipt, refusal error) {
	st, found := readState(w, c.ID)
	if !found {
		return receipt, durable.ErrNotFound
	}
	own := c.Epoch == st.epoch && c.Seq == st.seq && c.Seq > 0
	switch {
	case own:
	case c.Epoch != st.epoch:
		return receipt, durable.ErrFenced
	case st.status.Ended():
		return receipt, durable.ErrEnded
	case c.Seq != st.seq+1 || st.status != durable.StatusRunning:
		return receipt, durable.ErrFenced
	case c.IfSeen && st.delivered > c.Seen:
		refusal = durable.ErrUnseen
	default:
		return receipt, fmt.Errorf("sqlite: execution %q: its journal has no room for more than %d entries in all its life: %w", c.ID, maxPart, durable.ErrInvalid)
	}
	var damaged error
	receipt.Unseen = readInbox(w, c.ID, st.n, c.Seen, &damaged)
	return receipt, firstOf(damaged, refusal)
}
