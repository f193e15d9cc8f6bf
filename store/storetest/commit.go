package storetest

import (
	"time"

	"github.com/clewdev/clew/durable"
)

func commitHead(k *kit) {
	k.refuseCommitOfNothing("absent")
	k.born("a")
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Entries = []durable.Entry{entry(7), entry(8), entry(9)}
	c.Detail = "charging"
	k.commit(c)
	rec := k.load("a")
	k.wantOps(rec, 101, 7, 8, 9)
	if rec.Detail != "charging" || rec.Seq != 2 || rec.Epoch != 1 {
		k.Fatalf("got detail %q, epoch %d, seq %d, want charging, 1, 2", rec.Detail, rec.Epoch, rec.Seq)
	}
	// A commit may carry no entries, and says anew what the head says.
	c = batch("a", 1, 3, durable.StatusRunning)
	c.Entries = nil
	k.commit(c)
	rec = k.load("a")
	k.wantOps(rec, 101, 7, 8, 9)
	if rec.Detail != "" || rec.Seq != 3 {
		k.Fatalf("got detail %q, seq %d, want none, 3", rec.Detail, rec.Seq)
	}
	c = batch("a", 1, 4, durable.StatusFailed)
	c.Error, c.Detail, c.Now = &durable.Error{Type: "T", Code: "c", Message: "m", Data: []byte("1")}, "rejected", at(9)
	k.commit(c)
	rec = k.load("a")
	k.same("the error", rec.Error, c.Error)
	if rec.Status != durable.StatusFailed || rec.Detail != "rejected" || !rec.Ended.Equal(at(9)) || !rec.Due.IsZero() {
		k.Fatalf("the ended head: got %s", show(rec.Head))
	}
}

func (k *kit) refuseCommitOfNothing(id string) {
	k.Helper()
	_, err := k.store.Commit(k.ctx, batch(id, 1, 1, durable.StatusRunning))
	k.wantErr(err, durable.ErrNotFound, "Commit to an ID that was never created")
	k.wantErr(loadErr(k, id), durable.ErrNotFound, "Load after it")
}

func commitLease(k *kit) {
	k.born("a")
	want := func(until time.Time) {
		k.Helper()
		if rec := k.load("a"); !rec.Lease.Equal(until) || !rec.Due.Equal(until) {
			k.Fatalf("got lease %v, due %v, want %v for both", rec.Lease, rec.Due, until)
		}
	}
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Due = at(3) // ignored while running
	k.commit(c)
	want(at(30))
	c = batch("a", 1, 3, durable.StatusRunning)
	c.Lease = at(50)
	k.commit(c)
	want(at(50))
	k.refuseClaim("a", "w2/1", at(49), durable.ErrNotDue)
	k.claim("a", "w2/1", at(50))
}

func commitRelease(k *kit) {
	for _, status := range []durable.Status{durable.StatusSuspended, durable.StatusParked} {
		id := status.String()
		k.born(id)
		c := batch(id, 1, 2, status)
		c.Due, c.Lease = at(10), at(99)
		k.commit(c)
		k.wantDue(id, at(10))
		if got := k.load(id).Status; got != status {
			k.Fatalf("status: got %v, want %v", got, status)
		}
		rec := k.claim(id, "w2/1", at(10))
		if rec.Status != durable.StatusRunning || rec.Epoch != 2 || rec.Seq != 0 || rec.Activations != 2 {
			k.Fatalf("the next claim: got %s, want running, epoch 2, seq 0, 2 activations", show(rec.Head))
		}
	}
}

func fencing(k *kit) {
	k.born("a", "cb")
	k.claim("a", "w2/1", at(30))
	// Epoch 1 is old now, whatever it says.
	for _, status := range []durable.Status{durable.StatusRunning, durable.StatusSuspended, durable.StatusParked, durable.StatusSucceeded} {
		for seq := range int64(4) {
			c := batch("a", 1, seq, status)
			c.Close, c.Open, c.Lease, c.Due, c.Progress = []string{"cb"}, []string{"new"}, at(99), at(99), true
			k.refuse(c, durable.ErrFenced)
			c.IfSeen = true
			k.refuse(c, durable.ErrFenced)
		}
	}
	// Nor is one accepted that does not exist yet.
	k.refuse(batch("a", 3, 1, durable.StatusRunning), durable.ErrFenced)
	k.refuse(batch("a", 0, 1, durable.StatusRunning), durable.ErrFenced)
	k.commit(batch("a", 2, 1, durable.StatusRunning))
	k.wantOps(k.load("a"), 101, 201)
	// The numbers of both claims agree here; the epoch still tells them apart.
	k.refuse(batch("a", 1, 1, durable.StatusRunning), durable.ErrFenced)
	k.refuse(batch("a", 1, 2, durable.StatusRunning), durable.ErrFenced)
	k.refuseDelivery(callback("a", "new", "n", at(31)), durable.ErrNotOpen)
	k.deliver(callback("a", "cb", "n", at(31)))

	// Nobody holds these, so nobody may write.
	k.pending("b", at(0))
	for epoch := range int64(2) {
		k.refuse(batch("b", epoch, 0, durable.StatusRunning), durable.ErrFenced)
		k.refuse(batch("b", epoch, 1, durable.StatusRunning), durable.ErrFenced)
	}
	k.suspended("c")
	k.refuse(batch("c", 1, 3, durable.StatusRunning), durable.ErrFenced)
	k.refuse(batch("c", 2, 1, durable.StatusRunning), durable.ErrFenced)
}

func order(k *kit) {
	k.pending("a", at(0))
	k.claim("a", "w1/1", at(0))
	k.refuse(batch("a", 1, 0, durable.StatusRunning), durable.ErrFenced)
	k.refuse(batch("a", 1, 2, durable.StatusRunning), durable.ErrFenced)
	for seq := int64(1); seq <= 4; seq++ {
		k.commit(batch("a", 1, seq, durable.StatusRunning))
		k.refuse(batch("a", 1, seq+2, durable.StatusRunning), durable.ErrFenced)
		for late := range seq {
			k.refuse(batch("a", 1, late, durable.StatusRunning), durable.ErrFenced)
			k.refuse(batch("a", 1, late, durable.StatusSucceeded), durable.ErrFenced)
		}
	}
	k.wantOps(k.load("a"), 101, 102, 103, 104)
	// The next claim counts from 1 again.
	k.heir("a", "w2/1")
	k.refuse(batch("a", 2, 5, durable.StatusRunning), durable.ErrFenced)
	k.commit(batch("a", 2, 1, durable.StatusRunning))
	k.wantOps(k.load("a"), 101, 102, 103, 104, 201)
}

func ownCommit(k *kit) {
	k.born("a", "cb")
	c := batch("a", 1, 2, durable.StatusRunning)
	c.IfSeen, c.Open, c.Lease = true, []string{"more"}, at(40)
	k.wantNonces("the receipt", k.commit(c).Unseen)
	k.unchanged("a", func() { k.wantNonces("the receipt of the repeat", k.commit(c).Unseen) })
	k.deliver(callback("a", "cb", "n1", at(2)))
	// It was accepted before the delivery came; the repeat tells both.
	k.unchanged("a", func() { k.wantNonces("the receipt after a delivery", k.commit(c).Unseen, "n1") })

	next := batch("a", 1, 3, durable.StatusRunning)
	next.Seen = 1
	k.wantNonces("the receipt of the commit that has seen it", k.commit(next).Unseen)
	k.deliver(callback("a", "more", "n2", at(3)))
	k.unchanged("a", func() { k.wantNonces("the receipt of its repeat", k.commit(next).Unseen, "n2") })
	k.wantOps(k.load("a"), 101, 102, 103)
	// The commit that came with Create counts as the first of its claim.
	k.born("b")
	k.unchanged("b", func() { k.commit(batch("b", 1, 1, durable.StatusRunning)) })
}

func ownLastCommit(k *kit) {
	for _, status := range append([]durable.Status{durable.StatusSuspended, durable.StatusParked}, ends...) {
		id := status.String()
		k.born(id, "cb", "cc")
		k.deliver(callback(id, "cb", "n1", at(1)))
		c := batch(id, 1, 2, status)
		k.wantNonces("the receipt", k.commit(c).Unseen, "n1")
		k.unchanged(id, func() { k.wantNonces("the receipt of the repeat", k.commit(c).Unseen, "n1") })
		if status.Ended() {
			continue
		}
		k.deliver(callback(id, "cc", "n2", at(2)))
		c.IfSeen = true
		k.unchanged(id, func() { k.wantNonces("the receipt after a delivery", k.commit(c).Unseen, "n1", "n2") })
		if status == durable.StatusParked {
			k.deliver(verb(id, "v1", 2, at(2)))
		}
		// After the next claim it is a commit under an old epoch.
		k.claim(id, "w2/1", at(3))
		k.refuse(c, durable.ErrFenced)
	}
}

func ownWritesApart(k *kit) {
	k.born("a", "x", "y")
	c := batch("a", 1, 2, durable.StatusRunning)
	k.deliver(callback("a", "x", "n1", at(1)))
	k.deliver(beat("a", "y", "h", at(1)))
	k.deliver(cancel("a", "n2", at(1)))
	k.commit(c)
	k.deliver(callback("a", "y", "n3", at(2)))
	k.unchanged("a", func() { k.commit(c) })
	k.commit(batch("a", 1, 3, durable.StatusRunning))
	rec := k.load("a")
	k.wantOps(rec, 101, 102, 103)
	if rec.Epoch != 1 || rec.Seq != 3 || rec.Delivered != 3 || rec.Owner != "w1/a" || !rec.Due.Equal(at(30)) {
		k.Fatalf("got %s, want epoch 1, seq 3, 3 deliveries, the owner and due at lease end", show(rec.Head))
	}
	k.unchanged("a", func() { k.claim("a", "w1/a", at(2)) })
}

func nothingAfterTheEnd(k *kit) {
	for _, status := range ends {
		id := status.String()
		k.born(id, "open", "won", "seen")
		k.deliver(callback(id, "seen", "n0", at(1)))
		k.deliver(callback(id, "won", "n1", at(1)))
		c := batch(id, 1, 2, status)
		c.Seen, c.Lease = 1, at(5)
		k.commit(c)
		k.wantDue(id, time.Time{})

		k.unchanged(id, func() { k.refuseClaim(id, "w2/1", at(99), durable.ErrEnded) })
		k.unchanged(id, func() { k.refuseClaim(id, "w1/"+id, at(99), durable.ErrEnded) })
		for _, other := range []*durable.Commit{
			batch(id, 1, 1, durable.StatusRunning), batch(id, 1, 3, durable.StatusRunning),
			batch(id, 1, 3, durable.StatusSucceeded),
		} {
			k.refuse(other, durable.ErrEnded)
		}
		// An epoch that is not the last one is fenced, whatever became of it all.
		for _, epoch := range []int64{0, 2} {
			k.refuse(batch(id, epoch, 1, durable.StatusRunning), durable.ErrFenced)
		}
		for _, d := range []*durable.Delivery{
			callback(id, "open", "n2", at(2)), callback(id, "won", "n3", at(2)), callback(id, "seen", "n3", at(2)),
			callback(id, "unheard of", "n4", at(2)), beat(id, "open", "n5", at(2)), cancel(id, "n6", at(2)), verb(id, "n7", 2, at(2)),
			signal(id, "s", "n8", at(2)),
		} {
			k.refuseDelivery(d, durable.ErrEnded)
		}
		k.same("due after the end", k.dueAll("order", "1", at(1e6), 0), []string{})
	}
}

func timeNeverDecides(k *kit) {
	// A lease that is over takes nothing from its owner, ...
	k.born("a")
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Now = at(1e6)
	k.commit(c)
	c = batch("a", 1, 3, durable.StatusRunning)
	c.Now, c.Lease = at(-1e6), at(-1e6+30) // a clock far behind
	k.commit(c)
	// ... and a claim whose clock is far ahead fences all the same.
	k.claim("a", "w2/1", at(2e6))
	for _, now := range []time.Time{at(-1e6), at(0), at(2e6), at(9e6)} {
		c = batch("a", 1, 4, durable.StatusRunning)
		c.Now, c.Lease = now, at(9e6)
		k.refuse(c, durable.ErrFenced)
	}
	c = batch("a", 2, 1, durable.StatusSuspended)
	c.Now, c.Open = at(0), []string{"cb"}
	k.commit(c)
	// A delivery is accepted whatever its clock says, and wins by arrival.
	k.deliver(callback("a", "cb", "n1", at(3e6)))
	k.refuseDelivery(callback("a", "cb", "n2", at(-3e6)), durable.ErrDelivered)
	k.claim("a", "w3/1", at(3e6))
	k.wantOps(k.load("a"), 101, 102, 103, 201)
}
