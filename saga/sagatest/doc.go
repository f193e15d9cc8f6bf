// Package sagatest tests sagas: what they do when their steps fail, when their
// process dies, and whether their undos can be relied upon. It works on a saga
// as it is; failures are put around its functions (saga.Saga.Intercept), and all
// runs are in virtual time.
//
//   - [CrashEverywhere] runs the saga without failures and with every step
//     failing in every way, and under each of these with a crash at every write,
//     and lets a func of yours look at what stands.
//   - [CheckUndos] calls undos twice, and without their forward, and forwards
//     after their undo, and says what is wrong with them.
//   - [Explore] tries all failures and crashes alone and in pairs, and prints what the saga
//     came to as a table, with what was never reached.
//
// The outside world of the saga under test is yours: fakes in memory, whose
// effects happen while the saga calls them and not later. [Participant] is one
// that keeps all the rules. The same saga and fakes serve all runs; every run is
// an execution with an ID, and so with keys, of its own.
//
//	func TestTrip(t *testing.T) {
//		p := &sagatest.Participant{}
//		sagatest.CheckUndos(t, tripSaga(p), trip, p.Outside())
//	}
//
// Fakes that sleep or wait must do so by the clock of package time, and must not
// keep goroutines or channels from one run to the next: each run is in a bubble
// of testing/synctest of its own.
package sagatest
