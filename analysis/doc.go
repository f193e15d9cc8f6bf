// Package analysis finds in the source of handlers and sagas what neither the
// compiler nor saga.Builder.Build can see, and what would show at run time
// only as a parked execution, an effect that no record knows of, or an undo
// that was never written down.
//
// [Analyzer] is one go/analysis analyzer with a few named rules. Every
// diagnostic begins with the name of its rule, which is also its category,
// and says what to do instead. Command clewvet runs it alone or under go vet;
// docs/clewvet.md says for each rule why it is there and how to mend.
//
// A comment silences one rule on its own line or, when it stands alone, on
// the line below:
//
//	//clewvet:ignore nondeterminism the value only labels a metric
//
// A comment without a reason, of a rule that does not exist, or that silences
// nothing is reported itself.
//
// The rules look at one package at a time and prefer silence to a guess: what
// reaches a step through a struct's field, a variable that is assigned twice
// or another function's result is not followed.
package analysis
