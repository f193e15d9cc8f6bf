// Package conformance runs the published requirements on durable executions
// against handlers of our own, and judges the histories that these leave.
//
// The requirements are read from the folder that CLEW_CONFORMANCE names, or
// from ../shared/conformance beside the module. Without them the sequences of
// events in testdata/sequences.json are what the same handlers must leave.
package conformance
