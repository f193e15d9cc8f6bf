package storetest

import (
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// fullIdentity has every field set.
func fullIdentity(id string) durable.Identity {
	return durable.Identity{
		ID: id, Definition: "order", Version: "3", Fingerprint: "a1b2", Input: []byte(`{"n":1}`),
		Digest: []byte{0, 1, 254, 255}, Created: at(-1), Deadline: at(3600),
		Tags: map[string]string{"customer": "17", "": "é"}, Retention: 36*time.Hour + 1, Origin: "first try",
		Parent: durable.Parent{ID: "order-16", Key: "child/3"}, Trace: map[string]string{"traceparent": "00-4bf9-00f0-01"},
	}
}

func createPending(k *kit) {
	k.create(&durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", Due: at(5)})
	want := &durable.Record{Head: durable.Head{Identity: fullIdentity("a"), Status: durable.StatusPending, Due: at(5)}}
	k.same("the new record", k.load("a"), want)
	k.refuseClaim("a", "w1/2", at(4), durable.ErrNotDue)
	k.same("the record after an early claim", k.load("a"), want)
	k.claim("a", "w1/3", at(5))

	k.pending("never", time.Time{})
	k.refuseClaim("never", "w1/4", at(1e9), durable.ErrNotDue)
	k.wantErr(loadErr(k, "absent"), durable.ErrNotFound, "Load of an ID that was never created")
}

func loadErr(k *kit, id string) error {
	_, err := k.store.Load(k.ctx, id, durable.LoadHead)
	return err
}

func createExists(k *kit) {
	other := &durable.Create{Identity: fullIdentity("a"), Now: at(1), Owner: "w2/1", Due: at(9)}
	born := &durable.Create{Identity: identity("a"), Now: at(1), Owner: "w3/1", First: batch("a", 1, 1, durable.StatusRunning)}
	refuse := func() {
		k.Helper()
		k.unchanged("a", func() {
			k.wantErr(k.store.Create(k.ctx, other), durable.ErrExists, "Create of a taken ID")
			k.wantErr(k.store.Create(k.ctx, born), durable.ErrExists, "Create with First of a taken ID")
		})
	}
	k.pending("a", at(0))
	refuse()
	k.claim("a", "w1/1", at(0))
	refuse()
	k.commit(batch("a", 1, 1, durable.StatusSucceeded))
	refuse()
}

func createBorn(k *kit) {
	first := batch("a", 1, 1, durable.StatusRunning)
	first.Lease, first.Open, first.Detail = at(30), []string{"cb"}, "reserving"
	k.create(&durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", Due: at(7), First: first})
	want := durable.Head{
		Identity: fullIdentity("a"), Status: durable.StatusRunning, Detail: "reserving", Revision: 1, Activations: 1,
		Due: at(30), Owner: "w1/1", Epoch: 1, Seq: 1, Lease: at(30),
	}
	k.same("the newborn record", k.load("a"), &durable.Record{Head: want, Journal: first.Entries})

	k.refuseClaim("a", "w2/1", at(29), durable.ErrNotDue)
	k.deliver(callback("a", "cb", "n1", at(1)))
	receipt := k.commit(batch("a", 1, 2, durable.StatusRunning))
	k.wantNonces("the second commit's receipt", receipt.Unseen, "n1")
	k.wantOps(k.load("a"), 101, 102)
	k.claim("a", "w2/2", at(30))
}

func createBornReleased(k *kit) {
	for _, status := range []durable.Status{
		durable.StatusSuspended, durable.StatusParked, durable.StatusSucceeded, durable.StatusFailed, durable.StatusTerminated,
	} {
		id := status.String()
		first := batch(id, 1, 1, status)
		first.Due = at(20)
		want := durable.Head{
			Identity: identity(id), Status: status, Revision: 1, Activations: 1, Epoch: 1, Seq: 1, Due: at(20),
		}
		switch status {
		case durable.StatusParked:
			first.Park = &durable.Park{Reason: durable.ParkPanic, Message: "index out of range", At: at(1)}
			want.Park = first.Park
		case durable.StatusSucceeded:
			first.Result = []byte("42")
			want.Result, want.Ended = first.Result, at(1)
		case durable.StatusFailed, durable.StatusTerminated:
			first.Error = &durable.Error{Type: "*errors.errorString", Message: "no"}
			want.Error, want.Ended = first.Error, at(1)
		}
		k.create(&durable.Create{Identity: identity(id), Now: at(0), Owner: "w1/" + id, First: first})
		k.same("a record born "+id, k.load(id), &durable.Record{Head: want, Journal: first.Entries})
		if status.Ended() {
			k.refuseClaim(id, "w2/1", at(99), durable.ErrEnded)
			continue
		}
		k.refuseClaim(id, "w2/1", at(19), durable.ErrNotDue)
		if rec := k.claim(id, "w2/2", at(20)); rec.Epoch != 2 || rec.SafeEpoch != 1 || rec.Crashes != 0 {
			k.Fatalf("the first claim after birth: got epoch %d, safe %d, crashes %d, want 2, 1, 0", rec.Epoch, rec.SafeEpoch, rec.Crashes)
		}
	}
}

func createExtras(k *kit) {
	first := batch("born", 1, 1, durable.StatusSuspended)
	first.Due = at(0)
	k.create(&durable.Create{Identity: fullIdentity("born"), Now: at(0), Owner: "w1/1", First: first})
	k.create(&durable.Create{Identity: fullIdentity("pending"), Now: at(0), Owner: "w1/2", Due: at(0)})
	for _, id := range []string{"born", "pending"} {
		want := fullIdentity(id)
		same := func(what string, got durable.Identity) {
			k.Helper()
			got.Input = want.Input // which not everything brings along
			k.same("the identity from "+what, got, want)
		}
		head, err := k.store.Load(k.ctx, id, durable.LoadHead)
		if err != nil {
			k.Fatalf("Load of the head: got %v, want nil", err)
		}
		same("Load of the head", head.Identity)
		rec := k.claim(id, "w2/"+id, at(1))
		same("Claim", rec.Identity)
		same("the repeated Claim", k.claim(id, "w2/"+id, at(1)).Identity)
		k.commit(batch(id, rec.Epoch, 1, durable.StatusSucceeded))
		same("Load after the end", k.load(id).Identity)
		for _, h := range k.listAll(&durable.ListQuery{}) {
			if h.ID == id {
				same("List", h.Identity)
			}
		}
	}
	// Most have none of it, and get none.
	k.pending("plain", at(0))
	k.same("a plain identity", k.load("plain").Identity, identity("plain"))
}

// createCopied has a journal as it comes from an execution of a long life:
// more than what one item of some stores holds, in entries of which none is
// large.
func createCopied(k *kit) {
	const n = 5000
	entries := make([]durable.Entry, n)
	for i := range entries {
		entries[i] = entry(int64(i) + 1)
		entries[i].First, entries[i].Name, entries[i].Payload = true, fmt.Sprintf("step-%d", i), noise(byte(i), 100)
	}
	first := batch("a", 1, 1, durable.StatusSuspended)
	first.Entries, first.Due = entries, at(1)
	c := &durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", First: first}
	k.create(c)
	k.unchanged("a", func() { k.create(c) })
	rec := k.claim("a", "w2/1", at(1))
	k.same("the journal", rec.Journal, entries)
	if rec.Revision != n || rec.SafeEpoch != 1 {
		k.Fatalf("got revision %d, safe epoch %d, want %d, 1", rec.Revision, rec.SafeEpoch, n)
	}
	k.commit(batch("a", 2, 1, durable.StatusRunning))
	k.same("the journal after a commit", k.load("a").Journal, append(entries, entry(201)))
}

func ownCreate(k *kit) {
	pending := &durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", Due: at(0)}
	first := batch("b", 1, 1, durable.StatusRunning)
	first.Lease = at(30)
	born := &durable.Create{Identity: fullIdentity("b"), Now: at(0), Owner: "w1/2", First: first}
	for _, c := range []*durable.Create{pending, born} {
		repeat := func() { k.Helper(); k.unchanged(c.ID, func() { k.Helper(); k.create(c) }) }
		k.create(c)
		repeat()
		rec := k.claim(c.ID, "w2/"+c.ID, at(30))
		repeat()
		k.commit(batch(c.ID, rec.Epoch, 1, durable.StatusSuspended))
		repeat()
		k.deliver(cancel(c.ID, "n", at(31)))
		rec = k.claim(c.ID, "w3/"+c.ID, at(31))
		k.commit(batch(c.ID, rec.Epoch, 1, durable.StatusCancelled))
		repeat()
	}
}
