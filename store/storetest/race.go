package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/clewdev/clew/durable"
)

const (
	racers = 8
	rounds = 6
)

// race runs f for 0 to n-1 at once and returns what each got, in order. An
// answer that wraps no sentinel leaves the outcome open; the call is repeated
// then, as the engine does.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			for range 20 {
				if errs[i] = f(i); errs[i] == nil || known(errs[i]) {
					return
				}
			}
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// sentinels are the answers that a store may give.
var sentinels = []error{
	durable.ErrNotFound, durable.ErrExists, durable.ErrFenced, durable.ErrUnseen, durable.ErrNotDue, durable.ErrEnded,
	durable.ErrNotEnded, durable.ErrDelivered, durable.ErrNotOpen, durable.ErrRevision, durable.ErrInboxFull,
}

func known(err error) bool {
	return slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) })
}

// oneWinner checks that exactly one racer got nil, and the others want.
func (k *kit) oneWinner(what string, errs []error, want error) (winner int) {
	k.Helper()
	winner = -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			k.Fatalf("%s: racers %d and %d both won", what, winner, i)
		default:
			k.wantErr(err, want, "%s: racer %d", what, i)
		}
	}
	if winner < 0 {
		k.Fatalf("%s: nobody won: %v", what, errs)
	}
	return winner
}

func (k *kit) noErrors(what string, errs []error) {
	k.Helper()
	if err := errors.Join(errs...); err != nil {
		k.Fatalf("%s: got %v, want nil for all", what, err)
	}
}

func raceCreates(k *kit) {
	for round := range rounds {
		id := fmt.Sprint("r", round)
		errs := race(racers, func(i int) error {
			first := batch(id, 1, 1, durable.StatusRunning)
			first.Entries[0].Op, first.Lease = int64(i), at(30)
			return k.store.Create(k.ctx, &durable.Create{Identity: identity(id), Owner: fmt.Sprintf("w%d/%d", i, round), First: first})
		})
		winner := k.oneWinner("Create", errs, durable.ErrExists)
		k.wantOps(k.load(id), int64(winner))
	}
}

func raceClaims(k *kit) {
	for round := range rounds {
		id := fmt.Sprint("r", round)
		k.pending(id, at(0))
		records := make([]*durable.Record, racers)
		owner := func(i int) string { return fmt.Sprintf("w%d/%d", i, round) }
		errs := race(racers, func(i int) (err error) {
			records[i], err = k.store.Claim(k.ctx, claimOf(id, owner(i), at(1)))
			return err
		})
		winner := k.oneWinner("Claim", errs, durable.ErrNotDue)
		rec := k.load(id)
		k.same("what the winner got", records[winner], rec)
		if rec.Epoch != 1 || rec.Activations != 1 || rec.Crashes != 0 || rec.Owner != owner(winner) {
			k.Fatalf("after the race: got %s, want epoch 1 of %s", show(rec.Head), owner(winner))
		}
	}
}

func raceRepeats(k *kit) {
	k.born("a", "x")
	want := []int64{101}
	for seq := int64(2); seq < rounds+2; seq++ {
		k.noErrors("Commit by all", race(racers, func(int) error {
			_, err := k.store.Commit(k.ctx, batch("a", 1, seq, durable.StatusRunning))
			return err
		}))
		want = append(want, 100+seq)
		k.wantOps(k.load("a"), want...)
	}
	k.noErrors("Deliver by all", race(racers, func(int) error {
		return k.store.Deliver(k.ctx, callback("a", "x", "n1", at(1)))
	}))
	k.wantNonces("the inbox", k.load("a").Inbox, "n1")
	k.noErrors("Claim by all", race(racers, func(int) error {
		_, err := k.store.Claim(k.ctx, claimOf("a", "w2/1", at(30)))
		return err
	}))
	if got := k.load("a").Epoch; got != 2 {
		k.Fatalf("epoch after the repeated claim: got %d, want 2", got)
	}
}

func raceTakeover(k *kit) {
	for round := range rounds {
		id := fmt.Sprint("r", round)
		k.born(id)
		var taken *durable.Record
		errs := race(2, func(i int) (err error) {
			if i == 0 {
				_, err = k.store.Commit(k.ctx, batch(id, 1, 2, durable.StatusRunning))
				return err
			}
			taken, err = k.store.Claim(k.ctx, claimOf(id, "w2/"+id, at(30)))
			return err
		})
		if errs[1] != nil {
			k.Fatalf("Claim at the end of a lease: got %v, want nil", errs[1])
		}
		k.same("the record after both", k.load(id), taken)
		if errs[0] == nil {
			k.wantOps(taken, 101, 102)
		} else {
			k.wantErr(errs[0], durable.ErrFenced, "the commit that came too late")
		}
	}
}

func raceForKey(k *kit) {
	k.born("a")
	for round := range rounds {
		c := batch("a", 1, int64(round)+2, durable.StatusRunning)
		key := fmt.Sprint("k", round)
		c.Open, c.Seen = []string{key}, int64(round)
		k.commit(c)
		send := func(i int) *durable.Delivery { return callback("a", key, fmt.Sprintf("%s/%d", key, i), at(1)) }
		errs := race(racers, func(i int) error { return k.store.Deliver(k.ctx, send(i)) })
		winner := send(k.oneWinner("Deliver", errs, durable.ErrDelivered)).Nonce
		for i, err := range errs {
			if err != nil {
				k.wantLost(err, send(i), winner)
			}
		}
		k.wantNonces("the inbox", k.load("a").Inbox, winner)
	}
}

func raceDeliveries(k *kit) {
	var keys []string
	for i := range racers * 2 {
		keys = append(keys, fmt.Sprint("k", i))
	}
	k.born("a", keys...)
	seq := int64(2)
	k.noErrors("Deliver by all, and commits between", race(len(keys)+1, func(i int) error {
		if i < len(keys) {
			return k.store.Deliver(k.ctx, callback("a", keys[i], "n/"+keys[i], at(1)))
		}
		for ; seq < 6; seq++ {
			if _, err := k.store.Commit(k.ctx, batch("a", 1, seq, durable.StatusRunning)); err != nil {
				return err
			}
		}
		return nil
	}))
	rec := k.load("a")
	k.wantOps(rec, 101, 102, 103, 104, 105)
	var nonces, want []string
	for i, d := range rec.Inbox {
		if d.Seq != int64(i)+1 {
			k.Fatalf("place %d of the inbox: got sequence number %d, want %d", i, d.Seq, i+1)
		}
		nonces = append(nonces, d.Nonce)
	}
	for _, key := range keys {
		want = append(want, "n/"+key)
	}
	slices.Sort(nonces)
	slices.Sort(want)
	k.same("all deliveries", nonces, want)
}

func deliverAgainstSuspend(k *kit) {
	for round := range rounds * 2 {
		id := fmt.Sprint("r", round)
		k.born(id, "cb")
		conditional := round%2 == 0
		var receipt durable.Receipt
		errs := race(2, func(i int) (err error) {
			if i == 0 {
				return k.store.Deliver(k.ctx, callback(id, "cb", "n1", at(2)))
			}
			c := batch(id, 1, 2, durable.StatusSuspended)
			c.IfSeen, c.Now = conditional, at(2)
			receipt, err = k.store.Commit(k.ctx, c)
			return err
		})
		if errs[0] != nil {
			k.Fatalf("Deliver: got %v, want nil", errs[0])
		}
		if errs[1] != nil {
			k.wantErr(errs[1], durable.ErrUnseen, "the suspending commit")
			k.wantNonces("told with the refusal", receipt.Unseen, "n1")
			k.wantOps(k.load(id), 101)
			continue
		}
		rec := k.claim(id, "w2/"+id, at(2))
		k.wantNonces("the inbox of who wakes up", rec.Inbox, "n1")
	}
}
