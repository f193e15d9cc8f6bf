// Package sqlite keeps executions in one SQLite file: the durable.Store for
// programs on one machine, and the default.
//
//	store, err := sqlite.Open("orders.db", sqlite.Options{})
//	if err != nil { … }
//	defer store.Close()
//
// SQLite is compiled in, in pure Go: there is nothing to install and nothing
// to run. Its words here: the file is the database; its log (orders.db-wal,
// with orders.db-shm) holds what is not in the file yet and belongs to it as
// much as the file itself; an owner is an opened Store, and orders.db-owners
// holds a lock file for each.
//
// # What is guaranteed
//
// A write that returned nil is on the disk: it was written to the log and
// synced (synchronous=FULL) before anybody heard of it. It survives the death
// of the process at any instruction, and the loss of power as far as the disk
// keeps its word about syncs.
//
// Writes that come together share a transaction and its sync. One goroutine
// takes all that is queued, writes it, syncs once and answers everybody;
// meanwhile the next ones queue. Each call stands for itself all the same: one
// that the contract refuses changes nothing and does not disturb its
// neighbours. If the transaction fails, all of its calls fail with that error
// and nothing of it is in the file. Reads have connections of their own and
// wait for nobody.
//
// A call whose context ends while it queues has not been run. Once its
// transaction has begun it returns the outcome, whatever its context says.
//
// Any number of processes on one machine may share the file, and one process
// may open it more than once. When a process dies, the operating system
// releases its lock, and the next Due in any other process finds out and
// returns its work at once: nobody waits for a lease. Such a death is proof
// that its code is gone, and stands in the file, so the epochs that it ends
// count as safe (durable.Head.SafeEpoch). A lease that merely ran out proves
// nothing.
//
// # What to know
//
// The file must be on a local disk. Locks and shared memory of network file
// systems are not to be trusted with it.
//
// To back up, close the store and copy the file, or use the backup command of
// the sqlite3 shell on it while it is in use; a plain copy of a file in use is
// worth nothing. Leave orders.db-owners out of it, and never remove it while
// a process has the store open: its lock file is how others know it is alive.
//
// Close keeps the lock until the process ends if executions are still claimed,
// since their code may still be running. Let the engine drain first, and a
// successor finds everything free.
//
// The entries that an execution writes to its journal are numbered all its life
// through, also across new beginnings, and 16,777,215 of them are possible.
//
// Delete makes room in the file for what comes. To shrink the file itself, run
// VACUUM with the sqlite3 shell while no process has it open.
//
// # Errors
//
// Besides those of the durable.Store contract:
//
//	directory missing, path is no file          Open: durable.ErrStoreBroken
//	not a database, or another program's        Open: durable.ErrStoreBroken, nothing changed
//	written by a newer clew                     Open: durable.ErrStoreBroken, nothing changed
//	file, directory or disk read-only           durable.ErrStoreBroken
//	file damaged                                durable.ErrStoreBroken, from what meets the damage
//	disk full, or failing                       durable.ErrStoreBroken, and the same Store goes on
//	                                            once there is space; nothing acknowledged is lost
//	file or lock file removed while open        durable.ErrStoreBroken, until opened anew
//	journal written by a newer clew             the error of durable.DecodeEntries, from Claim
//	                                            (which then claims nothing) and Load
//	another process keeps the file locked for   an error to try again on, not ErrStoreBroken
//	Options.BusyTimeout
//	store closed                                ErrClosed
//
// Each ErrStoreBroken names the file and says what to do.
package sqlite
