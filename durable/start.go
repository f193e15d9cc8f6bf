package durable

import (
	"fmt"
	"maps"
	"time"
)

// MaxTags bounds the tags of an execution, each of whose names and values has
// at most MaxNameLength bytes.
const MaxTags = 20

// maxTrace bounds the trace context that an execution keeps, in bytes: each
// write of its head pays for it.
const maxTrace = 4 << 10

// StartOption sets a property of one execution.
type StartOption func(*startOptions)

type startOptions struct {
	delay, retention time.Duration
	tags, trace      map[string]string
}

// WithDelay begins the execution only after d. Until then it is pending; its
// deadline counts from its beginning.
func WithDelay(d time.Duration) StartOption { return func(o *startOptions) { o.delay = d } }

// WithRetention deletes the execution d after its end, with its history;
// without it the execution is kept until somebody deletes it. Workers that serve
// its definition do it when they come past.
func WithRetention(d time.Duration) StartOption { return func(o *startOptions) { o.retention = d } }

// WithTags gives the execution tags, to list executions by.
func WithTags(tags map[string]string) StartOption {
	return func(o *startOptions) { o.tags = maps.Clone(tags) }
}

// WithTrace keeps the starter's trace context with the execution, as a
// propagator has written it, at most 4 KB: for observers.
func WithTrace(carrier map[string]string) StartOption {
	return func(o *startOptions) { o.trace = maps.Clone(carrier) }
}

func startOptionsOf(opts []StartOption) (*startOptions, error) {
	o := &startOptions{}
	for _, opt := range opts {
		opt(o)
	}
	switch {
	case o.delay < 0 || o.retention < 0:
		return nil, fmt.Errorf("%w: delay %v and retention %v: neither may be negative", ErrInvalid, o.delay, o.retention)
	case len(o.tags) > MaxTags:
		return nil, fmt.Errorf("%w: %d tags, the limit is %d", ErrInvalid, len(o.tags), MaxTags)
	}
	if size := sizeOf(o.trace); size > maxTrace {
		return nil, fmt.Errorf("%w: the trace context has %d bytes, the limit is %d: leave baggage out", ErrInvalid, size, maxTrace)
	}
	for name, v := range o.tags {
		if name == "" || len(name) > MaxNameLength || len(v) > MaxNameLength {
			return nil, fmt.Errorf("%w: tag %.40q: a name has 1 to %d bytes, a value at most so many", ErrInvalid, name, MaxNameLength)
		}
	}
	return o, nil
}

func sizeOf(carrier map[string]string) (size int) {
	for name, v := range carrier {
		size += len(name) + len(v)
	}
	return size
}
