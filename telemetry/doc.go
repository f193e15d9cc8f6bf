// Package telemetry tells OpenTelemetry what an engine does: traces, metrics and
// the correlation of logs. It is an observer of package durable.
//
//	provider := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(telemetry.IDGenerator()), …)
//	t, err := telemetry.New(telemetry.Options{TracerProvider: provider})
//	…
//	engine, err := durable.New(store, durable.Options{Observer: t})
//
// An execution is one trace, over all activations on all hosts: that of the
// context with which it was started or invoked, or one that is derived from its
// ID. Span IDs are derived too, so that each host can name a parent that another
// host will export. Activations and attempts are exported as they happen; the
// execution, its operations and undos from the journal, when it has ended. Whether
// an execution is sampled is decided at its start, and kept.
//
// What a process that is killed had not exported yet is missing from the trace:
// the activations and attempts in it, which are no other process's to know; and if
// the execution had ended in it a moment before, the rest too, which TellEnded
// brings. The operations of a run that had just continued as new nothing brings.
//
// It costs no write, and no read but one of the head of each execution that ends,
// from a store that bills.
// Payloads are in no span unless Options.Payloads says so; the messages of errors
// are. Metrics have neither, and no IDs.
package telemetry
