package dynamo

import (
	"context"
	"fmt"

	"github.com/clewdev/clew/durable"
)

// Deliver implements durable.Store. The first attempt is blind: it guesses
// that the record waits for this very delivery, which is one UpdateItem. A
// refusal brings the record along, and the next attempt knows. A payload that
// the head should not carry needs a read and an item of its own before. It
// leaves d as it is: the stored copy alone has the place in the order of
// arrival.
func (s *Store) Deliver(ctx context.Context, d *durable.Delivery) error {
	if d.Kind < durable.DeliverCallback || d.Kind > durable.DeliverSignal {
		return fmt.Errorf("dynamo: delivery of kind %d, which this build does not know: %w", d.Kind, durable.ErrInvalid)
	}
	h, stored, decided, err := s.store(ctx, d)
	if decided || err != nil {
		return err
	}
	for {
		done, old, err := s.change(ctx, d.ID, deliverUpdate(h, d, stored))
		switch {
		case err != nil:
			return err
		case old == nil:
			return s.acknowledge(ctx, done, d, nil)
		case h != nil && old.creator != h.creator:
			return s.Deliver(ctx, d) // another execution has the ID now
		}
		if decided, err := s.judgeDelivery(ctx, old, d); decided {
			return s.acknowledge(ctx, old, d, err)
		}
		h = old
	}
}

// acknowledge returns the answer to a delivery. When that is success, it first
// sees to it that the owner of what runs will see it.
func (s *Store) acknowledge(ctx context.Context, h *head, d *durable.Delivery, err error) error {
	if err != nil || d.Kind == durable.DeliverHeartbeat {
		return err
	}
	return s.notify(ctx, h, h.Delivered)
}

// store puts what may be large of a delivery into an item of its own, if it is
// large, and returns what the head carries. For that it must know the head.
func (s *Store) store(ctx context.Context, d *durable.Delivery) (h *head, stored item, decided bool, err error) {
	failed, err := toJSON(d.Error)
	if err != nil {
		return nil, nil, false, err
	}
	size := len(d.Payload) + len(failed) + len(d.Actor) + len(d.Reason)
	if size <= inlineBody || d.Kind == durable.DeliverHeartbeat {
		return nil, delivery(d, failed), false, nil
	}
	if h, err = s.read(ctx, d.ID); err != nil {
		return nil, nil, false, err
	}
	if h == nil {
		return nil, nil, true, durable.ErrNotFound
	}
	if decided, err := s.judgeDelivery(ctx, h, d); decided {
		return nil, nil, true, s.acknowledge(ctx, h, d, err)
	}
	head := *d
	head.Payload, head.Actor, head.Reason = nil, "", ""
	stored = delivery(&head, nil)
	stored[dItem], err = s.spill(ctx, d.ID, h.creator, encodeBody(d, failed), 0, asBytes)
	return h, stored, false, err
}

// delivery is the stored form of one that fits into the head.
func delivery(d *durable.Delivery, failed []byte) item {
	m := item{dKind: number(int64(d.Kind)), dKey: text(d.Key), dNonce: text(d.Nonce)}
	putMilli(m, dNow, d.Now)
	if d.Revision != 0 {
		m[dRev] = number(d.Revision)
	}
	if len(d.Payload) > 0 {
		m[dPayload] = asBytes(d.Payload)
	}
	for name, v := range map[string]string{dError: string(failed), dActor: d.Actor, dReason: d.Reason} {
		if v != "" {
			m[name] = text(v)
		}
	}
	return m
}

// judgeDelivery tells what becomes of a delivery that meets this head, unless
// it is to be written.
func (s *Store) judgeDelivery(ctx context.Context, h *head, d *durable.Delivery) (decided bool, err error) {
	winner, won := h.winners[d.Key]
	if !won && h.spilled > 0 {
		if winner, won, err = s.spilledWinner(ctx, h, d.Key); err != nil {
			return true, err
		}
	}
	switch {
	case won && winner == d.Nonce:
		return true, nil // our own earlier delivery, even if the end has come since
	case h.Status.Ended():
		return true, durable.ErrEnded
	case won:
		return true, &durable.DeliveredError{Key: d.Key, Winner: winner}
	}
	_, open := h.open[d.Key]
	switch d.Kind {
	case durable.DeliverVerb:
		if h.Status != durable.StatusParked || h.Revision != d.Revision {
			return true, durable.ErrRevision
		}
	case durable.DeliverHeartbeat, durable.DeliverCallback:
		if !open {
			return true, durable.ErrNotOpen
		}
	}
	if takesRoom(d.Kind) && len(h.inbox) >= durable.MaxInbox {
		return true, durable.ErrInboxFull
	}
	return false, nil
}

// takesRoom tells whether deliveries of a kind are refused by a full inbox.
func takesRoom(kind durable.DeliveryKind) bool {
	return kind == durable.DeliverCallback || kind == durable.DeliverSignal
}

// deliverUpdate is the write, on the condition that h is the head as far as
// it matters; without h, that the record is in the state in which deliveries
// of its kind mostly find it.
func deliverUpdate(h *head, d *durable.Delivery, stored item) *update {
	u := &update{}
	u.where(aFormat, "<=", number(format))
	if h != nil {
		u.where(aCreator, "=", text(h.creator))
	}
	winner := u.entry(aWinners, d.Key)
	u.whereNotExists(winner)
	if h == nil || h.spilled == 0 {
		u.whereNotExists(u.path(aSpilled))
	} else {
		u.where(aSpilled, "=", number(h.spilled))
	}
	if d.Kind == durable.DeliverCallback || d.Kind == durable.DeliverHeartbeat {
		u.whereExists(u.entry(aOpen, d.Key))
	}
	if d.Kind == durable.DeliverHeartbeat {
		u.assign(u.entry(aOpen, d.Key), u.value(milli(d.Now)))
		return u
	}
	if takesRoom(d.Kind) {
		u.conds = append(u.conds, "size("+u.path(aInbox)+") < "+u.value(number(durable.MaxInbox)))
	}
	if wake(u, h, d) {
		u.set(aDue, text(dueKey(d.Now, d.ID)))
	}
	u.appendTo(aInbox, mapping(stored))
	u.assign(winner, u.value(text(d.Nonce)))
	u.assign(u.path(aDelivered), u.path(aDelivered)+" + "+u.value(number(1)))
	return u
}

// wake tells whether the delivery makes the record due, and adds the
// conditions under which that is so.
func wake(u *update, h *head, d *durable.Delivery) bool {
	if d.Kind == durable.DeliverVerb {
		u.where(aStatus, "=", number(int64(durable.StatusParked)))
		u.where(aRevision, "=", number(d.Revision))
		return true
	}
	if h == nil {
		u.where(aStatus, "=", number(int64(durable.StatusSuspended)))
		due := u.path(aDue)
		u.conds = append(u.conds, "(attribute_not_exists("+due+") OR "+due+" > "+u.value(text(dueKey(d.Now, d.ID)))+")")
		return true
	}
	u.where(aStatus, "=", number(int64(h.Status)))
	if h.Status != durable.StatusPending && h.Status != durable.StatusSuspended {
		return false
	}
	if h.dueKey == "" {
		u.whereNotExists(u.path(aDue))
	} else {
		u.where(aDue, "=", text(h.dueKey))
	}
	return h.dueKey == "" || dueKey(d.Now, d.ID) < h.dueKey
}

// inbox returns the deliveries of a head after seen.
func (s *Store) inbox(ctx context.Context, h *head, seen int64) (unseen []durable.Delivery, err error) {
	for i, m := range h.inbox {
		seq := h.Seen + int64(i) + 1
		if seq <= seen {
			continue
		}
		r := &reader{item: m}
		d := durable.Delivery{
			ID: h.ID, Key: r.text(dKey), Nonce: r.text(dNonce), Kind: durable.DeliveryKind(r.int(dKind)),
			Now: r.milli(dNow), Revision: r.int(dRev), Seq: seq,
			Payload: append([]byte(nil), r.bytes(dPayload)...), Actor: r.text(dActor), Reason: r.text(dReason),
		}
		failed := []byte(r.text(dError))
		if v := m[dItem]; v != nil && r.err == nil {
			var parts [4][]byte
			if parts, err = s.body(ctx, h.ID, v); err != nil {
				return nil, err
			}
			d.Payload, failed, d.Actor, d.Reason = parts[0], parts[1], string(parts[2]), string(parts[3])
		}
		if d.Error, err = fromJSON[durable.Error](failed); firstOf(err, r.err) != nil {
			return nil, firstOf(err, r.err)
		}
		unseen = append(unseen, d)
	}
	return unseen, nil
}

func (s *Store) body(ctx context.Context, id string, v value) (parts [4][]byte, err error) {
	b, err := s.fetch(ctx, id, v)
	if err != nil {
		return parts, err
	}
	return decodeBody(b)
}

// mostWinners is how many bytes of keys and nonces a head keeps of deliveries
// that it has seen. Beyond, a commit moves them into items of their own: an
// execution may be called back any number of times.
const (
	mostWinners  = 1 << 10
	winnersAtOne = 32 // moved by one commit
)

// spillWinners writes the winners that are to leave the head. A delivery that
// looks for its key finds it in one of the two places, because it is accepted
// only while the count of moves is as it was before it looked.
func (s *Store) spillWinners(ctx context.Context, w *writing, h *head) error {
	size := 0
	for key, nonce := range h.winners {
		size += len(key) + len(nonce)
	}
	if size <= mostWinners || w.attributes[aEnded] != nil {
		return nil
	}
	waiting := map[string]bool{}
	for i := min(w.drained, len(h.inbox)); i < len(h.inbox); i++ {
		waiting[(&reader{item: h.inbox[i]}).text(dKey)] = true
	}
	for key, nonce := range h.winners {
		if waiting[key] || len(w.spilled) == winnersAtOne {
			continue
		}
		m := keyOf(pkOf(h.ID), winnerKey(h, key))
		m[sNonce], m[aIncarnation] = text(nonce), text(incarnation(h.creator))
		if err := s.put(ctx, m); err != nil {
			return err
		}
		w.spilled = append(w.spilled, key)
	}
	if len(w.spilled) > 0 {
		w.attributes[aSpilled] = number(h.spilled + 1)
	}
	return nil
}

func winnerKey(h *head, key string) string {
	return skWinner + incarnation(h.creator) + "#" + key
}

func (s *Store) spilledWinner(ctx context.Context, h *head, key string) (nonce string, won bool, err error) {
	m, err := s.get(ctx, pkOf(h.ID), winnerKey(h, key))
	if err != nil || len(m) == 0 {
		return "", false, err
	}
	r := &reader{item: m}
	return r.text(sNonce), true, r.err
}
