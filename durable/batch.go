package durable

import (
	"fmt"
	"math"
)

// Subtypes of the contexts of several branches.
const (
	subtypeParallel = "Parallel"
	subtypeMap      = "Map"
)

// Branch is one of the things that Parallel runs.
type Branch[T any] struct {
	Name string // optional
	Run  func(ctx *Context) (T, error)
}

// CompletionReason says why a Parallel or Map was over.
type CompletionReason string

// The reasons.
const (
	// AllCompleted: every branch has ended.
	AllCompleted CompletionReason = "ALL_COMPLETED"
	// MinSuccessfulReached: as many have succeeded as WithMinSuccessful asks for.
	MinSuccessfulReached CompletionReason = "MIN_SUCCESSFUL_REACHED"
	// FailureToleranceExceeded: more have failed than is tolerated.
	FailureToleranceExceeded CompletionReason = "FAILURE_TOLERANCE_EXCEEDED"
)

// BatchStatus says what became of a branch.
type BatchStatus string

// The statuses of branches.
const (
	BranchSucceeded BatchStatus = "SUCCEEDED"
	BranchFailed    BatchStatus = "FAILED"
	BranchStopped   BatchStatus = "STOPPED" // begun, and given up because the batch was over without it
)

// BatchItem is what became of one branch.
type BatchItem[T any] struct {
	Index  int
	Name   string
	Status BatchStatus
	Value  T     // of one that succeeded
	Err    error // of one that failed: a *ChildError
}

// Batch is what became of the branches of a Parallel or Map, the same on
// every replay.
type Batch[T any] struct {
	Items  []BatchItem[T] // those that were begun, in order of their index
	Reason CompletionReason
}

// Values returns the results of the branches that succeeded, in order of index.
func (b *Batch[T]) Values() []T {
	vs := make([]T, 0, len(b.Items))
	for i := range b.Items {
		if b.Items[i].Status == BranchSucceeded {
			vs = append(vs, b.Items[i].Value)
		}
	}
	return vs
}

// Errors returns the errors of the branches that failed, in order of index.
func (b *Batch[T]) Errors() (errs []error) {
	for i := range b.Items {
		if b.Items[i].Err != nil {
			errs = append(errs, b.Items[i].Err)
		}
	}
	return errs
}

// Count returns how many branches came to a status.
func (b *Batch[T]) Count(s BatchStatus) (n int) {
	for i := range b.Items {
		if b.Items[i].Status == s {
			n++
		}
	}
	return n
}

// Err returns the error of the failed branch with the lowest index, or nil: a
// handler that cannot do without any of them returns it.
func (b *Batch[T]) Err() error {
	for i := range b.Items {
		if b.Items[i].Err != nil {
			return b.Items[i].Err
		}
	}
	return nil
}

type batchOptions struct {
	concurrency   *int
	minSuccessful *int
	tolerated     *int
	percentage    *float64
	flat          bool
	itemName      func(i int) string
}

func batchOption(name string, set func(*batchOptions)) ContextOption {
	return func(o *contextOptions) {
		o.given = append(o.given, name)
		set(&o.batch)
	}
}

// WithMaxConcurrency bounds the branches that run at once, at least 1; without
// it all do. They begin in order of their index.
func WithMaxConcurrency(n int) ContextOption {
	return batchOption("WithMaxConcurrency", func(o *batchOptions) { o.concurrency = &n })
}

// WithMinSuccessful ends a Parallel or Map once n branches have succeeded, at
// least 1. If so many never do, all branches run.
func WithMinSuccessful(n int) ContextOption {
	return batchOption("WithMinSuccessful", func(o *batchOptions) { o.minSuccessful = &n })
}

// WithToleratedFailures ends a Parallel or Map once more than n branches have
// failed; with 0 the first failure does. Without this and
// WithToleratedPercentage all branches run, however many fail.
func WithToleratedFailures(n int) ContextOption {
	return batchOption("WithToleratedFailures", func(o *batchOptions) { o.tolerated = &n })
}

// WithToleratedPercentage ends a Parallel or Map once more than p percent of
// all its branches have failed, 0 to 100.
func WithToleratedPercentage(p float64) ContextOption {
	return batchOption("WithToleratedPercentage", func(o *batchOptions) { o.percentage = &p })
}

// WithItemNames names the items of a Map, for histories and keys.
func WithItemNames(name func(i int) string) ContextOption {
	return batchOption("WithItemNames", func(o *batchOptions) { o.itemName = name })
}

// Flat gives branches no context of their own: operations stand directly in
// that of the Parallel or Map, which saves the entries of a context per
// branch. Until all is over, a replay runs the branches' code again, with
// their operations as recorded; then the results stand in one entry, whose
// size Options.MaxPayload bounds.
func Flat() ContextOption { return batchOption("Flat", func(o *batchOptions) { o.flat = true }) }

// check says which option is out of range.
func (o *batchOptions) check(name string) error {
	var bad string
	switch {
	case o.concurrency != nil && *o.concurrency < 1:
		bad = fmt.Sprintf("WithMaxConcurrency(%d): at least 1, or leave it out for no bound", *o.concurrency)
	case o.minSuccessful != nil && *o.minSuccessful < 1:
		bad = fmt.Sprintf("WithMinSuccessful(%d): at least 1", *o.minSuccessful)
	case o.tolerated != nil && *o.tolerated < 0:
		bad = fmt.Sprintf("WithToleratedFailures(%d): at least 0", *o.tolerated)
	case o.percentage != nil && (math.IsNaN(*o.percentage) || *o.percentage < 0 || *o.percentage > 100):
		bad = fmt.Sprintf("WithToleratedPercentage(%v): between 0 and 100", *o.percentage)
	default:
		return nil
	}
	return Permanent(fmt.Errorf("%w: %q: %s", ErrInvalid, name, bad))
}

// Parallel runs branches beside each other, each in a context of its own, and
// returns what became of them. Branches that fail make no error: Batch.Err
// does, for handlers that want one. It is over when all have ended, or as
// WithMinSuccessful, WithToleratedFailures and WithToleratedPercentage say.
// Branches that run still are then given up: their code ends at its next
// operation as if it were suspended, the context of a step's body is cancelled,
// and nothing more of them is recorded. Parallel returns after all their code
// has. ErrCancelled when the execution was asked to stop, ErrInvalid on options
// out of range.
//
// Branches run in goroutines of their own: what they share needs a lock.
func Parallel[T any](ctx *Context, name string, branches []Branch[T], opts ...ContextOption) (*Batch[T], error) {
	o := contextOptionsOf(opts)
	o.batch.itemName = func(i int) string { return branches[i].Name }
	return runBatch(ctx, &batch[T]{
		contextOptions: o, sub: subtypeParallel, branchSub: "ParallelBranch", n: len(branches),
		run: func(c *Context, i int) (T, error) { return branches[i].Run(c) },
	}, name)
}

// Map runs fn for every item, beside each other, and returns what became of
// them. The rules of Parallel hold.
func Map[In, T any](ctx *Context, name string, items []In, fn func(ctx *Context, item In, i int) (T, error), opts ...ContextOption) (*Batch[T], error) {
	return runBatch(ctx, &batch[T]{
		contextOptions: contextOptionsOf(opts), sub: subtypeMap, branchSub: "MapIteration", n: len(items),
		run: func(c *Context, i int) (T, error) { return fn(c, items[i], i) },
	}, name)
}
