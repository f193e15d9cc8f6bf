package mem

import (
	"github.com/clewdev/clew/durable"
)

// deliver takes d, which the row owns from here on, into the inbox.
func (r *row) deliver(d *durable.Delivery) error {
	if winner, won := r.winners[d.Key]; won && winner == d.Nonce {
		return nil // our own earlier delivery, even if the end has come since
	}
	if err := r.refuse(d); err != nil {
		return err
	}
	if d.Kind == durable.DeliverHeartbeat {
		r.heartbeats[d.Key] = d.Now
		return nil
	}
	r.Delivered++
	d.Seq = r.Delivered
	r.winners[d.Key] = d.Nonce
	r.inbox = append(r.inbox, *d)
	if !wakes(d.Kind, r.Status) {
		return nil
	}
	if r.Status == durable.StatusParked || r.Due.IsZero() || d.Now.Before(r.Due) {
		r.Due = d.Now
	}
	return nil
}

// refuse says why d cannot be accepted, nil if it can.
func (r *row) refuse(d *durable.Delivery) error {
	if r.Status.Ended() {
		return durable.ErrEnded
	}
	if winner, won := r.winners[d.Key]; won {
		return &durable.DeliveredError{Key: d.Key, Winner: winner}
	}
	full := len(r.inbox) >= durable.MaxInbox
	switch d.Kind {
	case durable.DeliverCancel:
		return nil // there is always room
	case durable.DeliverVerb:
		if r.Status != durable.StatusParked || r.Revision != d.Revision {
			return durable.ErrRevision
		}
		return nil
	case durable.DeliverHeartbeat:
		full = false // takes no place
	}
	switch {
	case !r.open[d.Key] && d.Kind != durable.DeliverSignal:
		return durable.ErrNotOpen
	case full:
		return durable.ErrInboxFull
	}
	return nil
}

// wakes tells whether an unseen delivery of this kind makes a record of this
// status due. A running one is watched by its owner; a parked one waits for
// its operator alone.
func wakes(kind durable.DeliveryKind, status durable.Status) bool {
	switch status {
	case durable.StatusPending, durable.StatusSuspended:
		return true
	case durable.StatusParked:
		return kind == durable.DeliverVerb
	}
	return false
}
