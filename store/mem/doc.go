// Package mem keeps executions in memory: the durable.Store of tests, of
// examples and of programs that may forget.
//
//	store := mem.New()
//
// A Store is a map under one mutex. It starts no goroutine, waits for nothing
// but that mutex and holds no clock, so it works inside testing/synctest
// bubbles, where virtual time moves on while it is in use. What it is given
// and what it hands out are copies: callers may reuse their slices.
//
// It answers as the stores on disk do, so that code tested here meets no
// surprise there: times come back in UTC without a monotonic reading, those
// of journal entries to the microsecond, and a call whose context has ended
// fails before it touches anything.
//
// One thing it cannot know by itself: that the process behind a claim is gone.
// A store on disk reads that from a released file lock; here a test says it,
// with KillOwner.
package mem
