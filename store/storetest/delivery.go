package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// refuseLoser sends a delivery that comes second to winner.
func (k *kit) refuseLoser(d *durable.Delivery, winner string) {
	k.Helper()
	k.unchanged(d.ID, func() {
		k.Helper()
		k.wantLost(k.store.Deliver(k.ctx, d), d, winner)
	})
}

func (k *kit) wantLost(err error, d *durable.Delivery, winner string) {
	k.Helper()
	var lost *durable.DeliveredError
	if !errors.As(err, &lost) || lost.Key != d.Key || lost.Winner != winner {
		k.Fatalf("Deliver(%s): got %v, want a DeliveredError that names %q for %q", show(d), err, winner, d.Key)
	}
}

func firstDeliveryWins(k *kit) {
	k.wantErr(k.store.Deliver(k.ctx, cancel("absent", "n", at(0))), durable.ErrNotFound, "Deliver to an ID that was never created")
	k.born("a", "cb")
	lost := func() {
		k.Helper()
		k.refuseLoser(callback("a", "cb", "n2", at(0)), "n1")
		k.refuseLoser(beat("a", "cb", "h", at(0)), "n1")
		k.refuseLoser(cancel("a", "c2", at(0)), "c1")
	}
	k.deliver(callback("a", "cb", "n1", at(1)))
	k.deliver(cancel("a", "c1", at(1)))
	lost()
	// After the inbox has drained, after the callback was closed, after it
	// was opened again, after the next claim: the winner stays the winner.
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Seen = 2
	k.commit(c)
	lost()
	c = batch("a", 1, 3, durable.StatusRunning)
	c.Seen, c.Close = 2, []string{"cb"}
	k.commit(c)
	lost()
	c = batch("a", 1, 4, durable.StatusParked)
	c.Seen, c.Open = 2, []string{"cb"}
	k.commit(c)
	lost()
	k.deliver(verb("a", "v1", 4, at(2)))
	other := verb("a", "v2", 4, at(2))
	other.Key = "verb/v1"
	k.refuseLoser(other, "v1")
	k.claim("a", "w2/1", at(2))
	lost()
	k.refuseLoser(other, "v1")
}

func ownDeliver(k *kit) {
	k.born("a", "cb")
	mine := []*durable.Delivery{callback("a", "cb", "n1", at(1)), cancel("a", "c1", at(1))}
	for _, d := range mine {
		k.deliver(d)
	}
	repeat := func() {
		k.Helper()
		k.unchanged("a", func() {
			for _, d := range mine {
				k.deliver(d)
			}
		})
	}
	repeat()
	c := batch("a", 1, 2, durable.StatusParked)
	c.Seen, c.Close = 2, []string{"cb"}
	k.commit(c)
	repeat()
	v := verb("a", "v1", 2, at(2))
	k.deliver(v)
	mine = append(mine, v)
	repeat()
	k.claim("a", "w2/1", at(2))
	repeat() // the record is not parked any more, but was when the verb came
	k.commit(batch("a", 2, 1, durable.StatusSucceeded))
	repeat()
}

func callbackOpen(k *kit) {
	open := func(seq int64, open, closed []string) {
		k.Helper()
		c := batch("a", 1, seq, durable.StatusRunning)
		c.Open, c.Close = open, closed
		k.commit(c)
	}
	closed := func(key string) {
		k.Helper()
		k.refuseDelivery(callback("a", key, "n/"+key, at(1)), durable.ErrNotOpen)
		k.refuseDelivery(beat("a", key, "h/"+key, at(1)), durable.ErrNotOpen)
	}
	k.pending("p", at(0))
	k.refuseDelivery(callback("p", "x", "n", at(1)), durable.ErrNotOpen)

	k.born("a", "x")
	closed("y")
	open(2, []string{"y", "z"}, []string{"x"})
	closed("x")
	k.deliver(callback("a", "y", "n/y", at(1)))
	open(3, []string{"x"}, []string{"z"})
	closed("z")
	k.deliver(callback("a", "x", "n/x", at(1)))
	open(4, []string{"w"}, nil)
	// Open means open: also while nobody runs the record, and for the next owner.
	k.commit(batch("a", 1, 5, durable.StatusSuspended))
	k.deliver(beat("a", "w", "h", at(2)))
	k.claim("a", "w2/1", at(2))
	k.deliver(callback("a", "w", "n/w", at(3)))
	k.wantNonces("the inbox", k.load("a").Inbox, "n/y", "n/x", "n/w")
}

func heartbeat(k *kit) {
	k.suspended("a", "x", "y")
	k.deliver(beat("a", "x", "h1", at(3)))
	k.deliver(beat("a", "y", "h1", at(4)))
	k.deliver(beat("a", "x", "h2", at(5)))
	k.deliver(beat("a", "x", "h2", at(5)))
	rec := k.load("a")
	k.same("heartbeats", rec.Heartbeats, map[string]time.Time{"x": at(5), "y": at(4)})
	k.wantNonces("the inbox", rec.Inbox)
	if rec.Delivered != 0 || !rec.Due.IsZero() {
		k.Fatalf("after heartbeats: got %d deliveries, due %v, want none", rec.Delivered, rec.Due)
	}
	k.deliver(callback("a", "x", "n1", at(6)))
	k.wantNonces("the inbox after the result", k.load("a").Inbox, "n1")

	// A commit leaves alone what it does not name.
	rec = k.claim("a", "w2/1", at(6))
	k.commit(batch("a", rec.Epoch, 1, durable.StatusRunning))
	if got := k.load("a").Heartbeats["y"]; !got.Equal(at(4)) {
		k.Fatalf("the heartbeat of y after a claim and a commit: got %v, want %v", got, at(4))
	}
}

func verbRevision(k *kit) {
	k.pending("p", at(0))
	k.refuseDelivery(verb("p", "v", 0, at(1)), durable.ErrRevision)
	k.born("a")
	k.refuseDelivery(verb("a", "v", 1, at(1)), durable.ErrRevision)
	c := batch("a", 1, 2, durable.StatusSuspended)
	c.Due = at(2)
	k.commit(c)
	k.refuseDelivery(verb("a", "v", 2, at(1)), durable.ErrRevision)
	k.claim("a", "w2/1", at(2))
	c = batch("a", 2, 1, durable.StatusParked)
	c.Entries = []durable.Entry{entry(7), entry(8), entry(9)}
	k.commit(c)
	for _, revision := range []int64{0, 1, 2, 3, 4, 6} {
		k.refuseDelivery(verb("a", "v", revision, at(3)), durable.ErrRevision)
	}
	k.deliver(verb("a", "v", 5, at(3)))
	// A refused verb won nothing: the same nonce was free to try again.
	k.wantNonces("the inbox", k.load("a").Inbox, "v")
}

func inboxDrains(k *kit) {
	k.born("a", "k1", "k2", "k3", "k4", "k5")
	for i := 1; i <= 4; i++ {
		k.deliver(callback("a", fmt.Sprintf("k%d", i), fmt.Sprintf("n%d", i), at(i)))
	}
	inbox := func(seen int64, nonces ...string) {
		k.Helper()
		rec := k.load("a")
		k.wantNonces("the inbox", rec.Inbox, nonces...)
		for i, d := range rec.Inbox {
			if want := seen + int64(i) + 1; d.Seq != want {
				k.Fatalf("sequence number of %s: got %d, want %d", d.Nonce, d.Seq, want)
			}
		}
		if rec.Seen != seen {
			k.Fatalf("seen: got %d, want %d", rec.Seen, seen)
		}
	}
	inbox(0, "n1", "n2", "n3", "n4")
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Seen = 2
	k.wantNonces("the receipt", k.commit(c).Unseen, "n3", "n4")
	inbox(2, "n3", "n4")
	// Seen never goes back, and what was dropped does not return.
	k.wantNonces("the receipt of a commit that says less", k.commit(batch("a", 1, 3, durable.StatusRunning)).Unseen, "n3", "n4")
	inbox(2, "n3", "n4")
	c = batch("a", 1, 4, durable.StatusRunning)
	c.Seen = 4
	k.wantNonces("the receipt", k.commit(c).Unseen)
	inbox(4)
	k.deliver(callback("a", "k5", "n5", at(5)))
	inbox(4, "n5")
	if got := k.load("a").Delivered; got != 5 {
		k.Fatalf("delivered: got %d, want 5", got)
	}
}

func inboxFull(k *kit) {
	keys := make([]string, durable.MaxInbox+2)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d", i)
	}
	k.born("a", keys...)
	for _, key := range keys[:durable.MaxInbox] {
		k.deliver(callback("a", key, "n/"+key, at(1)))
	}
	last, extra := keys[durable.MaxInbox], keys[durable.MaxInbox+1]
	k.refuseDelivery(callback("a", last, "n", at(1)), durable.ErrInboxFull)
	k.deliver(callback("a", keys[0], "n/"+keys[0], at(1))) // a repeat needs no room
	k.deliver(beat("a", last, "h", at(1)))
	k.deliver(cancel("a", "c", at(1)))
	k.commit(batch("a", 1, 2, durable.StatusParked))
	k.deliver(verb("a", "v", 2, at(2)))
	rec := k.claim("a", "w2/1", at(2))
	if got, want := len(rec.Inbox), durable.MaxInbox+2; got != want {
		k.Fatalf("inbox: got %d deliveries, want %d", got, want)
	}
	k.refuseDelivery(callback("a", last, "n", at(3)), durable.ErrInboxFull)
	c := batch("a", 2, 1, durable.StatusRunning)
	c.Seen = 3
	k.commit(c) // leaves MaxInbox-1
	k.deliver(callback("a", last, "n", at(4)))
	k.refuseDelivery(callback("a", extra, "n/"+extra, at(4)), durable.ErrInboxFull)
}
