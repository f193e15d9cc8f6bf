// Package saga declares sagas and runs them durably: forward steps, each with
// what undoes it, and a pivot after which the saga only goes forward. A saga
// commits, or everything that stood is undone, in reverse order of its start;
// or it is parked and says why, and waits for a person.
//
// # The rule
//
// Every step that was started and is not proven to have had no effect is
// undone. A rejection ([Reject]) proves it of its own attempt alone. Where an
// earlier attempt is in doubt (it failed, timed out, or was lost in a crash),
// Verify decides, and without a Verify the step is undone as in doubt: its
// undo gets the forward key and an absent result.
//
//	what happened             before the pivot            the pivot                      after the pivot
//	rejection                 unwind                      unwind, on the same proof      park
//	transient error           retry, then unwind          retry, Verify, then park       retry for a day, then park
//	outcome unknown           retry under the same key;   as above; never unwind past    Verify, else retry
//	                          at most once: Verify first  a pivot that may have happened
//	cancel, deadline          unwind                      wait for its outcome           finish forward
//	panic, nondeterminism     park                        park                           park
//
// An undo that fails for good parks and keeps the order: nothing before it is
// undone until it is. Undos and steps after the pivot are tried for 24 hours.
//
// # Declaring
//
// [New] makes a [Builder]; [Step], [Do] and [Pivot] declare steps on it, and a
// step has an [Output] only once it has been classified: by Undo, ReadOnly,
// Irreversible or Retriable. So the compiler refuses most mistakes, and
// [Builder.Build] names the rest with file and line. A [Saga] is a
// durable.Definition: register it with an engine and start it. Steps may stand in
// groups, branches and sub-sagas ([Parallel], [When], [Sub]). What is better
// written as code keeps its undos on a [Stack]. docs/sagas.md has all of it, with
// what participants must do.
//
// # Keys and late requests
//
// [Context].Key is stable across attempts; send it to the participant. After a
// Verify that answered [NoEffect] the next attempt has a new key, because the
// participant refuses the old one from then on. An undo of a key that the
// participant does not know must leave a tombstone there, so that a request
// that is still on its way is refused when it arrives: what is on the wire
// only the participant can stop.
//
// # Status and operators
//
// [StatusOf] gives both axes, forward and unwind. What parks names its reason
// and the verbs that end it: retry, resolve, resume; see durable.Engine.Act.
package saga
