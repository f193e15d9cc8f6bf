// Package lambdahost runs executions of package durable inside AWS Lambda. The
// same definitions run in workers over the same table; an execution may start on
// one host and end on the other.
//
//	host, err := lambdahost.New(lambdahost.Options{
//		Open:        func(ctx context.Context) (durable.Store, error) { … }, // dynamo.Open
//		Definitions: []durable.Registrable{order},
//		Queue:       os.Getenv("CLEW_QUEUE_URL"), SQS: sqs.NewFromConfig(cfg),
//		Lambda:      lambda.NewFromConfig(cfg),
//	})
//	…
//	host.Start()
//
// # Nouns
//
// An event is what one invocation is handed: a start, a message that says what
// is due, a batch of those from SQS, a tick of the sweep, the completion of a
// callback, an HTTP request. A wake-up is a message by which the host has itself
// invoked for an execution that is due. The sweep is the invocation, once a
// minute, that turns what the store's index says is due into wake-ups. A pin is
// the function and its published version that had an execution last.
//
// # Events
//
//	{"clew": "start", "definition": "payment", "id": "order-1", "input": {…}}
//	{"clew": "start", …, "async": true, "version": "2", "delay": "1h", "tags": {…}}
//	{"clew": "resume", "id": "order-1"}
//	{"clew": "sweep"}, or any scheduled event
//	{"clew": "callback", "id": "…", "result": {…}} or "error": {"message": "…"} or "heartbeat": true
//	an SQS batch whose bodies are any of these
//	an HTTP request (function URL or HTTP API): POST /callbacks/ID/complete, …/fail, …/heartbeat
//
// The answer to a start is an Outcome, once the execution has ended, is parked,
// or is suspended; with async, or as an asynchronous invocation, once it is
// durable.
//
// # Guarantees
//
//   - The store's index of what is due is the truth; messages only make haste. A
//     lost one costs the time to the next sweep, and where sweeps keep finding the
//     same at most about three times what it is late already; a repeated one costs
//     a claim that is refused.
//   - An attempt starts only if its timeout ends before the invocation's deadline,
//     less Options.Reserve. What is left is handed over: committed, and queued.
//   - An invocation returns only after all code that it started has. If a body
//     does not heed the end of its context the process exits, so that a sandbox
//     which is thawed later does nothing on behalf of an invocation that is over.
//   - A message or an asynchronous invocation that completes a callback may come
//     again: its own repetition is no failure. Another completion is one.
//   - A queue that does not answer takes no invocation's answer along. The message
//     of an execution whose next wake-up could not be queued stays in the queue.
//   - A claim's lease lasts until 5 s after the deadline and costs no heartbeats:
//     what a killed invocation had is taken up by the sweep after that.
//   - An execution goes on in the published version of the function that had it
//     last, unless an operator has acted on it since: then, as after a deploy, the
//     version that finds it takes it.
//     What a worker had, or another function over the same table, goes on in any.
//   - Code whose next step fits into no whole invocation parks
//     (durable.ParkNoTime) after some minutes, rather than wake itself for ever.
//     That it only got its turn late does not count.
//
// # Caveats
//
// Whoever knows a callback's ID can complete it: the HTTP routes ask for nothing
// else. Waits of less than about a second stay in memory (Options.HotWait);
// wake-ups are about a second precise up to 15 minutes ahead, and longer ones are
// as precise, since the sweep sends them when they are near.
//
// Functions that share a table find what is due of each other: their metrics of
// what is due and late are those of the table, and what another one has and this
// one cannot run is left alone.
//
// # Situations and errors
//
//	no event that is known                     *EventError
//	unpublished version ($LATEST)              ErrUnpublished
//	the table is missing, or may not be used   ErrStoreBroken of package durable, with the remedy
//	definition or version not registered       ErrUnknownDefinition of package durable
//	a sweep that did not see or send all       an error, after what it could do, and metrics of that
//	a result of more than 5 MB                 left out of the Outcome, which says TooLarge
//	a heartbeat by a message, too late         nothing: logged
//	a message that fails                       named in batchItemFailures; SQS repeats it, then its DLQ has it
package lambdahost
