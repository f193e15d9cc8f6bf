// Package lambdalocal runs compiled bootstrap binaries as AWS Lambda would, for
// tests. A Lambda has functions, each with sandboxes: processes of the real
// binary that speak the Runtime API, are frozen between invocations, are
// killed at their deadline, and are replaced when they exit. It is invoked
// from Go, by the Lambda client of an AWS SDK, by plain HTTP as behind a
// function URL, by queues of an SQS server and by schedules.
//
//	l := lambdalocal.Start(t, lambdalocal.Options{SQS: sqslocal.Endpoint(t)})
//	l.Create(lambdalocal.Function{Name: "pay", Bootstrap: binary})
//	result, err := l.Invoke(ctx, "pay", []byte(`{}`))
//
// It is as strict as Lambda where Lambda is: throttled callers are turned
// away, asynchronous invocations are retried twice and then go to a
// dead-letter queue, messages that failed stay until their visibility timeout
// ends, and a chain of invocations through SQS or the Lambda API that reaches
// one function for the 17th time is stopped, unless it allows that. Chaos
// makes it worse than Lambda.
//
// It differs from Lambda in this:
//   - Memory is measured and not limited. There is no limit on the CPU.
//   - Nothing scales up slowly: there are up to Concurrency sandboxes at once.
//   - Which hops a batch of several messages has is not documented by AWS.
//     Here it has those of its longest chain, which is the worst case.
//   - Retries of asynchronous invocations come after RetryDelays, not after
//     one and two minutes.
//   - Freezing is SIGSTOP to the sandbox's process group. Its clock goes on,
//     as Lambda's does, and so do its TCP connections.
package lambdalocal
