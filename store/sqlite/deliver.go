package sqlite

import (
	"context"
	"fmt"

	"github.com/clewdev/clew/durable"
)

// Deliver implements durable.Store. It leaves d as it is: the stored copy
// alone has the place in the order of arrival.
func (s *Store) Deliver(ctx context.Context, d *durable.Delivery) error {
	failed, err := toJSON(d.Error)
	if err != nil {
		return err
	}
	if len(d.Payload)+len(failed) > maxBatch {
		return fmt.Errorf("sqlite: a delivery of %d bytes, at most %d are possible: %w", len(d.Payload)+len(failed), maxBatch, durable.ErrInvalid)
	}
	var refusal error
	err = s.writer.do(ctx, func(w *conn) { refusal = deliver(w, d, failed) })
	return firstOf(err, refusal)
}

func deliver(w *conn, d *durable.Delivery, failed []byte) error {
	st, found := readState(w, d.ID)
	if !found {
		return durable.ErrNotFound
	}
	open, winner, won := readKey(w, st.n, d.Key)
	if won && winner == d.Nonce {
		return nil // our own earlier delivery, even if the end has come since
	}
	if err := refuseDelivery(&st, d, open, winner, won); err != nil {
		return err
	}
	if d.Kind == durable.DeliverHeartbeat {
		beat := w.query(qBeat)
		beat.time(d.Now).int(st.n).text(d.Key).run()
		return nil
	}
	accept(w, &st, d, failed)
	return nil
}

func readKey(w *conn, n int64, key string) (open bool, winner string, won bool) {
	q := w.query(qKey)
	q.int(n).text(key).one(func(q *call) {
		open = q.getInt() != 0
		won = !q.s.ColumnIsNull(q.cols)
		winner = q.getText()
	})
	return open, winner, won
}

// refuseDelivery says why d cannot be accepted, nil if it can.
func refuseDelivery(st *state, d *durable.Delivery, open bool, winner string, won bool) error {
	full := st.delivered-st.seen >= durable.MaxInbox
	switch {
	case st.status.Ended():
		return durable.ErrEnded
	case won:
		return &durable.DeliveredError{Key: d.Key, Winner: winner}
	case st.delivered == maxPart:
		return durable.ErrInboxFull // of all that the numbering of parts has room for
	}
	switch d.Kind {
	case durable.DeliverCancel:
		return nil // there is always room
	case durable.DeliverVerb:
		if st.status != durable.StatusParked || st.revision != d.Revision {
			return durable.ErrRevision
		}
		return nil
	case durable.DeliverHeartbeat:
		full = false // takes no place
	case durable.DeliverSignal:
		open = true // needs nothing open
	case durable.DeliverCallback:
	default:
		return fmt.Errorf("sqlite: delivery of kind %d, which this build does not know: %w", d.Kind, durable.ErrInvalid)
	}
	switch {
	case !open:
		return durable.ErrNotOpen
	case full:
		return durable.ErrInboxFull
	}
	return nil
}

// accept puts d into the inbox as the winner of its key.
func accept(w *conn, st *state, d *durable.Delivery, failed []byte) {
	seq := st.delivered + 1
	count := w.query(qDelivered)
	count.int(seq).int(st.n).run()
	put := w.query(qPutInbox)
	put.int(part(st.n, seq)).int(int64(d.Kind)).text(d.Key).text(d.Nonce).time(d.Now)
	put.bytes(d.Payload).bytes(failed).text(d.Actor).text(d.Reason).int(d.Revision).run()
	win := w.query(qWin)
	win.int(st.n).text(d.Key).text(d.Nonce).run()
	if wakes(st, d) {
		at := w.query(qWakeAt)
		at.time(d.Now).int(st.n).run()
	}
}

// wakes tells whether d makes the record due earlier than it is. A running one
// is watched by its owner; a parked one waits for its operator alone.
func wakes(st *state, d *durable.Delivery) bool {
	switch st.status {
	case durable.StatusPending, durable.StatusSuspended:
		return st.due.IsZero() || d.Now.Before(st.due)
	case durable.StatusParked:
		return d.Kind == durable.DeliverVerb
	}
	return false
}
