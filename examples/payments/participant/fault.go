package participant

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
	// keepConnections leaves lost replies out, for those whose connections are
	// not theirs to drop. The others are then as likely.
	keepConnections bool
}

// complete fills in defaults and refuses what makes no sense.
func (f *faults) complete() error {
	if !(f.rate >= 0 && f.rate <= 1) { // also refuses NaN
		return fmt.Errorf("participant: FaultRate is %v, not in 0 to 1", f.rate)
	}
	if f.minDelay == 0 {
		f.minDelay = time.Second
		if f.maxDelay > 0 {
			f.minDelay = min(f.minDelay, f.maxDelay)
		}
	}
	if f.maxDelay == 0 {
		f.maxDelay = 2 * f.minDelay
	}
	if f.minDelay < 0 || f.maxDelay < f.minDelay {
		return fmt.Errorf("participant: delays from %v to %v make no range", f.minDelay, f.maxDelay)
	}
	return nil
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
	kinds := []string{unavailable, lostReply, delayed}
	if f.keepConnections {
		kinds = []string{unavailable, delayed}
	}
	fault = kinds[part(1)%uint64(len(kinds))]
	if fault == delayed {
		span := uint64(f.maxDelay - f.minDelay + 1)
		delay = f.minDelay + time.Duration(part(2)%span)
	}
	return fault, delay
}
