package dynamo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The journal begins in segments, each of them one or more batches in an item
// of its own that names the segment before it, and ends with the batches in
// the head. Segments are written before the head names them, and never
// changed: those that no head came to name are garbage, which Delete removes.

const (
	// inlineHead is the size at which a head moves its journal to a segment.
	// Twice the unit of price is the cheapest: below, segments cost more than
	// the head saves, above, every write pays for the third kilobyte.
	inlineHead = 2 << 10
	// leastSegment is the least journal worth a segment.
	leastSegment = 768
	// largeBatch is a batch that no head should carry along.
	largeBatch = 1 << 10
	// endHead is the size up to which the last write takes everything along:
	// nobody will pay for that head again.
	endHead = 32 << 10
)

// plan tells what goes into a new segment when a batch is added.
func (h *head) plan(batch []byte, last bool) (old, batchToo bool) {
	inline := 0
	for _, b := range h.journal {
		inline += len(b)
	}
	limit := inlineHead
	if last {
		limit = endHead
	}
	switch size := h.size + len(batch); {
	case size <= limit:
		return false, false
	case len(batch) > largeBatch:
		return inline > 0, true
	case inline >= leastSegment:
		return true, false
	}
	return false, false
}

// putSegment writes the next segment and returns its name.
func (s *Store) putSegment(ctx context.Context, h *head, epoch int64, batches [][]byte) (string, error) {
	var b []byte
	for _, batch := range batches {
		b = append(binary.AppendUvarint(b, uint64(len(batch))), batch...)
	}
	sk := fmt.Sprintf("%s%06d#%d#%s", skSegment, segmentNumber(h.segment)+1, epoch, digest(b, []byte(h.creator), []byte(h.segment)))
	more := item{}
	if h.segment != "" {
		more[sBefore] = text(h.segment)
	}
	return sk, s.putChunks(ctx, h.ID, h.creator, sk, b, more)
}

func segmentNumber(sk string) int {
	n, _, _ := strings.Cut(strings.TrimPrefix(sk, skSegment), "#")
	number, _ := strconv.Atoi(n) // none yet is number 0
	return number
}

// batches returns the whole journal of a head, read in pages.
func (s *Store) batches(ctx context.Context, h *head) ([][]byte, error) {
	if h.segment == "" {
		return h.journal, nil
	}
	found, err := s.query(ctx, h.ID, skSegment)
	if err != nil {
		return nil, err
	}
	chain := make([]string, 0, segmentNumber(h.segment))
	for sk := h.segment; sk != ""; sk = (&reader{item: found[sk]}).text(sBefore) {
		if len(chain) > len(found) {
			return nil, errors.New("segments name each other in a circle")
		}
		chain = append(chain, sk)
	}
	var all [][]byte
	for i := len(chain) - 1; i >= 0; i-- {
		b, err := join(found, chain[i])
		if err != nil {
			return nil, fmt.Errorf("segment %s: %w", chain[i], err)
		}
		for len(b) > 0 {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return nil, fmt.Errorf("segment %s is cut short", chain[i])
			}
			all, b = append(all, b[used:used+int(n)]), b[used+int(n):]
		}
	}
	return append(all, h.journal...), nil
}
