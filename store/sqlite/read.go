package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// row is a record with what only the store knows of it.
type row struct {
	durable.Record
	n    int64 // its key
	proc int64 // owner behind the claim, 0 when not running
	base int64 // revision at which the journal last began anew
}

// Load implements durable.Store.
func (s *Store) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	r, err := s.load(ctx, id, func(*row) (bool, error) { return what == durable.LoadAll, nil })
	if err != nil {
		return nil, err
	}
	return &r.Record, nil
}

// load reads a record from one state of the file. judge looks at its head and
// tells whether input and journal are wanted too, or why nothing more is.
func (s *Store) load(ctx context.Context, id string, judge func(*row) (all bool, err error)) (*row, error) {
	r := &row{}
	var refusal error
	var all bool
	var batches [][]byte
	err := s.read(ctx, func(c *conn) {
		head := c.query(qHead)
		if !head.text(id).one(func(q *call) { refusal = r.scanHead(q) }) {
			refusal = durable.ErrNotFound
		}
		if c.fault != nil || refusal != nil {
			return
		}
		r.readEnd(c, &refusal)
		var err error
		if all, err = judge(r); err != nil || refusal != nil {
			refusal = firstOf(refusal, err)
			return
		}
		r.Inbox = readInbox(c, r.ID, r.n, r.Seen, &refusal)
		r.readBeats(c)
		if all {
			batches = r.readBody(c)
		}
	})
	err = firstOf(err, refusal)
	if err == nil && all {
		err = r.decode(batches)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// scanHead reads headColumns. Its error is about what is encoded in them.
func (r *row) scanHead(q *call) error {
	r.n = q.getInt()
	r.ID, r.Definition, r.Version, r.Fingerprint = q.getText(), q.getText(), q.getText(), q.getText()
	r.Digest, r.Created, r.Deadline = q.getBytes(), q.getTime(), q.getTime()
	extras := q.getBytes()
	r.Status, r.Detail = durable.Status(q.getInt()), q.getText()
	park := q.getBytes()
	r.Revision, r.base, r.Due, r.Owner, r.proc = q.getInt(), q.getInt(), q.getTime(), q.getText(), q.getInt()
	r.Epoch, r.Seq, r.SafeEpoch, r.Crashes = q.getInt(), q.getInt(), q.getInt(), int(q.getInt())
	r.Delivered, r.Seen = q.getInt(), q.getInt()
	// Each claim raises the epoch by one, so it counts the claims too, and
	// while a record runs it is due when its lease ends.
	r.Activations = r.Epoch
	if r.Status == durable.StatusRunning {
		r.Lease = r.Due
	}
	if err := r.DecodeExtras(extras); err != nil {
		return fmt.Errorf("sqlite: execution %q: %v: restore the file from a backup: %w", r.ID, err, durable.ErrStoreBroken)
	}
	return fromJSON(park, &r.Park, r.ID)
}

// readEnd reads how an ended execution ended.
func (r *row) readEnd(c *conn, failed *error) {
	if !r.Status.Ended() {
		return
	}
	end := c.query(qEnding)
	end.int(r.n).one(func(q *call) {
		r.Ended, r.Result = q.getTime(), q.getBytes()
		*failed = fromJSON(q.getBytes(), &r.Error, r.ID)
	})
}

// readBeats reads the heartbeats of callbacks that may still get one.
func (r *row) readBeats(c *conn) {
	r.Heartbeats = map[string]time.Time{}
	if r.Status.Ended() {
		return
	}
	beats := c.query(qBeats)
	for beats.int(r.n); beats.row(); {
		r.Heartbeats[beats.getText()] = beats.getTime()
	}
}

func (r *row) readBody(c *conn) (batches [][]byte) {
	input := c.query(qInput)
	input.int(r.n).one(func(q *call) { r.Input = q.getBytes() })
	rows := c.query(qJournal)
	for rows.int(part(r.n, 0)).int(part(r.n, maxPart)); rows.row(); {
		batches = append(batches, rows.getBytes())
	}
	return batches
}

// decode reads the journal, outside the read transaction.
func (r *row) decode(batches [][]byte) error {
	r.Journal = make([]durable.Entry, 0, r.Revision-r.base)
	for _, batch := range batches {
		entries, err := durable.DecodeEntries(batch)
		if err != nil {
			return fmt.Errorf("sqlite: execution %q: %w", r.ID, err)
		}
		r.Journal = append(r.Journal, entries...)
	}
	if int64(len(r.Journal)) != r.Revision-r.base {
		return fmt.Errorf("sqlite: execution %q: its journal has %d entries where its head counts %d: restore the file from a backup: %w",
			r.ID, len(r.Journal), r.Revision-r.base, durable.ErrStoreBroken)
	}
	return nil
}

// readInbox reads the deliveries of execution n after seen.
func readInbox(c *conn, id string, n, seen int64, failed *error) (inbox []durable.Delivery) {
	rows := c.query(qInbox)
	for rows.int(part(n, seen)).int(part(n, maxPart)); rows.row(); {
		d := durable.Delivery{ID: id, Seq: rows.getInt() & maxPart}
		d.Kind = durable.DeliveryKind(rows.getInt())
		d.Key, d.Nonce, d.Now, d.Payload = rows.getText(), rows.getText(), rows.getTime(), rows.getBytes()
		err := fromJSON(rows.getBytes(), &d.Error, id)
		d.Actor, d.Reason, d.Revision = rows.getText(), rows.getText(), rows.getInt()
		*failed = firstOf(*failed, err)
		inbox = append(inbox, d)
	}
	return inbox
}

// fromJSON reads a column that holds JSON or nothing.
func fromJSON[T any](stored []byte, to **T, id string) error {
	if stored == nil {
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(stored, v); err != nil {
		return fmt.Errorf("sqlite: execution %q: %T is damaged: %v: %w", id, *v, err, durable.ErrStoreBroken)
	}
	*to = v
	return nil
}
