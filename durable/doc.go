// Package durable runs functions whose progress survives the process: every
// operation of a handler is recorded in a store, and after a crash anywhere
// another process replays the record and goes on from there.
//
// Its nouns:
//
//   - A [Definition] is a named, versioned handler. Start begins an execution
//     of it under an ID; the same ID means the same execution.
//   - A [Context] is the handle through which the handler calls operations:
//     [Step], [Wait], [CreateCallback], [WaitForCallback], [WaitForCondition],
//     [Receive], [Invoke], [Child], [Parallel], [Map], [Go], [Now], [Version],
//     [ContinueAsNew], [Context.Park].
//   - An [Engine] starts and watches executions over a [Store], and runs them
//     in [Engine.Run].
//   - An [Execution] is a handle to wait for a result with.
//   - A [Store] keeps records. It is a port: see packages store/mem,
//     store/sqlite and store/storetest.
//
// # What is guaranteed
//
// No body of a step runs before its start marker, and everything before it,
// is durable. So a process that dies leaves no effect behind of which the
// record does not know, and one write carries the result of a step, the start
// of the next and the status: five steps are six writes.
//
// Effects are at least once, under an idempotency key that is stable across
// attempts, processes and deploys ([StepInfo].Key). [AtMostOnce] makes an
// attempt run at most once instead. Nobody can promise exactly once, and this
// package does not.
//
// Claims have epochs: what a process writes that lost its claim is refused,
// whatever the clocks say. Another attempt of a step starts only when the one
// before has returned, its process is proven dead, or its deadline and
// [Options].MaxSkew have passed.
//
// A cancel, a completed callback or an operator's verb that was acknowledged
// is durable and will be seen, before the execution can end or pass a
// [PointOfNoReturn].
//
// # What is asked of handlers
//
// A handler is deterministic: on every replay it calls the same operations in
// the same order. Time, randomness, maps' order and the world outside belong
// in steps. A handler that disagrees with its journal parks with a
// [NondeterminismError] and loses nothing.
//
// A wait that does not stay in memory ends the handler's goroutine, as
// [runtime.Goexit] does: deferred functions run, operations in them are inert,
// and the code behind the wait runs in another activation, perhaps elsewhere.
// So hold no lock over an operation without a deferred unlock, and have no
// effects in deferred functions.
//
// # Errors
//
//	situation                                     error
//	step fails for good                           *StepError, with the stored error inside
//	  its last attempt timed out, or was lost     ErrAttemptTimeout, ErrAttemptLost
//	  its idempotency key is too old              ErrKeyExpired
//	child's function fails                        *ChildError
//	callback was failed, or timed out             *CallbackError, ErrCallbackTimeout, ErrCallbackHeartbeat
//	condition is not met in so many polls         *StepError, ErrConditionNotMet
//	no signal in time, or not one that decodes    ErrSignalTimeout, *SignalError
//	invoked execution did not succeed             *InvokeError, ErrInvokeTimeout, ErrInvokeStopped
//	none of several futures succeeded             ErrNoneSucceeded
//	execution was asked to stop                   *CancelledError: ErrCancelled, ErrTimedOut
//	operation inside a step's body                ErrNested
//	operation in a deferred function              ErrSuspended
//	payload, names, operations over a limit       ErrTooLarge, ErrInvalid, ErrTooManyOperations, ErrTooManyCallbacks
//	ID is taken by other input                    *ExistsError: ErrExists
//	waiting for one that waits for a person       *ParkedError: ErrParked
//	waiting for one that was terminated           ErrTerminated
//	verb that the state does not allow            *VerbError: ErrVerb; ErrRevision; ErrRerun
//	delivered before, or to nobody                *DeliveredError: ErrDelivered; ErrNotOpen, ErrEnded, ErrNotFound
//	store needs a person                          ErrStoreBroken, with the thing and the remedy
//
// Panics, nondeterminism and endless crashes are no errors: they park.
package durable
