// Package storetest is the definition of a durable.Store, in code: a store is
// what passes Run.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) durable.Store { return open(t) })
//	}
//
// Run holds one subtest per promise, and the table in run.go states each in a
// sentence: reading it is reading the contract. Some promises are held against
// goroutines that race. The last subtests walk at random: Model sends the same
// seeded calls, many of them repeated, late or wrong, to the store and to a
// plain model of one, and compares every answer.
//
// Nothing here sleeps or reads a clock. Arguments carry times of their own:
// whole milliseconds in heads and deliveries, microseconds in entries, so a
// store may keep no more than that. (One that keeps less must round due and
// lease up, never down, or work that is not due is claimed again and again.)
//
// What Run leaves open, engines must not rely on: owner and lease of a record
// that nobody holds, heartbeats of a callback that is closed, whether heads
// from List carry the input, and nil against empty outside of entries.
//
// The suite has its own test: stores with one fault each, and the promise that
// must catch it.
package storetest
