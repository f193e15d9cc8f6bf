package storetest

import (
	"fmt"
	"testing"

	"github.com/clewdev/clew/durable"
)

// Run holds a store to every promise of the port, a subtest each. It calls
// open for each of them and expects an empty store; what must be closed, open
// registers with t.Cleanup.
//
// A store that can be told of a process's death, by a method
// KillOwner(owner string) as mem has it, is held to what follows from that
// too. One that finds it out by itself tests it by itself.
func Run(t *testing.T, open func(t *testing.T) durable.Store) {
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("the promise: %s", c.promise)
				}
			}()
			c.run(&kit{tb: t, ctx: t.Context(), store: open(t)})
		})
	}
}

// tb is the part of testing.TB that checks use, so that the suite's own test
// can run them and survive their failures.
type tb interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// check is one promise of the port.
type check struct {
	name, promise string
	run           func(k *kit)
}

// checks returns the definition of a store.
func checks() []check {
	all := []check{
		{"Create/Pending", "a record comes back as it was created, is due when it says and never before", createPending},
		{"Create/Exists", "an ID is given once; a second Create is refused and changes nothing", createExists},
		{"Create/Born", "with First a record is born claimed at epoch 1, its first commit in it", createBorn},
		{"Create/BornReleased", "the first commit may leave the record suspended, parked or ended", createBornReleased},
		{"Create/Extras", "tags, retention, parent, origin and trace come back wherever a head does", createExtras},
		{"Create/Copied", "a record may be born with a journal of thousands of entries", createCopied},

		{"Claim/Takes", "a claim raises the epoch and returns everything that replay needs", claimTakes},
		{"Claim/Host", "of a claim that was released the host of its owner is still known", claimHost},
		{"Claim/NotDue", "what is not due, ended or absent cannot be claimed, and stays as it is", claimNotDue},
		{"Claim/KeepsPark", "a claim leaves the reason for parking in place, the next commit replaces it", claimKeepsPark},
		{"Claim/Poison", "a claim that finds the activation before unfinished counts a crash; progress forgets them", claimPoison},
		{"Claim/SafeEpoch", "an epoch is safe only if its activation ended cleanly and the epochs before it are safe", claimSafeEpoch},
		{"Claim/DeadOwner", "a record of a proven dead owner is due at once, and its epoch is safe", claimDeadOwner},

		{"Commit/Head", "a commit sets what the head says, and appends to the journal", commitHead},
		{"Commit/Lease", "a commit moves lease and due of a running record only if it names a lease", commitLease},
		{"Commit/Release", "a commit that does not keep running releases the record until its due time", commitRelease},
		{"Commit/Anew", "a commit that begins the journal anew drops what stood there; the revision counts on", commitAnew},

		{"Fencing", "a commit under an old epoch is refused, always, and changes nothing", fencing},
		{"Order", "commit n of a claim is accepted once, after n-1; a delayed duplicate changes nothing", order},
		{"OwnWrite/Create", "a repeated Create by the same owner nonce succeeds and changes nothing", ownCreate},
		{"OwnWrite/Claim", "a repeated Claim by the same owner nonce returns the same claim", ownClaim},
		{"OwnWrite/Commit", "a repeated commit succeeds, changes nothing and tells of new deliveries", ownCommit},
		{"OwnWrite/Anew", "a commit that began the journal anew drops nothing more when it is repeated, comes late or is refused", ownAnew},
		{"OwnWrite/LastCommit", "that also holds for the commit that released or ended the record", ownLastCommit},
		{"OwnWrite/Deliver", "a repeated delivery by the same nonce succeeds for ever and changes nothing", ownDeliver},
		{"OwnWrite/Apart", "a delivery, whenever it comes, touches neither a claim's sequence nor its repeats", ownWritesApart},

		{"NoLostWakeup/IfSeen", "a conditional commit meets unseen deliveries: refused, nothing changed, and told of them", ifSeen},
		{"NoLostWakeup/Deliver", "a delivery makes a record that is suspended or pending due, and leaves a running one alone", deliverWakes},
		{"NoLostWakeup/Release", "who releases a record that has unseen deliveries leaves it due", releaseWakes},
		{"NoLostWakeup/Parked", "a parked record is made due by its operator's verbs alone", parkedWakes},
		{"NoLostWakeup/Signal", "a signal wakes what is suspended or pending, leaves alone what is parked, and is told to who runs", signalWakes},
		{"NoLostWakeup/Race", "a delivery that races a suspending commit is told to it or wakes the record", deliverAgainstSuspend},

		{"FirstDeliveryWins", "the first delivery by a key wins and stays the winner; others learn its nonce", firstDeliveryWins},
		{"FirstDeliveryWins/Race", "of deliveries that race for a key exactly one wins", raceForKey},
		{"Callback", "a callback accepts a delivery only while it is open", callbackOpen},
		{"Signal", "a signal needs nothing open; the first by its key wins, and until the end", signalAnytime},
		{"Heartbeat", "a heartbeat replaces the last one, takes no place, wins nothing and wakes nobody", heartbeat},
		{"Verb", "a verb is accepted only by a record that is parked at the revision it was decided on", verbRevision},
		{"InboxDrains", "a commit drops what it has seen, and nothing else", inboxDrains},
		{"InboxFull", "the inbox holds MaxInbox deliveries, and a cancel or a verb beyond them", inboxFull},
		{"InboxFull/Signals", "a full inbox refuses a signal, and still has room for a cancel and a verb", inboxFullOfSignals},
		{"NothingAfterTheEnd", "an ended record accepts no claim, no commit and no delivery", nothingAfterTheEnd},
		{"TimeNeverDecidesSafety", "epochs fence, clocks and leases never do", timeNeverDecides},

		{"Load", "a head comes without input and journal, but with inbox and heartbeats", loadHead},
		{"Due/Pages", "Due pages through what is due, earliest first, each once", duePages},
		{"Due/Later", "Due names the time at which the next execution becomes due", dueLater},
		{"Due/Statuses", "Due shows every status that can be due, running ones at their lease end and as such, of one definition version", dueStatuses},
		{"Due/Ended", "an ended record is due when it says that it may be deleted, and can't be claimed", dueEnded},
		{"List", "List pages through the heads that match, in order of ID", list},
		{"List/Tags", "List finds by tags, all of those that it is asked for", listTags},
		{"List/Created", "List finds by the time of creation, from the first instant of a span to before its last", listCreated},
		{"List/Ended", "List finds by the time of the end, likewise, and then nothing that has not ended", listEnded},
		{"Limits", "a page without a limit holds at most 100, and the rest follows", defaultLimits},
		{"Delete", "only an ended record can be deleted, and then its ID is free", deletes},

		{"Entries", "entries come back with every field, in the order of their commits", entriesRoundTrip},
		{"Fields", "parks, errors and deliveries come back with every field", fieldsRoundTrip},
		{"BigPayloads", "five megabytes fit wherever a payload goes", bigPayloads},
		{"OddNames", "IDs, definitions, keys and nonces may be any text of 200 bytes, and no two are mixed up", oddNames},
		{"Isolation", "callers may change what they passed in and what they got back", isolation},
		{"Isolation/End", "that holds for results and errors too", isolationOfTheEnd},

		{"Race/Creates", "of Creates that race for an ID exactly one wins", raceCreates},
		{"Race/Claims", "of claims that race for a record exactly one wins", raceClaims},
		{"Race/Repeats", "repeats of a commit that race land once, and all succeed", raceRepeats},
		{"Race/Takeover", "a commit that races a claim is in what the claim returns, or is fenced", raceTakeover},
		{"Race/Anew", "a commit that begins the journal anew and races a claim does so for whoever claims, or not at all", raceAnew},
		{"Race/Deliveries", "deliveries that race have places of their own, without gaps", raceDeliveries},
	}
	for seed := range uint64(4) {
		all = append(all, check{
			fmt.Sprintf("Model/%d", seed),
			"whatever the order of calls, the store answers as the model does",
			func(k *kit) { model(k, seed, 250) },
		})
	}
	return all
}

// Model makes ops random calls on an empty store, the same ones for the same
// seed, and compares each answer, and the record after it, with those of a
// plain model of a store. Run does it with a few seeds; call it with more to
// search longer. A failure prints the calls that led to it.
func Model(t testing.TB, store durable.Store, seed uint64, ops int) {
	t.Helper()
	model(&kit{tb: t, ctx: t.Context(), store: store}, seed, ops)
}
