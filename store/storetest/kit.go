package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/clewdev/clew/durable"
)

// kit is what a check works with: a store and ways to call it that fail the
// check unless the call ends as expected.
type kit struct {
	tb
	ctx   context.Context
	store durable.Store
}

// lease is how long the claims of a kit hold.
const lease = 30 * time.Second

// ends are the statuses in which nothing is accepted any more.
var ends = []durable.Status{
	durable.StatusSucceeded, durable.StatusFailed, durable.StatusCancelled, durable.StatusTimedOut, durable.StatusTerminated,
}

// at returns the time of a check's story, in seconds since it began.
func at(seconds int) time.Time {
	return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// identity is the plainest one.
func identity(id string) durable.Identity {
	return durable.Identity{ID: id, Definition: "order", Version: "1", Created: at(0)}
}

// entry is a journal line that can be told from others by its operation.
func entry(op int64) durable.Entry {
	return durable.Entry{Kind: durable.EntryStart, Op: op, At: at(0).Add(time.Duration(op) * time.Microsecond)}
}

// batch is commit seq of the claim epoch, with one entry: operation
// 100*epoch+seq.
func batch(id string, epoch, seq int64, status durable.Status) *durable.Commit {
	return &durable.Commit{
		ID: id, Epoch: epoch, Seq: seq, Now: at(1), Status: status,
		Entries: []durable.Entry{entry(100*epoch + seq)},
	}
}

func (k *kit) create(c *durable.Create) {
	k.Helper()
	if err := k.store.Create(k.ctx, c); err != nil {
		k.Fatalf("Create(%s): got %v, want nil", show(c), err)
	}
}

// pending creates a record that is due at a time.
func (k *kit) pending(id string, due time.Time) {
	k.Helper()
	k.create(&durable.Create{Identity: identity(id), Now: at(0), Owner: "creator/" + id, Due: due})
}

// born creates a record that runs under epoch 1, commit 1, until at(30), its
// callback keys open.
func (k *kit) born(id string, open ...string) {
	k.Helper()
	first := batch(id, 1, 1, durable.StatusRunning)
	first.Now, first.Lease, first.Open = at(0), at(0).Add(lease), open
	k.create(&durable.Create{Identity: identity(id), Now: at(0), Owner: "w1/" + id, First: first})
}

// suspended creates a record that was born, and was suspended by commit 2 of
// epoch 1 without a due time.
func (k *kit) suspended(id string, open ...string) {
	k.Helper()
	k.born(id, open...)
	k.commit(batch(id, 1, 2, durable.StatusSuspended))
}

// claim takes a record for the length of a lease.
func (k *kit) claim(id, owner string, now time.Time) *durable.Record {
	k.Helper()
	rec, err := k.store.Claim(k.ctx, claimOf(id, owner, now))
	if err != nil || rec == nil {
		k.Fatalf("Claim(%q by %q at %v): got %s, %v, want the record", id, owner, now, show(rec), err)
	}
	return rec
}

func claimOf(id, owner string, now time.Time) *durable.Claim {
	return &durable.Claim{ID: id, Owner: owner, Now: now, Lease: now.Add(lease)}
}

func (k *kit) refuseClaim(id, owner string, now time.Time, want error) {
	k.Helper()
	_, err := k.store.Claim(k.ctx, claimOf(id, owner, now))
	k.wantErr(err, want, "Claim(%q by %q at %v)", id, owner, now)
}

func (k *kit) commit(c *durable.Commit) durable.Receipt {
	k.Helper()
	receipt, err := k.store.Commit(k.ctx, c)
	if err != nil {
		k.Fatalf("Commit(%s): got %v, want nil", show(c), err)
	}
	return receipt
}

// refuse sends a commit that must be refused and change nothing.
func (k *kit) refuse(c *durable.Commit, want error) durable.Receipt {
	k.Helper()
	var receipt durable.Receipt
	k.unchanged(c.ID, func() {
		k.Helper()
		var err error
		receipt, err = k.store.Commit(k.ctx, c)
		k.wantErr(err, want, "Commit(%s)", show(c))
	})
	return receipt
}

func (k *kit) deliver(d *durable.Delivery) {
	k.Helper()
	if err := k.store.Deliver(k.ctx, d); err != nil {
		k.Fatalf("Deliver(%s): got %v, want nil", show(d), err)
	}
}

// refuseDelivery sends a delivery that must be refused and change nothing.
func (k *kit) refuseDelivery(d *durable.Delivery, want error) {
	k.Helper()
	k.unchanged(d.ID, func() {
		k.Helper()
		k.wantErr(k.store.Deliver(k.ctx, d), want, "Deliver(%s)", show(d))
	})
}

// callback, beat, cancel, verb and signal are deliveries of their kinds.
func callback(id, key, nonce string, now time.Time) *durable.Delivery {
	return &durable.Delivery{ID: id, Key: key, Nonce: nonce, Kind: durable.DeliverCallback, Now: now, Payload: []byte(nonce)}
}

func beat(id, key, nonce string, now time.Time) *durable.Delivery {
	return &durable.Delivery{ID: id, Key: key, Nonce: nonce, Kind: durable.DeliverHeartbeat, Now: now}
}

func cancel(id, nonce string, now time.Time) *durable.Delivery {
	return &durable.Delivery{ID: id, Key: "cancel", Nonce: nonce, Kind: durable.DeliverCancel, Now: now, Actor: "ada", Reason: "enough"}
}

func verb(id, nonce string, revision int64, now time.Time) *durable.Delivery {
	return &durable.Delivery{ID: id, Key: "verb/" + nonce, Nonce: nonce, Kind: durable.DeliverVerb, Now: now,
		Revision: revision, Actor: "ada", Reason: "mended", Payload: []byte("retry")}
}

func signal(id, key, nonce string, now time.Time) *durable.Delivery {
	return &durable.Delivery{ID: id, Key: "signal/" + key, Nonce: nonce, Kind: durable.DeliverSignal, Now: now, Payload: []byte(nonce)}
}

func (k *kit) load(id string) *durable.Record {
	k.Helper()
	rec, err := k.store.Load(k.ctx, id, durable.LoadAll)
	if err != nil || rec == nil {
		k.Fatalf("Load(%q): got %s, %v, want the record", id, show(rec), err)
	}
	return rec
}

// unchanged fails the check if f changes the record.
func (k *kit) unchanged(id string, f func()) {
	k.Helper()
	before := show(k.load(id)) // as text, which a store that shares its memory cannot reach
	f()
	if after := show(k.load(id)); after != before {
		k.Fatalf("the record after a call that must not change it:\n got %s\nwant %s", after, before)
	}
}

// same compares by the printed form, which is what people see of a failure.
func (k *kit) same(what string, got, want any) {
	k.Helper()
	if g, w := show(got), show(want); g != w {
		k.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func (k *kit) wantErr(err, want error, format string, args ...any) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Fatalf(format+": got %v, want %v", append(args, err, want)...)
	}
}

// wantDue checks when a record must be looked at.
func (k *kit) wantDue(id string, want time.Time) {
	k.Helper()
	if rec := k.load(id); !rec.Due.Equal(want) {
		k.Fatalf("%q is due at %v, want %v", id, rec.Due, want)
	}
}

// wantOps checks which operations the journal's entries are of: with batch,
// that is which commits are in it.
func (k *kit) wantOps(rec *durable.Record, want ...int64) {
	k.Helper()
	k.wantJournal(rec, int64(len(want)), want...)
}

// wantJournal is wantOps for a journal that began anew.
func (k *kit) wantJournal(rec *durable.Record, revision int64, want ...int64) {
	k.Helper()
	got := make([]int64, 0, len(rec.Journal))
	for i := range rec.Journal {
		got = append(got, rec.Journal[i].Op)
	}
	k.same("operations in the journal", got, want)
	if rec.Revision != revision {
		k.Fatalf("revision: got %d, want %d", rec.Revision, revision)
	}
}

// wantNonces checks which deliveries there are, in order.
func (k *kit) wantNonces(what string, deliveries []durable.Delivery, want ...string) {
	k.Helper()
	got := make([]string, 0, len(deliveries))
	for _, d := range deliveries {
		got = append(got, d.Nonce)
	}
	k.same(what, got, want)
}
