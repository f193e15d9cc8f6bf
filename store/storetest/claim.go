package storetest

import (
	"time"

	"github.com/clewdev/clew/durable"
)

func claimTakes(k *kit) {
	k.create(&durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", Due: at(0)})
	rec := k.claim("a", "w1/2", at(2))
	want := durable.Record{Head: durable.Head{
		Identity: fullIdentity("a"), Status: durable.StatusRunning, Activations: 1,
		Due: at(32), Owner: "w1/2", Epoch: 1, Lease: at(32),
	}}
	k.same("the claimed record", rec, &want)
	k.same("the loaded record", k.load("a"), &want)

	c := batch("a", 1, 1, durable.StatusSuspended)
	c.Open, c.Detail = []string{"x", "y"}, "asking"
	k.commit(c)
	k.deliver(beat("a", "x", "h", at(3)))
	k.deliver(callback("a", "y", "n1", at(4)))
	k.deliver(cancel("a", "n2", at(5)))
	rec = k.claim("a", "w2/1", at(6))
	want.Detail, want.Activations, want.Revision = "asking", 2, 1
	want.Owner, want.Epoch, want.SafeEpoch = "w2/1", 2, 1
	want.Lease, want.Due, want.Delivered = at(36), at(36), 2
	want.Journal = c.Entries
	first, second := callback("a", "y", "n1", at(4)), cancel("a", "n2", at(5))
	first.Seq, second.Seq = 1, 2
	want.Inbox = []durable.Delivery{*first, *second}
	want.Heartbeats = map[string]time.Time{"x": at(3)}
	k.same("the record as the next owner gets it", rec, &want)
}

func claimHost(k *kit) {
	id := durable.Identity{ID: "a", Definition: "order", Version: "1", Created: at(0)}
	k.create(&durable.Create{Identity: id, Now: at(0), Owner: "s/1@7", Due: at(0)})
	for i, owner := range []string{"w1/1@8", "w2/1", "w3/1@7", "w4/1@7", "w5/1@9"} {
		k.claim("a", owner, at(i))
		k.same("the host while it runs", durable.HostOf(k.load("a").Owner), durable.HostOf(owner))
		c := batch("a", int64(i)+1, 1, durable.StatusSuspended)
		if i%2 == 1 {
			c.Status = durable.StatusParked
		}
		c.Due = at(i + 1)
		k.commit(c)
		k.same("the host after "+owner, durable.HostOf(k.load("a").Owner), durable.HostOf(owner))
	}
}

func claimNotDue(k *kit) {
	k.refuseClaim("absent", "w1/1", at(0), durable.ErrNotFound)

	refuse := func(id string, now time.Time, want error) {
		k.Helper()
		k.unchanged(id, func() { k.Helper(); k.refuseClaim(id, "late/"+id, now, want) })
	}
	k.pending("pending", at(10))
	refuse("pending", at(9), durable.ErrNotDue)
	k.born("running")
	refuse("running", at(29), durable.ErrNotDue)
	for _, status := range []durable.Status{durable.StatusSuspended, durable.StatusParked} {
		k.born(status.String())
		c := batch(status.String(), 1, 2, status)
		c.Due = at(40)
		k.commit(c)
		// The lease of the claim before has nothing to say any more.
		refuse(c.ID, at(39), durable.ErrNotDue)
		k.claim(c.ID, "w2/"+c.ID, at(40))

		never := "never " + status.String()
		k.born(never)
		k.commit(batch(never, 1, 2, status))
		refuse(never, at(1e9), durable.ErrNotDue)
	}
	k.born("ended")
	k.commit(batch("ended", 1, 2, durable.StatusSucceeded))
	refuse("ended", at(1e9), durable.ErrEnded)
}

func claimKeepsPark(k *kit) {
	k.born("a")
	c := batch("a", 1, 2, durable.StatusParked)
	c.Park = &durable.Park{Reason: durable.ParkCrashLoop, Message: "again and again", Verbs: []durable.Verb{durable.VerbRetry}, At: at(1)}
	k.commit(c)
	k.deliver(verb("a", "v1", 2, at(2)))
	k.same("the park that the next owner sees", k.claim("a", "w2/1", at(2)).Park, c.Park)

	next := batch("a", 2, 1, durable.StatusRunning)
	next.Seen = 1
	k.commit(next)
	if park := k.load("a").Park; park != nil {
		k.Fatalf("park after the commit that went on: got %s, want none", show(park))
	}
}

// heir claims a record right at the end of its lease.
func (k *kit) heir(id, owner string) *durable.Record {
	k.Helper()
	return k.claim(id, owner, k.load(id).Lease)
}

func claimPoison(k *kit) {
	k.born("a")
	step := func(crashes int, owner string) *durable.Record {
		k.Helper()
		rec := k.heir("a", owner)
		if rec.Crashes != crashes {
			k.Fatalf("crashes at claim %s: got %d, want %d", owner, rec.Crashes, crashes)
		}
		return rec
	}
	step(1, "w2/1")
	rec := step(2, "w3/1")
	k.commit(batch("a", rec.Epoch, 1, durable.StatusRunning)) // no progress
	rec = step(3, "w4/1")

	c := batch("a", rec.Epoch, 1, durable.StatusSuspended)
	c.Due = at(200)
	k.commit(c)
	rec = k.claim("a", "w5/1", at(200))
	if rec.Crashes != 3 {
		k.Fatalf("crashes after a clean suspension: got %d, want still 3", rec.Crashes)
	}
	c = batch("a", rec.Epoch, 1, durable.StatusRunning)
	c.Progress = true
	k.commit(c)
	if got := k.load("a").Crashes; got != 0 {
		k.Fatalf("crashes after progress: got %d, want 0", got)
	}
	step(1, "w6/1")
	if got := k.load("a").Activations; got != 6 {
		k.Fatalf("activations: got %d, want 6", got)
	}
}

func claimSafeEpoch(k *kit) {
	suspend := func(rec *durable.Record) {
		k.Helper()
		c := batch(rec.ID, rec.Epoch, 1, durable.StatusSuspended)
		c.Due = at(0)
		k.commit(c)
	}
	want := func(rec *durable.Record, epoch, safe int64) *durable.Record {
		k.Helper()
		if rec.Epoch != epoch || rec.SafeEpoch != safe {
			k.Fatalf("got epoch %d, safe up to %d, want %d, %d", rec.Epoch, rec.SafeEpoch, epoch, safe)
		}
		return rec
	}
	k.pending("a", at(0))
	rec := want(k.claim("a", "w1/1", at(0)), 1, 0)
	suspend(rec)
	want(k.load("a"), 1, 0) // only the next claim can tell
	rec = want(k.claim("a", "w1/2", at(0)), 2, 1)
	suspend(rec)
	want(k.claim("a", "w1/3", at(0)), 3, 2)
	rec = want(k.heir("a", "w2/1"), 4, 2) // the lease of epoch 3 ran out: proves nothing
	suspend(rec)
	rec = want(k.claim("a", "w2/2", at(0)), 5, 2) // 4 is over, but 3 may not be
	suspend(rec)
	want(k.claim("a", "w2/3", at(0)), 6, 2)
}

func claimDeadOwner(k *kit) {
	store, ok := k.store.(interface{ KillOwner(owner string) })
	if !ok {
		k.Logf("this store cannot be told of a death")
		return
	}
	k.pending("a", at(0))
	k.pending("b", at(0))
	k.pending("c", at(0))
	k.claim("a", "e1/1", at(0))
	k.claim("b", "e10/1", at(0)) // another engine, its ID only begins the same
	rec := k.claim("c", "e1/2", at(0))
	k.commit(batch("c", rec.Epoch, 1, durable.StatusSuspended))

	store.KillOwner("e1")
	k.same("due after the death", k.dueAll("order", "1", at(1), 0), []string{"a"})
	k.unchanged("b", func() { k.refuseClaim("b", "e2/1", at(1), durable.ErrNotDue) })
	k.unchanged("c", func() { k.refuseClaim("c", "e2/2", at(1), durable.ErrNotDue) })
	if rec := k.claim("a", "e2/3", at(1)); rec.Epoch != 2 || rec.SafeEpoch != 1 || rec.Crashes != 1 {
		k.Fatalf("got epoch %d, safe %d, crashes %d, want 2, 1, 1", rec.Epoch, rec.SafeEpoch, rec.Crashes)
	}
	k.refuse(batch("a", 1, 1, durable.StatusRunning), durable.ErrFenced)
	// The death was of that claim, not of the record.
	k.refuseClaim("a", "e3/1", at(2), durable.ErrNotDue)
	// A dead owner behind one that may live on makes nothing safe.
	k.heir("a", "e3/2")
	store.KillOwner("e3")
	if rec := k.claim("a", "e4/1", at(3)); rec.Epoch != 4 || rec.SafeEpoch != 1 {
		k.Fatalf("got epoch %d, safe %d, want 4, 1", rec.Epoch, rec.SafeEpoch)
	}
}

func ownClaim(k *kit) {
	k.pending("a", at(0))
	first := k.claim("a", "w1/1", at(0))
	k.same("the repeated claim", k.claim("a", "w1/1", at(0)), first)
	// However late it comes, and whatever was written in between.
	c := batch("a", 1, 1, durable.StatusRunning)
	c.Open = []string{"cb"}
	k.commit(c)
	k.deliver(callback("a", "cb", "n1", at(1)))
	k.unchanged("a", func() {
		k.same("the claim repeated after a commit", k.claim("a", "w1/1", at(0)), k.load("a"))
		k.same("the claim repeated after its lease", k.claim("a", "w1/1", at(99)), k.load("a"))
	})
	// Once somebody else has it, the old nonce is nobody's.
	k.claim("a", "w2/1", at(99))
	k.unchanged("a", func() { k.refuseClaim("a", "w1/1", at(99), durable.ErrNotDue) })
	// A record born claimed knows the nonce of its Create as its claim's.
	k.born("b")
	k.unchanged("b", func() { k.same("the newborn's claim", k.claim("b", "w1/b", at(1)), k.load("b")) })
	// A claim that was released is over: the nonce counts for nothing.
	k.commit(batch("b", 1, 2, durable.StatusSuspended))
	k.unchanged("b", func() { k.refuseClaim("b", "w1/b", at(1), durable.ErrNotDue) })
}
