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

// Value calls value once and records what it returns: every replay gets the same.
// It is for what a handler may not decide anew each time, as what depends on
// configuration, and costs no write of its own: the next one takes it along. So
// value runs again if the process dies before that, and may have no effects. An
// error of it is recorded too, as a *StepError. ErrCancelled once the execution
// has been asked to stop.
func Value[T any](ctx *Context, name string, value func() (T, error)) (T, error) {
	var zero T
	k, err := ctx.begin(OpValue, "", name, 0)
	if err != nil {
		return zero, err
	}
	defer k.end()
	a := ctx.a
	a.mu.Lock()
	recorded, stop := k.op != nil, ctx.reached() != nil
	if !recorded && stop {
		k.recordCancelled()
	}
	a.mu.Unlock()
	if !recorded && !stop {
		v, err := value() // it is the user's, so not under the mutex
		var payload []byte
		if err == nil {
			payload, err = encodeValue(v, a.eng.opts.MaxPayload)
		}
		failure := toStored(err)
		a.mu.Lock()
		e := k.entry(EntryResult)
		if e.Payload = payload; failure != nil {
			e.Kind, e.Error = EntryFailure, failure
		}
		k.record(e)
		a.mu.Unlock()
	}
	switch k.op.end {
	case EntryCancel:
		a.mu.Lock()
		defer a.mu.Unlock()
		return zero, a.stopped(k.op)
	case EntryFailure:
		return zero, &StepError{Step: name, Attempts: 1, Err: k.op.err}
	}
	return decodeResult[T](ctx, nil, k.op, k.path, k.op.payload)
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
