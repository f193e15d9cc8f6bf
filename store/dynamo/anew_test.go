package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// anew is a commit that begins the journal anew.
func anew(id string, epoch, seq int64, status durable.Status) *durable.Commit {
	c := batch(id, epoch, seq, status)
	c.Anew = true
	return c
}

func claim(t testing.TB, s *Store, id, owner string) *durable.Record {
	t.Helper()
	rec, err := s.Claim(t.Context(), &durable.Claim{ID: id, Owner: owner, Now: late, Lease: late})
	if err != nil {
		t.Fatalf("Claim(%s by %s): got %v, want nil", id, owner, err)
	}
	return rec
}

// wantJournal compares the operations of a journal and its revision.
func wantJournal(t testing.TB, rec *durable.Record, revision int64, ops ...int64) {
	t.Helper()
	var got []int64
	for _, e := range rec.Journal {
		got = append(got, e.Op)
	}
	if fmt.Sprint(got) != fmt.Sprint(ops) || rec.Revision != revision {
		t.Fatalf("got operations %v at revision %d, want %v at %d", got, rec.Revision, ops, revision)
	}
}

func readHead(t testing.TB, s *Store, id string) *head {
	t.Helper()
	h, err := s.read(t.Context(), id)
	if err != nil || h == nil {
		t.Fatalf("read(%s): got %v, %v, want the head", id, h, err)
	}
	return h
}

// wantItems counts the items of a journal.
func wantItems(t testing.TB, s *Store, id string, want int) {
	t.Helper()
	found, err := s.items(t.Context(), id, skRecord)
	if err != nil || len(found) != want {
		t.Fatalf("got %d items, %v, want %d", len(found), err, want)
	}
}

// TestDroppedIsNotRead: what a journal has dropped costs nobody a read, and
// goes when the execution does.
func TestDroppedIsNotRead(t *testing.T) {
	api := &meter{API: dynamolocal.Client(t)}
	s := appending(open(t, api, newTable(t, dynamolocal.Client(t))))
	create(t, s, running("a"))
	const many = 60
	for seq := int64(2); seq < many; seq++ {
		c := batch("a", 1, seq, durable.StatusRunning)
		c.Entries[0].Payload = []byte(strings.Repeat("x", 8<<10))
		commit(t, s, c)
	}
	c := anew("a", 1, many, durable.StatusRunning)
	c.Entries[0].Payload = []byte(strings.Repeat("y", 400<<10)) // a blob that will be dropped too
	commit(t, s, c)
	commit(t, s, anew("a", 1, many+1, durable.StatusRunning))
	commit(t, s, batch("a", 1, many+2, durable.StatusRunning))
	before := api.total()
	wantJournal(t, load(t, s, "a"), many+2, many+1, many+2)
	wantJournal(t, claim(t, s, "a", "heir"), many+2, many+1, many+2)
	if u := api.total().minus(before); u.rru > 3 {
		t.Errorf("a load and a claim read %g units, want at most 3", u.rru)
	}
	commit(t, s, batch("a", 2, 1, durable.StatusSucceeded))
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if left, err := s.items(t.Context(), "a", ""); err != nil || len(left) != 1 {
		t.Errorf("after Delete: got %d items, %v, want the seal", len(left), err)
	}
}

// TestLateBelowTheBase: what was still on its way when the journal began anew,
// and lands in a position that the head has left, is no part of it, for nobody
// who reads it and for nobody who takes it over.
func TestLateBelowTheBase(t *testing.T) {
	s := newStore(t, dynamolocal.Client(t))
	create(t, s, running("a"))
	commit(t, s, batch("a", 1, 2, durable.StatusRunning)) // in the head, where no item stands
	before := readHead(t, s, "a")
	commit(t, s, anew("a", 1, 3, durable.StatusRunning))
	h := readHead(t, s, "a")
	if before.position != 2 || h.base != 2 || h.position != 3 || len(h.journal) != 1 {
		t.Fatalf("got position %d, then base %d, position %d and %d records, want 2, 2, 3, 1", before.position, h.base, h.position, len(h.journal))
	}
	for _, r := range []record{
		recordOf(batch("a", 1, 2, durable.StatusRunning), 2), // a duplicate
		{position: 1}, // notices
		{position: 3}, {position: 4},
	} {
		if blocking, err := s.append(t.Context(), h, r); err != nil || blocking != nil {
			t.Fatalf("append at %d: got %v, %v, want it to land", r.position, blocking, err)
		}
	}
	wantJournal(t, load(t, s, "a"), 3, 3)
	s = appending(s)
	commit(t, s, batch("a", 1, 4, durable.StatusRunning)) // behind the notice
	wantJournal(t, load(t, s, "a"), 4, 3, 4)
	other := appending(open(t, s.api, Options{Table: s.table}))
	wantJournal(t, claim(t, other, "a", "heir"), 4, 3, 4)
	if got := readHead(t, s, "a").base; got != 2 {
		t.Errorf("base after the claim: got %d, want 2", got)
	}
	commit(t, other, batch("a", 2, 1, durable.StatusRunning))
	if _, err := s.Commit(t.Context(), batch("a", 1, 5, durable.StatusRunning)); !errors.Is(err, durable.ErrFenced) {
		t.Errorf("the owner before: got %v, want ErrFenced", err)
	}
	wantJournal(t, load(t, s, "a"), 5, 3, 4, 1)
}

// TestAnewLeavesTheSeal: an owner that was sealed off finds its way barred
// although the journal has begun anew behind the seal, and the journal of the
// head moved out.
func TestAnewLeavesTheSeal(t *testing.T) {
	client := dynamolocal.Client(t)
	s := appending(newStore(t, client))
	create(t, s, running("a"))
	commit(t, s, batch("a", 1, 2, durable.StatusRunning))
	other := open(t, client, Options{Table: s.table})
	claim(t, other, "a", "heir")
	wantItems(t, s, "a", 2) // a commit and the seal
	commit(t, other, anew("a", 2, 1, durable.StatusRunning))
	refused := func() {
		t.Helper()
		for range 2 {
			if _, err := s.Commit(t.Context(), batch("a", 1, 3, durable.StatusRunning)); !errors.Is(err, durable.ErrFenced) {
				t.Fatalf("got %v, want ErrFenced", err)
			}
		}
	}
	refused()
	for seq := int64(2); seq < 8; seq++ { // moves out: a status with each keeps the head in it
		c := batch("a", 2, seq, durable.StatusRunning)
		c.Entries[0].Payload, c.Lease = []byte(strings.Repeat("x", 900)), late
		commit(t, other, c)
	}
	if h := readHead(t, s, "a"); len(h.journal) >= 7 || h.base != 3 {
		t.Fatalf("got %d records in the head, base %d, want fewer than 7, and 3", len(h.journal), h.base)
	}
	refused()
	wantJournal(t, load(t, s, "a"), 9, 1, 2, 3, 4, 5, 6, 7)
	wantJournal(t, claim(t, appending(open(t, client, Options{Table: s.table})), "a", "third"), 9, 1, 2, 3, 4, 5, 6, 7)
}

// TestAnewTwice: a commit that begins the journal anew lands once, also when
// another try was made from a head that a delivery, with its notice, has
// changed meanwhile.
func TestAnewTwice(t *testing.T) {
	client := dynamolocal.Client(t)
	s := appending(newStore(t, client))
	create(t, s, running("a"))
	commit(t, s, batch("a", 1, 2, durable.StatusRunning))
	c := anew("a", 1, 3, durable.StatusRunning)
	slow := s.remembered("a", 1, 2)
	if slow == nil {
		t.Fatal("the head of the claim is not remembered")
	}
	signal := &durable.Delivery{ID: "a", Key: "s", Nonce: "n", Kind: durable.DeliverSignal, Now: now}
	if err := s.Deliver(t.Context(), signal); err != nil {
		t.Fatal(err)
	}
	commit(t, appending(open(t, client, Options{Table: s.table})), c) // reads the head, and the notice
	if h := readHead(t, s, "a"); h.base != 3 || h.baseRev != 2 {
		t.Fatalf("got base %d at revision %d, want 3 at 2", h.base, h.baseRev)
	}
	after, met, err := s.write(t.Context(), slow, c)
	if err != nil || after != nil || met == nil || met.Seq != 3 {
		t.Fatalf("the slow one: got %v, %v, %v, want it refused by what it was", after, met, err)
	}
	commit(t, s, c)
	wantJournal(t, load(t, s, "a"), 3, 3)
	// A record of its own epoch is behind the base: the claim that is repeated
	// seals nothing.
	claim(t, s, "a", "heir")
	commit(t, s, anew("a", 2, 1, durable.StatusRunning))
	found, _ := s.items(t.Context(), "a", skRecord)
	wantJournal(t, claim(t, s, "a", "heir"), 4, 1)
	wantItems(t, s, "a", len(found))
}

// outdated is an API that answers the next read of a head with an older one.
type outdated struct {
	API
	head item
}

func (o *outdated) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if m := o.head; m != nil && (&reader{item: in.Key}).text(aSK) == skHead {
		o.head = nil
		return &dynamodb.GetItemOutput{Item: m}, nil
	}
	return o.API.GetItem(ctx, in, opts...)
}

// TestReadWhileItBegins: a reader whose head is older than the new beginning
// does not put what it dropped before what came after it.
func TestReadWhileItBegins(t *testing.T) {
	for name, entries := range map[string]int{"with an entry": 1, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			s := appending(newStore(t, dynamolocal.Client(t)))
			create(t, s, running("a"))
			commit(t, s, batch("a", 1, 2, durable.StatusRunning))
			old, err := s.get(t.Context(), pkOf("a"), skHead)
			if err != nil {
				t.Fatal(err)
			}
			before := readHead(t, s, "a")
			before.position = 2
			api := &outdated{API: s.api}
			slow := open(t, api, Options{Table: s.table})
			read := func(want ...int64) {
				t.Helper()
				api.head = old
				wantJournal(t, load(t, slow, "a"), 2+int64(len(want)), want...)
			}
			c := anew("a", 1, 3, durable.StatusRunning)
			c.Entries = c.Entries[:entries]
			commit(t, s, c) // position 3, in the head
			wants := []int64{3, 4}[1-entries:]
			commit(t, s, batch("a", 1, 4, durable.StatusRunning))
			read(wants...)
			notice := record{position: 3}
			if blocking, err := s.append(t.Context(), before, notice); err != nil || blocking != nil {
				t.Fatalf("a late notice: got %v, %v, want it to land", blocking, err)
			}
			read(wants...)
			fresh := readHead(t, s, "a")
			if err := s.put(t.Context(), recordItem(fresh, fresh.journal...)); err != nil { // on its way out
				t.Fatal(err)
			}
			read(wants...)
			since, err := s.records(t.Context(), before, before.position)
			if err != nil {
				t.Fatal(err)
			}
			if h, err := before.with(since); !errors.Is(err, errOutdated) {
				t.Errorf("a head with what came since: got %v, %v, want errOutdated", h, err)
			}
		})
	}
}

// TestBillOfTheEnd: what ends and stays listed pays for its place in the index.
func TestBillOfTheEnd(t *testing.T) {
	for _, due := range []bool{false, true} {
		for _, born := range []bool{false, true} {
			t.Run(fmt.Sprintf("due=%v,born=%v", due, born), func(t *testing.T) {
				client := dynamolocal.Client(t)
				api := &meter{API: client}
				s := open(t, api, newTable(t, client))
				api.used = usage{} // of Open
				c := running("a")
				end := batch("a", 1, 2, durable.StatusSucceeded)
				if born {
					end = c.First
					end.Status = durable.StatusSucceeded
				}
				if due {
					end.Due = late.Add(1)
				}
				create(t, s, c)
				if !born {
					commit(t, s, end)
				}
				want := api.total()
				rec := load(t, s, "a")
				got := rec.Usage
				if float64(got.WriteUnits+got.IndexUnits) != want.wru || got.Requests != int64(want.requests) {
					t.Errorf("the bill is %+v, want what the service counted: %+v", got, want)
				}
				if due == rec.Due.IsZero() {
					t.Errorf("due: got %v, want one: %v", rec.Due, due)
				}
			})
		}
	}
}
