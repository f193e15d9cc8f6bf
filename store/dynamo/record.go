package dynamo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/clewdev/clew/durable"
)

// The journal is a sequence of records, each of them the batch of one commit
// in its position, from 1 without gaps. A record stands in the head, if the
// commit had to write the head anyway, or in an item of its own, put where
// nothing was. Records never change; those in the head move out to items when
// the head grows, which changes neither what they say nor where they stand.
//
// A commit that begins the journal anew drops what stands before its record,
// and is always a write of the head, which notes the position before it: the
// base. Nobody reads what stands up to there, and nobody deletes it while the
// execution lives: a position that came free again would be open to whoever
// was fenced out of it, by a seal or by a notice.

// record is one position of the journal.
type record struct {
	position int64
	epoch    int64 // 0 for a notice
	seq      int64 // 0 for a seal and for a notice
	entries  int64
	anew     bool // the journal begins with it
	batch    []byte
	blob     bool // batch is the sort key of a blob that holds it
}

// repeats tells whether a record adds nothing to the history of which last is
// the last commit: it has no entries, or is a commit that landed twice, see
// Store.write.
func (r *record) repeats(last *record) bool {
	return r.entries == 0 || r.epoch == last.epoch && r.seq <= last.seq
}

func (r *record) encode(b []byte) []byte {
	for _, n := range [...]int64{r.position, r.epoch, r.seq, flagged(r.entries, r.anew), flagged(int64(len(r.batch)), r.blob)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, r.batch...)
}

// flagged is a number with a bit below it.
func flagged(n int64, flag bool) int64 {
	if n <<= 1; flag {
		n |= 1
	}
	return n
}

// recordOf is the record of a commit in this position.
func recordOf(c *durable.Commit, position int64) record {
	r := record{position: position, epoch: c.Epoch, seq: c.Seq, entries: int64(len(c.Entries)), anew: c.Anew}
	if r.entries > 0 {
		r.batch = durable.EncodeEntries(c.Entries)
	}
	return r
}

// decodeRecords reads records until b is used up.
func decodeRecords(b []byte) (all []record, err error) {
	next := func() int64 {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > 1<<62 {
			err, b = errShort, nil
			return 0
		}
		b = b[used:]
		return int64(n)
	}
	for len(b) > 0 {
		r := record{position: next(), epoch: next(), seq: next()}
		entries, n := next(), next()
		if err != nil || n>>1 > int64(len(b)) || r.position == 0 {
			return nil, errShort
		}
		r.entries, r.anew = entries>>1, entries&1 == 1
		r.blob, r.batch = n&1 == 1, b[:n>>1:n>>1]
		all, b = append(all, r), b[n>>1:]
	}
	return all, nil
}

var (
	errDamaged = errors.New("the journal is damaged")
	errShort   = fmt.Errorf("%w: a record is cut short", errDamaged)
)

// recordKey is the sort key of the record in a position; for one that holds
// several, of the last one.
func recordKey(creator string, position int64) string {
	return fmt.Sprintf("%s%08d", recordPrefix(creator), position)
}

func recordPrefix(creator string) string { return skRecord + incarnation(creator) + "#" }

// recordItem is the item that holds records.
func recordItem(h *head, records ...record) item {
	var b []byte
	for i := range records {
		b = records[i].encode(b)
	}
	m := keyOf(pkOf(h.ID), recordKey(h.creator, records[len(records)-1].position))
	m[sBytes] = asBytes(b)
	return m
}

// records reads the record items of an execution whose positions are after
// one, in pages.
func (s *Store) records(ctx context.Context, h *head, after int64) (all []record, err error) {
	x := &expression{}
	x.where(aPK, "=", text(pkOf(h.ID)))
	x.conds = append(x.conds, x.path(aSK)+" BETWEEN "+x.value(text(recordKey(h.creator, after+1)))+
		" AND "+x.value(text(recordPrefix(h.creator)+"~")))
	in := s.queryInput(x)
	for {
		out, err := call(ctx, &s.caller, "Query", in, s.api.Query)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			some, err := decodeRecords((&reader{item: m}).bytes(sBytes))
			if err != nil {
				return nil, s.torn(ctx, h, err)
			}
			all = append(all, some...)
		}
		if len(out.LastEvaluatedKey) == 0 {
			return all, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// errOutdated: the records that were read do not fit to the head that was read
// before them. It has been written since, and a newer one does.
var errOutdated = errors.New("the journal and the head do not belong together")

// history returns the journal of a head, after its base. Of an execution that
// runs that is everything up to what its owner has appended last.
func (s *Store) history(ctx context.Context, h *head, released bool) (journal []record, err error) {
	var stored []record
	if !released || len(h.journal) < int(h.position-h.base) {
		if stored, err = s.records(ctx, h, h.base); err != nil {
			return nil, err
		}
	}
	if journal, err = assemble(h.base, h.journal, stored); err != nil {
		return nil, err
	}
	if there := h.base + int64(len(journal)); there < h.position {
		return nil, fmt.Errorf("%w: the head knows %d positions, and there are %d", errOutdated, h.position, there)
	}
	if released {
		journal = journal[:h.position-h.base] // behind it may be a notice that came late
	}
	for i := range journal {
		if journal[i].epoch > h.Epoch {
			return nil, fmt.Errorf("%w: position %d is of epoch %d, the head of %d", errOutdated, journal[i].position, journal[i].epoch, h.Epoch)
		}
	}
	return journal, nil
}

// whole sees that a journal is one that there was. A commit that has written
// the head since it was read left no item of its own, and in its position may
// stand a notice that came late: then what was appended after it seems to
// follow what was there before.
func (s *Store) whole(ctx context.Context, h *head, journal []record) error {
	for i := range len(journal) - 1 {
		if r := &journal[i]; r.position <= h.position || r.epoch != 0 {
			continue
		}
		again, err := s.read(ctx, h.ID)
		if err == nil && !h.same(again) {
			err = fmt.Errorf("%w: the head was written since", errOutdated)
		}
		return err
	}
	return nil
}

// assemble orders the records after base and sees that they are one history.
// What stands in two places, because it is on its way out of the head, is the
// same in both. A notice may have come late, to a position of which the head
// has a record: it told the owner nothing then, and is dropped. A record with
// which the journal begins, anywhere but at its beginning, is news of a head
// that has another base.
func assemble(base int64, parts ...[]record) ([]record, error) {
	all := slices.Concat(parts...)
	all = slices.DeleteFunc(all, func(r record) bool { return r.position <= base })
	slices.SortStableFunc(all, func(a, b record) int { return cmp.Compare(a.position, b.position) })
	journal := all[:0]
	for _, r := range all {
		n := len(journal)
		switch {
		case n > 0 && journal[n-1].position == r.position:
			have := &journal[n-1]
			if have.epoch == 0 {
				*have = r
			} else if r.epoch != 0 && (have.epoch != r.epoch || have.seq != r.seq) {
				return nil, fmt.Errorf("%w: position %d holds commit %d of epoch %d and commit %d of epoch %d",
					errDamaged, r.position, have.seq, have.epoch, r.seq, r.epoch)
			}
		case r.position != base+int64(n)+1:
			return nil, fmt.Errorf("%w: position %d follows %d", errOutdated, r.position, base+int64(n))
		case r.anew && n > 0:
			return nil, fmt.Errorf("%w: the journal begins anew at position %d", errOutdated, r.position)
		default:
			journal = append(journal, r)
		}
	}
	return journal, nil
}

// entriesOf decodes a journal.
func (s *Store) entriesOf(ctx context.Context, h *head, journal []record) ([]durable.Entry, error) {
	all := make([]durable.Entry, 0, h.Revision)
	var last record
	for i := range journal {
		r := &journal[i]
		if r.repeats(&last) {
			continue
		}
		last = *r
		b := slices.Clone(r.batch)
		if r.blob {
			var err error
			if b, err = s.blob(ctx, h.ID, string(b)); err != nil {
				return nil, err
			}
		}
		entries, err := durable.DecodeEntries(b)
		if err != nil {
			return nil, fmt.Errorf("%w: position %d: %w", errDamaged, r.position, err)
		}
		all = append(all, entries...)
	}
	return all, nil
}
