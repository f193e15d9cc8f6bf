package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
)

// dueAll walks the pages of Due.
func (k *kit) dueAll(definition, version string, now time.Time, limit int) []string {
	k.Helper()
	ids, _ := k.walkDue(&durable.DueQuery{Definition: definition, Version: version, Now: now, Limit: limit})
	return ids
}

// walkDue returns what is due and the last page's Later.
func (k *kit) walkDue(q *durable.DueQuery) (ids []string, later time.Time) {
	k.Helper()
	query := *q
	for range 1000 {
		page, err := k.store.Due(k.ctx, &query)
		if err != nil {
			k.Fatalf("Due(%s): got %v, want a page", show(query), err)
		}
		if q.Limit > 0 && len(page.IDs()) > q.Limit {
			k.Fatalf("Due(%s): got %d IDs, want at most %d", show(query), len(page.IDs()), q.Limit)
		}
		ids = append(ids, page.IDs()...)
		if page.Next == "" {
			return ids, page.Later
		}
		query.Cursor = page.Next
	}
	k.Fatalf("Due(%s): got 1000 pages, want an end", show(q))
	return nil, time.Time{}
}

// listAll walks the pages of List.
func (k *kit) listAll(q *durable.ListQuery) []durable.Head {
	k.Helper()
	query := *q
	var heads []durable.Head
	for range 1000 {
		page, err := k.store.List(k.ctx, &query)
		if err != nil {
			k.Fatalf("List(%s): got %v, want a page", show(query), err)
		}
		if q.Limit > 0 && len(page.Heads) > q.Limit {
			k.Fatalf("List(%s): got %d heads, want at most %d", show(query), len(page.Heads), q.Limit)
		}
		heads = append(heads, page.Heads...)
		if page.Next == "" {
			return heads
		}
		query.Cursor = page.Next
	}
	k.Fatalf("List(%s): got 1000 pages, want an end", show(q))
	return nil
}

func idsOf(heads []durable.Head) []string {
	ids := make([]string, 0, len(heads))
	for _, h := range heads {
		ids = append(ids, h.ID)
	}
	return ids
}

func duePages(k *kit) {
	k.same("due in an empty store", k.dueAll("order", "1", at(0), 0), []string{})
	// Created out of order, with ties, which go by ID.
	due := map[string]int{"e": 1, "b": 2, "d": 2, "a": 2, "c": 3, "g": 4, "f": 4, "z": 0, "late": 9}
	for id, second := range due {
		k.pending(id, at(second))
	}
	want := []string{"z", "e", "a", "b", "d", "c", "f", "g"}
	for limit := range 10 {
		k.same(fmt.Sprintf("due in pages of %d", limit), k.dueAll("order", "1", at(4), limit), want)
	}
	k.same("due at the first instant", k.dueAll("order", "1", at(0), 3), []string{"z"})
	k.same("due before it", k.dueAll("order", "1", at(-1), 3), []string{})

	// What the poller claims from the first page does not disturb the next.
	query := &durable.DueQuery{Definition: "order", Version: "1", Now: at(4), Limit: 3}
	page, err := k.store.Due(k.ctx, query)
	if err != nil || page.Next == "" {
		k.Fatalf("the first page: got %s, %v, want more to follow", show(page), err)
	}
	for _, id := range page.IDs() {
		k.claim(id, "w1/"+id, at(4))
	}
	query.Cursor = page.Next
	rest, _ := k.walkDue(query)
	k.same("both pages together", slices.Concat(page.IDs(), rest), want)
	k.same("due once more", k.dueAll("order", "1", at(4), 3), want[len(page.IDs()):])
}

func dueLater(k *kit) {
	later := func(now, want time.Time) {
		k.Helper()
		query := &durable.DueQuery{Definition: "order", Version: "1", Now: now}
		if _, got := k.walkDue(query); !got.Equal(want) {
			k.Fatalf("later than %v: got %v, want %v", now, got, want)
		}
	}
	later(at(0), time.Time{})
	k.pending("a", at(10))
	k.pending("b", at(20))
	k.pending("never", time.Time{})
	k.create(&durable.Create{Identity: durable.Identity{ID: "other", Definition: "ship", Version: "1"}, Owner: "o", Due: at(1)})
	k.create(&durable.Create{Identity: durable.Identity{ID: "newer", Definition: "order", Version: "2"}, Owner: "o", Due: at(1)})
	later(at(0), at(10))
	later(at(10), at(20))
	later(at(20), time.Time{})
	k.claim("a", "w1/1", at(10)) // until at(40), but that is no time to look
	later(at(20), time.Time{})
	c := batch("a", 1, 1, durable.StatusSuspended)
	c.Due = at(50)
	k.commit(c)
	later(at(20), at(50))
}

func dueStatuses(k *kit) {
	k.pending("pending", at(10))
	k.pending("never", time.Time{})
	k.born("running") // until at(30)
	for _, status := range []durable.Status{durable.StatusSuspended, durable.StatusParked, durable.StatusSucceeded} {
		k.born(status.String())
		c := batch(status.String(), 1, 2, status)
		c.Due = at(20)
		k.commit(c)
	}
	k.create(&durable.Create{Identity: durable.Identity{ID: "other", Definition: "ship", Version: "1"}, Owner: "o1", Due: at(1)})
	k.create(&durable.Create{Identity: durable.Identity{ID: "newer", Definition: "order", Version: "2"}, Owner: "o2", Due: at(1)})

	due := func(second int, want ...string) {
		k.Helper()
		k.same(fmt.Sprintf("due at second %d", second), k.dueAll("order", "1", at(second), 0), want)
	}
	due(9)
	due(10, "pending")
	due(20, "pending", "parked", "succeeded", "suspended")
	due(29, "pending", "parked", "succeeded", "suspended")
	due(30, "pending", "parked", "succeeded", "suspended", "running")
	page, err := k.store.Due(k.ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: at(30)})
	k.wantErr(err, nil, "Due at second 30")
	for _, e := range page.Entries {
		h := k.load(e.ID).Head
		k.same("what Due tells of "+e.ID, e, durable.DueEntry{ID: e.ID, At: h.Due, Running: h.Status == durable.StatusRunning})
	}
	k.same("due of another definition", k.dueAll("ship", "1", at(30), 0), []string{"other"})
	k.same("due of another version", k.dueAll("order", "2", at(30), 0), []string{"newer"})
	k.same("due of no definition", k.dueAll("refund", "1", at(30), 0), []string{})
	k.wantErr(k.store.Delete(k.ctx, "succeeded"), nil, "Delete of the ended one")
	// Whatever else Due shows can be claimed, and is then out of the way.
	for _, id := range k.dueAll("order", "1", at(30), 0) {
		k.claim(id, "w2/"+id, at(30))
	}
	due(30)
	due(60, "parked", "pending", "running", "suspended")
}

func dueEnded(k *kit) {
	due := func(second int, want ...string) {
		k.Helper()
		query := &durable.DueQuery{Definition: "order", Version: "1", Now: at(second), Limit: 2}
		ids, _ := k.walkDue(query)
		k.same(fmt.Sprintf("due at second %d", second), ids, want)
	}
	k.pending("other", at(21))
	for _, status := range ends {
		k.endDue(status)
	}
	due(19)
	page, err := k.store.Due(k.ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: at(19)})
	if err != nil || !page.Later.Equal(at(20)) {
		k.Fatalf("later than second 19: got %v, %v, want %v", page.Later, err, at(20))
	}
	due(21, "cancelled", "failed", "succeeded", "terminated", "timed-out", "other")
	k.claim("other", "w1/1", at(21))
	for _, status := range ends {
		id := status.String()
		for _, second := range []int{19, 20, 99} {
			k.unchanged(id, func() { k.refuseClaim(id, "w2/1", at(second), durable.ErrEnded) })
		}
		k.refuse(batch(id, 1, 3, durable.StatusRunning), durable.ErrEnded)
		k.refuseDelivery(signal(id, "s", "n2", at(21)), durable.ErrEnded)
	}
	for _, h := range k.listAll(&durable.ListQuery{}) {
		k.same("the head of "+h.ID, h, k.load(h.ID).Head)
	}
	due(21, "cancelled", "failed", "succeeded", "terminated", "timed-out")
	k.wantErr(k.store.Delete(k.ctx, "failed"), nil, "Delete of what is due")
	due(22, "cancelled", "succeeded", "terminated", "timed-out",
		"born cancelled", "born failed", "born succeeded", "born terminated", "born timed-out")
}

// endDue makes records that end with this status: one that may be deleted at
// second 20, one that was born so and may be at 22, and one that is kept.
func (k *kit) endDue(status durable.Status) {
	k.Helper()
	id := status.String()
	k.born(id, "cb")
	k.deliver(callback(id, "cb", "n1", at(1)))
	c := batch(id, 1, 2, status)
	c.Due, c.Now = at(20), at(10)
	k.commit(c)
	k.wantDue(id, at(20)) // although a delivery waits
	k.unchanged(id, func() { k.commit(c) })
	born := batch("born "+id, 1, 1, status)
	born.Due = at(22)
	k.create(&durable.Create{Identity: identity(born.ID), Now: at(0), Owner: id, First: born})
	k.wantDue(born.ID, at(22))
	kept := batch("kept "+id, 1, 2, status)
	k.born(kept.ID)
	k.commit(kept)
	k.wantDue(kept.ID, time.Time{})
}

func list(k *kit) {
	k.same("heads in an empty store", idsOf(k.listAll(&durable.ListQuery{})), []string{})
	k.suspended("c")
	k.pending("a", at(0))
	k.born("e")
	k.create(&durable.Create{Identity: durable.Identity{ID: "d", Definition: "ship", Version: "2"}, Now: at(0), Owner: "o"})
	k.born("b")
	k.commit(batch("b", 1, 2, durable.StatusSucceeded))
	k.pending("B", at(0))

	want := k.wantListed
	want(durable.ListQuery{}, "B", "a", "b", "c", "d", "e")
	want(durable.ListQuery{Definition: "order"}, "B", "a", "b", "c", "e")
	want(durable.ListQuery{Definition: "ship"}, "d")
	want(durable.ListQuery{Definition: "refund"})
	want(durable.ListQuery{Statuses: []durable.Status{durable.StatusPending}}, "B", "a", "d")
	want(durable.ListQuery{Statuses: []durable.Status{durable.StatusRunning, durable.StatusSucceeded}}, "b", "e")
	want(durable.ListQuery{Definition: "order", Statuses: []durable.Status{durable.StatusPending, durable.StatusSuspended}}, "B", "a", "c")
	want(durable.ListQuery{Statuses: []durable.Status{durable.StatusTimedOut}})
	for _, h := range k.listAll(&durable.ListQuery{}) {
		k.same("the head of "+h.ID, h, k.load(h.ID).Head)
	}
}

// wantListed walks a list in pages of many sizes.
func (k *kit) wantListed(q durable.ListQuery, want ...string) {
	k.Helper()
	for q.Limit = range 8 {
		k.same(fmt.Sprintf("heads by %s", show(q)), idsOf(k.listAll(&q)), want)
	}
}

func listTags(k *kit) {
	// Few among many, so that those asked for are pages apart.
	for i := range 40 {
		id := identity(fmt.Sprintf("%02d", i))
		switch {
		case i%10 == 3:
			id.Tags = map[string]string{"customer": "17", "region": "eu"}
		case i == 35:
			id.Tags = map[string]string{"customer": "17", "region": ""}
		case i%2 == 0:
			id.Tags = map[string]string{"customer": "170", "Region": "eu"}
		}
		first := batch(id.ID, 1, 1, durable.StatusSuspended)
		if i == 13 || i == 14 || i == 33 {
			first.Status = durable.StatusParked
		}
		k.create(&durable.Create{Identity: id, Now: at(0), Owner: "o/" + id.ID, First: first})
	}
	tags := func(pairs ...string) (m map[string]string) {
		m = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17")}, "03", "13", "23", "33", "35")
	k.wantListed(durable.ListQuery{Tags: tags("region", "eu")}, "03", "13", "23", "33")
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17", "region", "eu")}, "03", "13", "23", "33")
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17", "region", "")}, "35")
	k.wantListed(durable.ListQuery{Tags: tags("customer", "")})
	k.wantListed(durable.ListQuery{Tags: tags("shop", "")})
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17"), Definition: "ship"})
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17"), Statuses: []durable.Status{durable.StatusParked}}, "13", "33")
	k.wantListed(durable.ListQuery{Tags: tags("customer", "17"), Statuses: []durable.Status{durable.StatusSuspended}, Definition: "order"}, "03", "23", "35")
	if all := idsOf(k.listAll(&durable.ListQuery{Tags: tags()})); len(all) != 40 {
		k.Fatalf("heads by no tags: got %q, want all 40", all)
	}
}

func listCreated(k *kit) {
	for i, id := range []string{"d", "b", "e", "a", "c"} {
		born := identity(id)
		born.Created = at(i).Add(time.Duration(i) * time.Millisecond)
		born.Tags = map[string]string{"parity": fmt.Sprint(i % 2)}
		first := batch(id, 1, 1, durable.StatusParked)
		k.create(&durable.Create{Identity: born, Now: at(99), Owner: "o/" + id, First: first})
	}
	second := at(2).Add(2 * time.Millisecond) // of e
	k.wantListed(durable.ListQuery{From: at(0)}, "a", "b", "c", "d", "e")
	k.wantListed(durable.ListQuery{From: second}, "a", "c", "e")
	k.wantListed(durable.ListQuery{From: second.Add(time.Millisecond)}, "a", "c")
	k.wantListed(durable.ListQuery{To: second}, "b", "d")
	k.wantListed(durable.ListQuery{To: second.Add(time.Millisecond)}, "b", "d", "e")
	k.wantListed(durable.ListQuery{From: at(1), To: at(3)}, "b", "e")
	k.wantListed(durable.ListQuery{From: at(1), To: at(1)})
	k.wantListed(durable.ListQuery{From: at(5)})
	k.wantListed(durable.ListQuery{To: at(0)})
	k.wantListed(durable.ListQuery{From: at(1), Tags: map[string]string{"parity": "0"}}, "c", "e")
	k.wantListed(durable.ListQuery{From: at(1), To: at(4), Statuses: []durable.Status{durable.StatusParked}}, "a", "b", "e")
	k.wantListed(durable.ListQuery{From: at(1), Statuses: []durable.Status{durable.StatusPending}})
	// A span may reach beyond what a store can count.
	far := time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	k.wantListed(durable.ListQuery{From: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), To: far}, "a", "b", "c", "d", "e")
	k.wantListed(durable.ListQuery{From: far})
}

func listEnded(k *kit) {
	for i, id := range []string{"d", "b", "e", "a", "c", "f"} {
		born := identity(id)
		born.Created = at(90 - i) // in another order
		first := batch(id, 1, 1, durable.StatusSuspended)
		if id != "f" {
			first.Status, first.Now = durable.StatusSucceeded, at(i).Add(time.Duration(i)*time.Millisecond)
		}
		if id == "e" {
			first.Status, first.Error = durable.StatusFailed, &durable.Error{Message: "no"}
		}
		k.create(&durable.Create{Identity: born, Now: first.Now, Owner: "o/" + id, First: first})
	}
	second := at(2).Add(2 * time.Millisecond) // of e
	k.wantListed(durable.ListQuery{EndedFrom: at(0)}, "a", "b", "c", "d", "e")
	k.wantListed(durable.ListQuery{EndedFrom: second}, "a", "c", "e")
	k.wantListed(durable.ListQuery{EndedFrom: second.Add(time.Millisecond)}, "a", "c")
	k.wantListed(durable.ListQuery{EndedTo: second}, "b", "d")
	k.wantListed(durable.ListQuery{EndedTo: second.Add(time.Millisecond)}, "b", "d", "e")
	k.wantListed(durable.ListQuery{EndedFrom: at(1), EndedTo: at(3)}, "b", "e")
	k.wantListed(durable.ListQuery{EndedFrom: at(1), EndedTo: at(1)})
	k.wantListed(durable.ListQuery{EndedFrom: at(5)})
	k.wantListed(durable.ListQuery{EndedFrom: at(1), Statuses: []durable.Status{durable.StatusFailed}}, "e")
	k.wantListed(durable.ListQuery{EndedFrom: at(0), Statuses: []durable.Status{durable.StatusSuspended}})
	k.wantListed(durable.ListQuery{EndedTo: at(99), From: at(87)}, "a", "b", "d", "e")
	far := time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	k.wantListed(durable.ListQuery{EndedFrom: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), EndedTo: far}, "a", "b", "c", "d", "e")
	k.wantListed(durable.ListQuery{EndedFrom: far})
}

func defaultLimits(k *kit) {
	var want []string
	for i := range 101 {
		id := fmt.Sprintf("%03d", i)
		k.pending(id, at(i))
		want = append(want, id)
	}
	due, err := k.store.Due(k.ctx, &durable.DueQuery{Definition: "order", Version: "1", Now: at(200)})
	if err != nil || len(due.IDs()) > 100 || due.Next == "" {
		k.Fatalf("Due of 101: got %d and next %q, %v, want at most 100 and a next page", len(due.IDs()), due.Next, err)
	}
	heads, err := k.store.List(k.ctx, &durable.ListQuery{})
	if err != nil || len(heads.Heads) > 100 || heads.Next == "" {
		k.Fatalf("List of 101: got %d and next %q, %v, want at most 100 and a next page", len(heads.Heads), heads.Next, err)
	}
	k.same("all that is due", k.dueAll("order", "1", at(200), 0), want)
	k.same("all heads", idsOf(k.listAll(&durable.ListQuery{})), want)
}

func loadHead(k *kit) {
	first := batch("a", 1, 1, durable.StatusRunning)
	first.Lease, first.Open = at(30), []string{"x", "y"}
	k.create(&durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", First: first})
	k.deliver(callback("a", "x", "n1", at(1)))
	k.deliver(beat("a", "y", "h", at(2)))
	want := k.load("a")
	if len(want.Input) == 0 || len(want.Journal) != 1 || len(want.Inbox) != 1 || len(want.Heartbeats) != 1 {
		k.Fatalf("Load of all: got %s, want input, journal, inbox and heartbeats", show(want))
	}
	want.Input, want.Journal = nil, nil
	got, err := k.store.Load(k.ctx, "a", durable.LoadHead)
	if err != nil {
		k.Fatalf("Load of the head: got %v, want nil", err)
	}
	k.same("the head", got, want)
	_, err = k.store.Load(k.ctx, "absent", durable.LoadAll)
	k.wantErr(err, durable.ErrNotFound, "Load of an ID that was never created")
}

func deletes(k *kit) {
	remove := func(id string, want error) {
		k.Helper()
		k.wantErr(k.store.Delete(k.ctx, id), want, "Delete(%q)", id)
	}
	remove("absent", durable.ErrNotFound)
	k.pending("p", at(0))
	k.unchanged("p", func() { remove("p", durable.ErrNotEnded) })
	k.born("a", "cb")
	k.unchanged("a", func() { remove("a", durable.ErrNotEnded) })
	k.deliver(callback("a", "cb", "n1", at(1)))
	k.commit(batch("a", 1, 2, durable.StatusSuspended))
	k.unchanged("a", func() { remove("a", durable.ErrNotEnded) })
	k.claim("a", "w2/1", at(1))
	k.commit(batch("a", 2, 1, durable.StatusCancelled))
	remove("a", nil)

	k.wantErr(loadErr(k, "a"), durable.ErrNotFound, "Load after Delete")
	k.refuseClaim("a", "w2/1", at(99), durable.ErrNotFound)
	_, err := k.store.Commit(k.ctx, batch("a", 2, 1, durable.StatusCancelled))
	k.wantErr(err, durable.ErrNotFound, "Commit after Delete")
	k.wantErr(k.store.Deliver(k.ctx, callback("a", "cb", "n1", at(1))), durable.ErrNotFound, "Deliver after Delete")
	remove("a", durable.ErrNotFound)
	k.same("heads after Delete", idsOf(k.listAll(&durable.ListQuery{})), []string{"p"})

	// The ID is free, and nothing of the old record is left in the new one.
	k.born("a", "cb")
	k.wantOps(k.load("a"), 101)
	k.deliver(callback("a", "cb", "n2", at(2)))
	k.wantNonces("the new record's inbox", k.load("a").Inbox, "n2")
}
