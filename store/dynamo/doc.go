// Package dynamo keeps executions in one DynamoDB table: the durable.Store for
// many machines, and for Lambda.
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	…
//	store, err := dynamo.Open(ctx, dynamodb.NewFromConfig(cfg), dynamo.Options{Table: "orders"})
//
// CreateTable makes the table. One that a template made, with the same keys and
// indexes, is as good: the first Open writes its settings.
//
// Words used here: the head is the item that an execution is, and the only one
// that is ever changed; the journal is a sequence of records, each of them one
// commit's, in the head or in items of their own; a commit may begin it anew.
// Blobs are items that hold a large payload, in as many chunks as it takes,
// named by their content. Those that no head or record came to name are garbage,
// as is what a new journal has dropped, which Delete removes with the rest.
//
// # What is guaranteed
//
// Each call is decided by one conditional write of one item, so that it is
// atomic and needs no transaction: of the head, or, for a commit that only
// adds to the journal of what goes on running, of the journal item in the next
// position, which must not exist. A claim that was taken over is fenced by its
// epoch in the head, and by a seal in that position, whatever any clock says.
//
// Requests are repeated, each attempt with a limit of time, until they have an
// answer or their context ends: after lost connections, throttling and errors
// of the service. An attempt that meets the write of an earlier one recognises
// it, by epoch and sequence, owner or nonce, and succeeds.
//
// No item exceeds DynamoDB's 400 KB, however long the journal and however
// large the payloads.
//
// # What it costs
//
// A step is one write, of one write unit unless its result is large; the writes
// that begin, suspend, claim and end pay for the head, which has one kilobyte
// or two. Claiming and reading an execution is one write, and a read if its
// journal has left the head. The index due lists what must be looked at and
// when; an execution that runs stands there with its lease end, so that a poll
// costs by what is due and not by what runs or waits. A claim moves it there,
// for two units; commits do only when they move the lease. A delivery to an
// execution that runs is two writes, to one that waits it is one. An end that
// tells when it may be deleted costs a unit more. Parked executions have an
// index of their own, for List. Any other List scans the table, each page anew,
// whatever it filters by: it is for people and small tables. A write that is
// refused costs what one that is accepted does.
//
// Each execution keeps its own bill (durable.Head.Usage): what the service
// said of each request of its owners, and by their known price the writes of
// claims and deliveries.
//
// # What to know
//
// Nothing here proves a process dead: what it had claimed is taken over when
// its lease ends, and its epochs never count as safe
// (durable.Head.SafeEpoch).
//
// Indexes, and List, follow the table within moments; a poll may name what
// somebody has taken already, and Claim, which does not, sorts that out.
//
// In a global table of the usual, eventually consistent kind all workers must
// use one region: a condition sees only the region that it is written in.
// Global tables with strong consistency need nothing.
//
// The permissions needed are GetItem, PutItem, UpdateItem, DeleteItem, Query,
// Scan and DescribeTable on the table and its index/*. CreateTable needs those
// of what it does besides. The service deletes by TTL what is left of deleted
// executions and expires: seals, for owners that are still asleep.
//
// # Errors
//
// Besides those of the durable.Store contract:
//
//	table missing, or not clew's                 durable.ErrStoreBroken
//	no permission, no or expired credentials     durable.ErrStoreBroken
//	execution or table of a newer clew           durable.ErrStoreBroken, and nothing is changed
//	damaged item                                 durable.ErrStoreBroken
//	throttled, failing or unreachable            the context's error and the last cause, once ctx has ended
//	something out of DynamoDB's range            durable.ErrInvalid
//
// Each of them names the table and the action, and says what to do. The engine
// tries on meanwhile, and goes on when the cause has ended.
package dynamo
