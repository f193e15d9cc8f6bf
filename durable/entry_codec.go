package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// The stored form of a batch of entries: a version byte, the time of the
// batch in microseconds, then the entries back to back. An entry is its kind,
// a bit set of the fields that follow, the operation, the time as a delta,
// and those fields in the order of their bits. Absent fields cost nothing: a
// start and a result without payload take about 25 bytes together.
const entryFormat = 1

// Bits of the fields of an entry. Their order is the order of the fields.
const (
	hasFirst = 1 << iota
	hasUnwind
	hasSubtype
	hasLink
	hasAttempt
	hasEpoch
	hasTimeout
	hasHeartbeat
	isRetry
	hasDelay
	isNoEffect
	hasPayload
	hasError
	hasActor
	hasDelivery
	knownBits = 1<<iota - 1
)

// EncodeEntries returns the stored form of a batch, for stores that keep
// batches as bytes. DecodeEntries reads it back.
func EncodeEntries(entries []Entry) []byte {
	if len(entries) == 0 {
		return nil
	}
	base := entries[0].At.UnixMicro()
	b := make([]byte, 0, 48*len(entries))
	b = append(b, entryFormat)
	b = binary.AppendVarint(b, base)
	for i := range entries {
		b = appendEntry(b, &entries[i], base)
	}
	return b
}

func appendEntry(b []byte, e *Entry, base int64) []byte {
	bits := entryBits(e)
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, bits)
	b = binary.AppendVarint(b, e.Op)
	b = binary.AppendVarint(b, e.At.UnixMicro()-base)
	if bits&hasFirst != 0 {
		b = binary.AppendVarint(b, e.Parent)
		b = binary.AppendVarint(b, e.Pos)
		b = append(b, byte(e.Type))
		b = appendBytes(b, e.Name)
	}
	if bits&hasSubtype != 0 {
		b = appendBytes(b, e.Subtype)
	}
	for _, f := range [...]struct {
		bit uint64
		v   int64
	}{
		{hasLink, e.Link}, {hasAttempt, int64(e.Attempt)}, {hasEpoch, e.Epoch},
		{hasTimeout, int64(e.Timeout)}, {hasHeartbeat, int64(e.Heartbeat)}, {hasDelay, int64(e.Delay)},
	} {
		if bits&f.bit != 0 {
			b = binary.AppendVarint(b, f.v)
		}
	}
	if bits&hasPayload != 0 {
		b = appendBytes(b, e.Payload)
	}
	if bits&hasError != 0 {
		b = appendBytes(b, e.Error.Type)
		b = appendBytes(b, e.Error.Code)
		b = appendBytes(b, e.Error.Message)
		b = appendBytes(b, e.Error.Data)
	}
	if bits&hasActor != 0 {
		b = appendBytes(b, e.Actor)
		b = appendBytes(b, e.Reason)
	}
	if bits&hasDelivery != 0 {
		b = binary.AppendVarint(b, e.Delivery)
	}
	return b
}

func entryBits(e *Entry) uint64 {
	var bits uint64
	for _, f := range [...]struct {
		bit uint64
		set bool
	}{
		{hasFirst, e.First}, {hasUnwind, e.Scope == ScopeUnwind}, {hasSubtype, e.Subtype != ""},
		{hasLink, e.Link != 0}, {hasAttempt, e.Attempt != 0}, {hasEpoch, e.Epoch != 0},
		{hasTimeout, e.Timeout != 0}, {hasHeartbeat, e.Heartbeat != 0}, {isRetry, e.Retry},
		{hasDelay, e.Delay != 0}, {isNoEffect, e.NoEffect}, {hasPayload, e.Payload != nil},
		{hasError, e.Error != nil}, {hasActor, e.Actor != "" || e.Reason != ""}, {hasDelivery, e.Delivery != 0},
	} {
		if f.set {
			bits |= f.bit
		}
	}
	return bits
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// DecodeEntries reads the stored form of one batch. It fails, and never
// panics, on bytes that EncodeEntries did not write, and says when a newer
// version of clew wrote them.
func DecodeEntries(stored []byte) ([]Entry, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	if stored[0] != entryFormat {
		return nil, fmt.Errorf("durable: journal batch has format %d, this build reads %d: use the build that wrote it, or a newer one", stored[0], entryFormat)
	}
	r := entryReader{b: stored[1:]}
	base := r.varint()
	var entries []Entry
	for r.err == nil && len(r.b) > 0 {
		entries = append(entries, r.entry(base))
	}
	if r.err != nil {
		return nil, fmt.Errorf("durable: journal batch is damaged: %w", r.err)
	}
	return entries, nil
}

// entryReader consumes b and remembers its first mistake.
type entryReader struct {
	b   []byte
	err error
}

var errShort = errors.New("unexpected end")

func (r *entryReader) entry(base int64) Entry {
	e := Entry{Kind: EntryKind(r.byte())}
	bits := r.uvarint()
	if bits > knownBits {
		r.fail(fmt.Errorf("unknown fields %#x", bits))
	}
	e.Op = r.varint()
	e.At = time.UnixMicro(base + r.varint()).UTC()
	if bits&hasFirst != 0 {
		e.First = true
		e.Parent, e.Pos = r.varint(), r.varint()
		e.Type, e.Name = OpType(r.byte()), string(r.bytes())
	}
	if bits&hasUnwind != 0 {
		e.Scope = ScopeUnwind
	}
	if bits&hasSubtype != 0 {
		e.Subtype = string(r.bytes())
	}
	var attempt, timeout, heartbeat, delay int64
	for _, f := range [...]struct {
		bit uint64
		v   *int64
	}{
		{hasLink, &e.Link}, {hasAttempt, &attempt}, {hasEpoch, &e.Epoch},
		{hasTimeout, &timeout}, {hasHeartbeat, &heartbeat}, {hasDelay, &delay},
	} {
		if bits&f.bit != 0 {
			*f.v = r.varint()
		}
	}
	if attempt < 0 || attempt > math.MaxInt32 {
		r.fail(fmt.Errorf("attempt %d", attempt))
	}
	e.Attempt, e.Timeout, e.Heartbeat, e.Delay = int(attempt), time.Duration(timeout), time.Duration(heartbeat), time.Duration(delay)
	e.Retry, e.NoEffect = bits&isRetry != 0, bits&isNoEffect != 0
	if bits&hasPayload != 0 {
		e.Payload = r.bytes()
	}
	if bits&hasError != 0 {
		e.Error = &Error{Type: string(r.bytes()), Code: string(r.bytes()), Message: string(r.bytes())}
		if data := r.bytes(); len(data) > 0 {
			e.Error.Data = data
		}
	}
	if bits&hasActor != 0 {
		e.Actor, e.Reason = string(r.bytes()), string(r.bytes())
	}
	if bits&hasDelivery != 0 {
		e.Delivery = r.varint()
	}
	return e
}

func (r *entryReader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *entryReader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *entryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *entryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns the next string as a part of the batch, not a copy.
func (r *entryReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return []byte{}
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}
