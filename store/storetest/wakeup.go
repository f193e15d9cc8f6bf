package storetest

import (
	"time"

	"github.com/clewdev/clew/durable"
)

func ifSeen(k *kit) {
	statuses := []durable.Status{durable.StatusRunning, durable.StatusSuspended, durable.StatusParked, durable.StatusSucceeded}
	k.born("a", "x", "y")
	k.deliver(callback("a", "x", "n1", at(1)))
	k.deliver(cancel("a", "n2", at(2)))
	for _, status := range statuses {
		c := batch("a", 1, 2, status)
		c.IfSeen, c.Close, c.Lease, c.Progress = true, []string{"y"}, at(99), true
		k.wantNonces("told with the refusal", k.refuse(c, durable.ErrUnseen).Unseen, "n1", "n2")
		c.Seen = 1
		k.wantNonces("told with the refusal", k.refuse(c, durable.ErrUnseen).Unseen, "n2")
	}
	// The refused number is still the next one.
	c := batch("a", 1, 2, durable.StatusRunning)
	c.IfSeen, c.Seen = true, 2
	k.wantNonces("the receipt of the commit that has seen all", k.commit(c).Unseen)

	// A heartbeat is nothing that a commit must have seen.
	k.deliver(beat("a", "y", "h", at(3)))
	c = batch("a", 1, 3, durable.StatusRunning)
	c.IfSeen, c.Seen = true, 2
	k.wantNonces("the receipt after a heartbeat", k.commit(c).Unseen)

	// Without the condition the same commit is accepted, and tells.
	k.deliver(callback("a", "y", "n3", at(4)))
	k.wantNonces("the receipt of an unconditional commit", k.commit(batch("a", 1, 4, durable.StatusRunning)).Unseen, "n3")
	k.wantOps(k.load("a"), 101, 102, 103, 104)
}

func deliverWakes(k *kit) {
	k.pending("pending", time.Time{})
	k.deliver(cancel("pending", "n1", at(5)))
	k.wantDue("pending", at(5))

	k.suspended("never", "cb")
	k.deliver(callback("never", "cb", "n1", at(6)))
	k.wantDue("never", at(6))
	k.deliver(cancel("never", "n2", at(7)))
	k.wantDue("never", at(6)) // earlier already
	k.claim("never", "w2/1", at(6))

	// A timer is moved forward, never back.
	for id, due := range map[string]time.Time{"soon": at(3), "late": at(100)} {
		k.born(id)
		c := batch(id, 1, 2, durable.StatusSuspended)
		c.Due = due
		k.commit(c)
		k.deliver(cancel(id, "n1", at(8)))
	}
	k.wantDue("soon", at(3))
	k.wantDue("late", at(8))

	k.born("running", "cb")
	k.deliver(callback("running", "cb", "n1", at(9)))
	k.deliver(cancel("running", "n2", at(9)))
	k.wantDue("running", at(30))
	k.wantNonces("what the owner's next commit is told",
		k.commit(batch("running", 1, 2, durable.StatusRunning)).Unseen, "n1", "n2")
	k.wantDue("running", at(30))
}

func releaseWakes(k *kit) {
	for id, due := range map[string]time.Time{"never": {}, "late": at(100)} {
		k.born(id, "x", "y")
		k.deliver(callback(id, "x", "n1", at(1)))
		k.deliver(callback(id, "y", "n2", at(1)))
		c := batch(id, 1, 2, durable.StatusSuspended)
		c.Seen, c.Due, c.Now = 1, due, at(4)
		k.wantNonces("the receipt", k.commit(c).Unseen, "n2")
		k.wantDue(id, at(4))
		rec := k.claim(id, "w2/1", at(4))
		k.wantNonces("the next owner's inbox", rec.Inbox, "n2")
		c = batch(id, 2, 1, durable.StatusSuspended)
		c.Seen, c.Due = 2, due
		k.commit(c)
		k.wantDue(id, due) // nothing is left to wake for
	}
}

func parkedWakes(k *kit) {
	park := func(epoch, seq, seen int64) *durable.Commit {
		c := batch("a", epoch, seq, durable.StatusParked)
		c.Park, c.Seen, c.Now = &durable.Park{Reason: durable.ParkPanic, Message: "m", At: at(1)}, seen, at(6)
		return c
	}
	k.born("a", "x", "y")
	k.deliver(callback("a", "x", "n1", at(1)))
	k.commit(park(1, 2, 0))
	k.wantDue("a", time.Time{}) // although a delivery waits
	k.deliver(callback("a", "y", "n2", at(2)))
	k.deliver(cancel("a", "n3", at(3)))
	k.wantDue("a", time.Time{})
	k.unchanged("a", func() { k.refuseClaim("a", "w2/1", at(1e6), durable.ErrNotDue) })
	k.deliver(verb("a", "v1", 2, at(5)))
	k.wantDue("a", at(5))
	rec := k.claim("a", "w2/1", at(5))
	k.wantNonces("the inbox after the verb", rec.Inbox, "n1", "n2", "n3", "v1")

	// Parking again without having seen the verb does not lose it.
	k.commit(park(2, 1, 3))
	k.wantDue("a", at(6))
	// Having seen it leaves nothing to wake for.
	k.claim("a", "w3/1", at(6))
	k.commit(park(3, 1, 4))
	k.wantDue("a", time.Time{})
}
