package storetest

import (
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

func signalAnytime(k *kit) {
	k.wantErr(k.store.Deliver(k.ctx, signal("absent", "s", "n", at(0))), durable.ErrNotFound, "a signal to an ID that was never created")
	k.pending("a", at(0))
	var mine []*durable.Delivery
	send := func(key string) {
		k.Helper()
		d := signal("a", key, "n/"+key, at(1))
		k.deliver(d)
		mine = append(mine, d)
		k.unchanged("a", func() {
			for _, d := range mine {
				k.deliver(d)
			}
		})
		k.refuseLoser(signal("a", key, "other", at(1)), "n/"+key)
	}
	send("pending")
	k.claim("a", "w1/1", at(1))
	send("running")
	k.commit(batch("a", 1, 1, durable.StatusSuspended))
	send("suspended")
	rec := k.claim("a", "w2/1", at(1))
	k.wantNonces("the inbox", rec.Inbox, "n/pending", "n/running", "n/suspended")
	first := *mine[0]
	first.Seq = 1
	k.same("the first signal", rec.Inbox[0], first)
	c := batch("a", 2, 1, durable.StatusParked)
	c.Seen = 3
	k.commit(c)
	send("parked")
	k.deliver(verb("a", "v", 2, at(2)))
	k.claim("a", "w3/1", at(2))
	k.commit(batch("a", 3, 1, durable.StatusSucceeded))
	for _, d := range mine {
		k.unchanged("a", func() { k.deliver(d) })
	}
	k.refuseDelivery(signal("a", "ended", "n", at(3)), durable.ErrEnded)
	k.refuseDelivery(signal("a", "parked", "other", at(3)), durable.ErrEnded)
}

func signalWakes(k *kit) {
	k.pending("pending", time.Time{})
	k.suspended("suspended")
	for _, id := range []string{"pending", "suspended"} {
		k.deliver(signal(id, "s", "n1", at(5)))
		k.wantDue(id, at(5))
		k.deliver(signal(id, "t", "n2", at(6)))
		k.wantDue(id, at(5)) // earlier already
		k.wantNonces("the inbox of "+id, k.claim(id, "w2/"+id, at(5)).Inbox, "n1", "n2")
	}
	k.born("running")
	k.deliver(signal("running", "s", "n1", at(5)))
	k.wantDue("running", at(30))
	c := batch("running", 1, 2, durable.StatusSuspended)
	c.IfSeen = true
	k.wantNonces("told with the refusal", k.refuse(c, durable.ErrUnseen).Unseen, "n1")
	c.IfSeen, c.Now = false, at(7)
	k.wantNonces("the receipt", k.commit(c).Unseen, "n1")
	k.wantDue("running", at(7))

	k.born("parked")
	k.deliver(signal("parked", "s", "n1", at(5)))
	k.commit(batch("parked", 1, 2, durable.StatusParked))
	k.wantDue("parked", time.Time{})
	k.deliver(signal("parked", "t", "n2", at(6)))
	k.wantDue("parked", time.Time{})
	k.unchanged("parked", func() { k.refuseClaim("parked", "w2/1", at(1e6), durable.ErrNotDue) })
}

func inboxFullOfSignals(k *kit) {
	k.born("a", "cb")
	for i := range durable.MaxInbox {
		k.deliver(signal("a", fmt.Sprint(i), fmt.Sprint("n", i), at(1)))
	}
	k.refuseDelivery(signal("a", "more", "n", at(1)), durable.ErrInboxFull)
	k.refuseDelivery(callback("a", "cb", "n", at(1)), durable.ErrInboxFull)
	k.deliver(signal("a", "0", "n0", at(1))) // a repeat needs no room
	k.refuseLoser(signal("a", "0", "other", at(1)), "n0")
	k.deliver(cancel("a", "c", at(1)))
	k.commit(batch("a", 1, 2, durable.StatusParked))
	k.refuseDelivery(signal("a", "more", "n", at(2)), durable.ErrInboxFull)
	k.deliver(verb("a", "v", 2, at(2)))
	rec := k.claim("a", "w2/1", at(2))
	if got, want := len(rec.Inbox), durable.MaxInbox+2; got != want {
		k.Fatalf("inbox: got %d deliveries, want %d", got, want)
	}
	c := batch("a", 2, 1, durable.StatusRunning)
	c.Seen = int64(len(rec.Inbox))
	k.commit(c)
	k.deliver(signal("a", "more", "n", at(3)))
	// Who won does not depend on what is still in the inbox.
	k.refuseLoser(signal("a", "0", "other", at(3)), "n0")
	k.unchanged("a", func() { k.deliver(signal("a", "1", "n1", at(3))) })
}
