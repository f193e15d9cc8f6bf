package durable

import (
	"context"
	"fmt"
	"time"
)

// MaxNameLength bounds names and execution IDs, in bytes.
const MaxNameLength = 200

// Definition is a durable function: a name, a version and the handler that
// runs. It is immutable and safe for concurrent use.
type Definition[In, Out any] struct {
	d definition
	h func(*Context, In) (Out, error)
}

// Registrable is what Engine.Register takes: a *Definition, or a type that
// embeds one.
type Registrable interface{ registration() *definition }

// definition is a Definition with its type parameters erased.
type definition struct {
	name, version string
	fingerprint   string
	timeout       time.Duration
	onParked      func(context.Context, Head)
	terminated    func(detail string) string
	normal        func(input []byte, limit int) ([]byte, error) // the stored form of an input that is JSON
	parked        func(detail string, stuck bool) (string, bool)
	noExecutions  string // why there can be none; "" is that there can
	run           func(c *Context, input []byte, limit int) ([]byte, error)
}

// DefineOption sets a property of a Definition.
type DefineOption func(*definition)

// WithExecutionTimeout gives every execution a deadline, counted from its
// start: past it, operations return an error that is ErrTimedOut.
func WithExecutionTimeout(d time.Duration) DefineOption {
	return func(def *definition) { def.timeout = d }
}

// WithFingerprint stamps executions with a digest of the definition's shape.
func WithFingerprint(f string) DefineOption {
	return func(def *definition) { def.fingerprint = f }
}

// WithOnParked calls f in the process that has parked an execution, once the
// parking is durable: to tell a person. It is not called again if that process
// dies first. The context ends with the host; a panic is logged.
func WithOnParked(f func(ctx context.Context, parked Head)) DefineOption {
	return func(def *definition) { def.onParked = f }
}

// WithTerminatedStatus makes the custom status of an execution that is
// terminated or abandoned, of the one that it had.
func WithTerminatedStatus(f func(detail string) string) DefineOption {
	return func(def *definition) { def.terminated = f }
}

// WithParkedStatus makes the custom status of an execution that is parked, of the
// one that it had and of whether its place says that effects stand (Park.Stuck). f
// also tells whether they stand by the status that it had.
func WithParkedStatus(f func(detail string, stuck bool) (string, bool)) DefineOption {
	return func(def *definition) { def.parked = f }
}

// WithoutExecutions says why a definition cannot be executed by itself, as one that
// is only a part of others: Register refuses it then, with ErrInvalid.
func WithoutExecutions(why string) DefineOption {
	return func(def *definition) { def.noExecutions = why }
}

// Define declares a durable function. The handler must be deterministic: on
// every replay it calls the same operations in the same order, and whatever
// has effects stands in the body of a step. In and Out are stored as JSON.
//
// Executions stay on the version that they started with: change it whenever
// the order or the names of operations change.
func Define[In, Out any](name, version string, handler func(*Context, In) (Out, error), opts ...DefineOption) *Definition[In, Out] {
	d := &Definition[In, Out]{d: definition{name: name, version: version}, h: handler}
	for _, opt := range opts {
		opt(&d.d)
	}
	d.d.normal = func(input []byte, limit int) ([]byte, error) {
		in, err := decodeValue[In](input)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return encodeValue(in, limit)
	}
	d.d.run = func(c *Context, input []byte, limit int) ([]byte, error) {
		in, err := decodeValue[In](input)
		if err != nil {
			return nil, &storedFormError{fmt.Errorf("input of %s@%s: %w: deploy a build that reads it, then resume", name, version, err)}
		}
		out, err := handler(c, in)
		if err != nil {
			return nil, err
		}
		payload, err := encodeValue(out, limit)
		if err != nil {
			return nil, &storedFormError{fmt.Errorf("output of %s@%s: %w: deploy a build whose output can be stored, then resume", name, version, err)}
		}
		return payload, nil
	}
	return d
}

// storedFormError parks: stored bytes and code do not agree, which is a bug
// of a deployment and no failure of the execution.
type storedFormError struct{ err error }

func (e *storedFormError) Error() string { return e.err.Error() }
func (e *storedFormError) Unwrap() error { return e.err }

func (d *Definition[In, Out]) registration() *definition { return &d.d }

// Name returns the definition's name.
func (d *Definition[In, Out]) Name() string { return d.d.name }

// Version returns the definition's version.
func (d *Definition[In, Out]) Version() string { return d.d.version }

// Start starts an execution, or finds the one that was started under this ID
// with the same input, running or ended: calling it again is safe. Other
// input, or another definition, is an *ExistsError.
//
// When it returns without error the execution is durable and will run to its
// end wherever workers serve the definition; if this engine is running and
// has room, it runs here, and its first step's start was part of the write.
// With an error from the store the outcome is unknown: call again with the
// same ID. Engine e must have the definition registered (ErrUnknownDefinition).
// Options count for the start that creates the execution. ErrPaused while an
// operator has paused starts of the definition, unless the execution exists.
func (d *Definition[In, Out]) Start(ctx context.Context, e *Engine, id string, in In, opts ...StartOption) (*Execution[Out], error) {
	o, err := startOptionsOf(opts)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	input, err := encodeValue(in, e.opts.MaxPayload)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	a, err := e.start(ctx, &d.d, id, input, o)
	if err != nil {
		return nil, fmt.Errorf("start %q: %w", id, err)
	}
	return &Execution[Out]{e: e, id: id, a: a}, nil
}

// Attach returns a handle to an execution that was started before. It reads
// nothing; Wait tells when there is none.
func (d *Definition[In, Out]) Attach(e *Engine, id string) *Execution[Out] {
	return &Execution[Out]{e: e, id: id}
}
