package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// A commit that changes nothing in the head but the journal does not write the
// head: its record goes into an item of its own, at the next position, on the
// condition that nothing stands there. Three rules make that as safe as a
// write of the head on the condition of its epoch:
//
//   - The seal. A claim that takes an execution from an owner which may still
//     write puts an empty record of its own epoch at the next free position
//     before it trusts what it has read. The earlier owner's next record goes
//     to that position, and is refused. If the earlier owner was faster, its
//     record is part of the history that the claim returns. A claim of what
//     was released needs no seal: its owner's last write was of the head.
//   - The epoch. Whoever meets a record of an epoch after its own has lost the
//     claim, also a claim that was slow to read what it took.
//   - The notice. A delivery to an execution that runs changes the head, which
//     an owner that appends does not see. It puts an empty record at the next
//     position too, before it is acknowledged, so that the owner's next append
//     is refused, looks at the head, and returns with what was delivered.

// append puts a record at the next position of a journal. When something stands
// there, blocking is the last record of it.
func (s *Store) append(ctx context.Context, h *head, r record) (blocking *record, err error) {
	old, taken, err := s.putNew(ctx, recordItem(h, r))
	if err != nil || !taken {
		return nil, err
	}
	if len(old) == 0 { // a server that returns no item with a refusal
		if old, err = s.get(ctx, pkOf(h.ID), recordKey(h.creator, r.position)); err != nil {
			return nil, err
		}
	}
	there, err := decodeRecords((&reader{item: old}).bytes(sBytes))
	if err == nil && len(there) == 0 {
		err = errShort
	}
	if err != nil {
		return nil, s.torn(ctx, h, err)
	}
	return &there[len(there)-1], nil
}

// seal takes the next free position, and adds to the journal what an earlier
// owner still appended before it. fenced tells that somebody else has taken
// the execution meanwhile.
func (s *Store) seal(ctx context.Context, h *head, journal []record) (_ []record, fenced bool, err error) {
	for {
		r := record{position: h.base + int64(len(journal)) + 1, epoch: h.Epoch}
		blocking, err := s.append(ctx, h, r)
		switch {
		case err != nil:
			return nil, false, err
		case blocking == nil:
			return append(journal, r), false, nil
		case blocking.epoch > h.Epoch:
			return nil, true, nil
		}
		journal = append(journal, *blocking)
		if blocking.epoch == h.Epoch {
			return journal, false, nil // our own earlier seal
		}
	}
}

// notify makes sure that the owner of a running execution sees all that was
// delivered up to seq at its next commit: the head as the delivery left it is
// h.
func (s *Store) notify(ctx context.Context, h *head, seq int64) error {
	epoch := h.Epoch
	for h != nil && h.Status == durable.StatusRunning && h.Epoch == epoch && h.Seen < seq {
		blocking, err := s.append(ctx, h, record{position: h.position + 1})
		if err != nil || blocking == nil {
			return err
		}
		if h, err = s.current(ctx, h.ID); err != nil {
			return err
		}
	}
	return nil // who claimed it since has read the head after the delivery
}

// current returns the head as it is, with what was appended since it was
// written; nil if there is none.
func (s *Store) current(ctx context.Context, id string) (*head, error) {
	for before := (*head)(nil); ; {
		h, err := s.read(ctx, id)
		if err != nil || h == nil || h.released() {
			return h, err
		}
		since, err := s.records(ctx, h, h.position)
		if err != nil {
			return nil, err
		}
		fits, err := h.with(since)
		if err == nil {
			return fits, nil
		}
		if h.same(before) {
			return nil, s.torn(ctx, h, err)
		}
		before = h
	}
}

// with returns the head with records that were appended after it was written.
func (h *head) with(since []record) (*head, error) {
	next, last := *h, record{epoch: h.Epoch, seq: h.Seq}
	if n := len(h.journal); n > 0 && h.Seq == 0 {
		last = h.journal[n-1] // of an owner before
	}
	for _, r := range since {
		switch {
		case r.position <= next.position:
			continue // on its way out of the head
		case r.anew:
			return nil, fmt.Errorf("%w: the journal begins anew at position %d", errOutdated, r.position)
		case r.position != next.position+1 || r.epoch > next.Epoch:
			return nil, fmt.Errorf("%w: position %d of epoch %d follows %d of %d", errOutdated, r.position, r.epoch, next.position, next.Epoch)
		}
		next.position++
		next.used.Add(usageOf(recordBytes + len(r.batch)))
		if r.repeats(&last) {
			continue
		}
		next.Revision += r.entries
		if last = r; r.epoch == next.Epoch {
			next.Seq = r.seq
		}
	}
	return &next, nil
}

// appends tells whether a commit with this record leaves the head alone: it
// changes nothing there, and the head has no room to spare for it.
func (s *Store) appends(h *head, c *durable.Commit, r *record) bool {
	switch {
	case c.Status != durable.StatusRunning || c.IfSeen || !c.Lease.IsZero() || c.Anew:
	case len(c.Entries) == 0 || len(c.Open)+len(c.Close) > 0 || c.Seen > h.Seen:
	case c.Progress && (h.Crashes != 0 || h.nextCrashes != 1):
	case c.Detail != plainText(h.detail):
	default:
		return h.size+len(r.batch) > s.roomy
	}
	return false
}

func plainText(v value) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// commitRecord appends the record of a commit, and returns the head after it.
// Refused, it returns the head as it is, nil if there is none.
func (s *Store) commitRecord(ctx context.Context, h *head, r record) (after, refused *head, err error) {
	if len(r.batch) > maxChunk {
		if r, err = s.outside(ctx, h, r); err != nil {
			return nil, nil, err
		}
	}
	blocking, err := s.append(ctx, h, r)
	if err != nil {
		return nil, nil, err
	}
	if blocking != nil {
		if refused, err = s.current(ctx, h.ID); err == nil && refused == nil {
			err = durable.ErrNotFound
		}
		return nil, refused, err
	}
	next := *h
	next.position, next.Seq = r.position, r.seq
	next.Revision += r.entries
	return &next, nil, nil
}

// outside moves a record's batch into a blob.
func (s *Store) outside(ctx context.Context, h *head, r record) (record, error) {
	sk := skBlob + digest(r.batch, []byte(h.creator))
	err := s.putChunks(ctx, h.ID, h.creator, sk, r.batch)
	r.batch, r.blob = []byte(sk), true
	return r, err
}
