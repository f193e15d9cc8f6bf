package storetest

import (
	"fmt"
	"slices"

	"github.com/clewdev/clew/durable"
)

// anew is a commit that begins the journal anew with one entry, the one that
// batch gives it.
func anew(id string, epoch, seq int64, status durable.Status) *durable.Commit {
	c := batch(id, epoch, seq, status)
	c.Anew = true
	return c
}

func commitAnew(k *kit) {
	k.born("a", "x", "y")
	k.commit(batch("a", 1, 2, durable.StatusRunning))
	c := anew("a", 1, 3, durable.StatusRunning)
	c.Entries = []durable.Entry{entry(7), entry(8)}
	k.commit(c)
	k.wantJournal(k.load("a"), 4, 7, 8)
	k.commit(batch("a", 1, 4, durable.StatusRunning))
	k.wantJournal(k.load("a"), 5, 7, 8, 104)
	// It drops entries, and nothing else: keys, deliveries and winners stay.
	k.deliver(callback("a", "x", "n1", at(1)))
	k.wantNonces("the receipt of a new beginning", k.commit(anew("a", 1, 5, durable.StatusRunning)).Unseen, "n1")
	k.wantJournal(k.load("a"), 6, 105)
	k.refuseLoser(callback("a", "x", "n2", at(1)), "n1")
	k.deliver(callback("a", "y", "n3", at(1)))

	rec := k.heir("a", "w2/1")
	k.wantJournal(rec, 6, 105)
	k.wantNonces("the inbox", rec.Inbox, "n1", "n3")
	// A new journal may be empty, and begin in the first commit of a claim.
	c = anew("a", 2, 1, durable.StatusRunning)
	c.Entries, c.Seen = nil, 2
	k.commit(c)
	k.wantJournal(k.load("a"), 6)
	k.commit(batch("a", 2, 2, durable.StatusRunning))
	k.wantJournal(k.load("a"), 7, 202)
	anewAtRest(k)
}

// anewAtRest goes on with a record that epoch 2 holds, at commit 2 and
// revision 7.
func anewAtRest(k *kit) {
	c := anew("a", 2, 3, durable.StatusSuspended)
	c.Due = at(40)
	k.commit(c)
	k.wantJournal(k.load("a"), 8, 203)
	k.wantJournal(k.claim("a", "w3/1", at(40)), 8, 203)
	k.commit(anew("a", 3, 1, durable.StatusParked))
	k.refuseDelivery(verb("a", "v", 1, at(41)), durable.ErrRevision) // the length of what is left
	k.deliver(verb("a", "v", 9, at(41)))
	k.wantJournal(k.claim("a", "w4/1", at(41)), 9, 301)
	c = anew("a", 4, 1, durable.StatusTerminated)
	c.Entries = nil
	k.commit(c)
	k.wantJournal(k.load("a"), 9)
	k.wantErr(k.store.Delete(k.ctx, "a"), nil, "Delete")
	// Nothing is there to drop for a record that is born so.
	first := anew("a", 1, 1, durable.StatusRunning)
	first.Lease = at(30)
	k.create(&durable.Create{Identity: identity("a"), Now: at(0), Owner: "again", First: first})
	k.commit(batch("a", 1, 2, durable.StatusRunning))
	k.wantOps(k.load("a"), 101, 102)
	k.wantOps(k.heir("a", "w2/1"), 101, 102)
}

func ownAnew(k *kit) {
	k.born("a", "x")
	k.commit(batch("a", 1, 2, durable.StatusRunning))
	c := anew("a", 1, 3, durable.StatusRunning)
	repeat := func(nonces ...string) {
		k.Helper()
		k.unchanged("a", func() { k.wantNonces("the receipt of the repeat", k.commit(c).Unseen, nonces...) })
	}
	k.commit(c)
	repeat()
	k.deliver(signal("a", "s", "n1", at(2)))
	repeat("n1")
	// What comes late finds others before it, which it must not drop.
	k.commit(batch("a", 1, 4, durable.StatusRunning))
	k.refuse(c, durable.ErrFenced)
	k.refuse(anew("a", 1, 2, durable.StatusRunning), durable.ErrFenced)
	k.refuse(anew("a", 1, 6, durable.StatusRunning), durable.ErrFenced)
	c = anew("a", 1, 5, durable.StatusRunning)
	c.IfSeen = true
	k.refuse(c, durable.ErrUnseen)
	k.wantJournal(k.heir("a", "w2/1"), 4, 103, 104)
	k.refuse(anew("a", 1, 5, durable.StatusSuspended), durable.ErrFenced)
	c = anew("a", 2, 1, durable.StatusSucceeded)
	k.commit(c)
	repeat("n1")
	k.refuse(anew("a", 2, 2, durable.StatusSucceeded), durable.ErrEnded)
	k.wantJournal(k.load("a"), 5, 201)
}

func raceAnew(k *kit) {
	for round := range rounds {
		id := fmt.Sprint("r", round)
		k.born(id)
		k.commit(batch(id, 1, 2, durable.StatusRunning))
		begin := func() error {
			_, err := k.store.Commit(k.ctx, anew(id, 1, 3, durable.StatusRunning))
			return err
		}
		var taken *durable.Record
		take := func() (err error) {
			taken, err = k.store.Claim(k.ctx, claimOf(id, "w2/"+id, at(30)))
			return err
		}
		calls := []func() error{begin, take}
		var errs []error
		if round == 0 { // one after the other, which a race need not bring
			errs = []error{begin(), take()}
		} else {
			errs = race(len(calls), func(i int) error { return calls[i]() })
		}
		if errs[1] != nil {
			k.Fatalf("Claim at the end of a lease: got %v, want nil", errs[1])
		}
		k.same("the record after both", k.load(id), taken)
		if errs[0] != nil {
			k.wantErr(errs[0], durable.ErrFenced, "the commit that came too late")
		}
		if errs[0] == nil || len(taken.Journal) == 1 { // fenced, it may have landed first and its answer been lost
			k.wantJournal(taken, 3, 103)
		} else {
			k.wantOps(taken, 101, 102)
		}
		want := slices.Concat(taken.Journal, []durable.Entry{entry(201)})
		k.commit(batch(id, 2, 1, durable.StatusRunning))
		k.same("the journal after the heir's commit", k.load(id).Journal, want)
	}
}
