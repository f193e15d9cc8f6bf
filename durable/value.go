package durable

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Now returns the time, recorded: every replay gets the same. Use it instead
// of time.Now in handlers, where the clock would decide otherwise each time.
// It is to the microsecond, and costs no write of its own: the next one takes
// it along. ErrCancelled once the execution has been asked to stop.
func Now(ctx *Context) (time.Time, error) {
	return recorded(ctx, "Now", now)
}

// UUID returns a random UUID (version 4, RFC 9562), recorded: every replay
// gets the same. It costs no write of its own. ErrCancelled once the execution
// has been asked to stop.
func UUID(ctx *Context) (string, error) {
	return recorded(ctx, "UUID", func() string {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	})
}

// Rand returns a random number of at least 0 and less than 1, recorded: every
// replay gets the same. It costs no write of its own. ErrCancelled once the
// execution has been asked to stop.
func Rand(ctx *Context) (float64, error) {
	return recorded(ctx, "Rand", func() float64 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		return float64(binary.LittleEndian.Uint64(b[:])>>11) / math.Exp2(53)
	})
}

// recorded is an operation whose result is made on the spot, so that it has
// neither a body nor a start.
func recorded[T any](ctx *Context, name string, value func() T) (T, error) {
	var zero T
	k, err := ctx.begin(OpValue, "", name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	return record(k, value)
}

// record is recorded for an operation that has its place.
func record[T any](k *call, value func() T) (T, error) {
	var zero T
	a := k.c.a
	a.mu.Lock()
	switch {
	case k.op != nil:
	case k.c.reached() != nil:
		k.recordCancelled()
	default:
		e := k.entry(EntryResult)
		var err error
		if e.Payload, err = json.Marshal(value()); err != nil { // no value of these can fail
			a.mu.Unlock()
			return zero, err
		}
		k.record(e)
	}
	if k.op.end == EntryCancel {
		defer a.mu.Unlock()
		return zero, a.stopped(k.op)
	}
	a.mu.Unlock()
	return decodeResult[T](k.c, nil, k.op, k.path, k.op.payload)
}
