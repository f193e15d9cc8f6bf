package participant

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Faults a participant commits on purpose; the names are what its log shows.
const (
	unavailable = "unavailable" // 503, nothing done
	lostReply   = "lost_reply"  // done, and the connection dropped without an answer
	delayed     = "delayed"     // done long after the caller has given up
)

// faults says which calls meet which fault.
type faults struct {
	rate               float64
	seed               uint64
	minDelay, maxDelay time.Duration
}

// draw decides on the n-th call of a key. It depends on nothing else: not on
// the process, the time or what other callers do, so a run can be repeated and
// a call that met a fault may pass the next time.
func (f faults) draw(key string, n int64) (fault string, delay time.Duration) {
	if f.rate <= 0 {
		return "", 0
	}
	b := binary.LittleEndian.AppendUint64(nil, f.seed)
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	sum := sha256.Sum256(append(b, key...))
	part := func(i int) uint64 { return binary.LittleEndian.Uint64(sum[8*i:]) }

	if float64(part(0)>>11)/(1<<53) >= f.rate {
		return "", 0
	}
	switch part(1) % 3 {
	case 0:
		return unavailable, 0
	case 1:
		return lostReply, 0
	}
	span := uint64(f.maxDelay - f.minDelay + 1)
	return delayed, f.minDelay + time.Duration(part(2)%span)
}
