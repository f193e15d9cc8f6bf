package dynamo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// TestLongHistory: ten thousand operations, some of them with results that no
// item holds, come back in order; no head grows, and nothing stays of a
// deleted one.
func TestLongHistory(t *testing.T) {
	client := dynamolocal.Client(t)
	s := newStore(t, client)
	create(t, s, running("a"))
	const batches, each = 100, 100
	for seq := int64(2); seq < batches+2; seq++ {
		c := batch("a", 1, seq, durable.StatusRunning)
		c.Entries = nil
		for i := range int64(each) {
			e := durable.Entry{Kind: durable.EntryResult, Op: seq*each + i, At: now, Payload: []byte("ok")}
			if i == 0 && seq%50 == 0 {
				e.Payload = bytes.Repeat([]byte{byte(seq)}, 500<<10)
			}
			c.Entries = append(c.Entries, e)
		}
		commit(t, s, c)
	}
	rec := load(t, s, "a")
	if len(rec.Journal) != batches*each+1 {
		t.Fatalf("got %d entries, want %d", len(rec.Journal), batches*each+1)
	}
	for i, e := range rec.Journal[1:] {
		if e.Op != 2*each+int64(i) {
			t.Fatalf("entry %d is of operation %d, want %d", i+1, e.Op, 2*each+i)
		}
	}
	h, err := s.read(t.Context(), "a")
	if err != nil || h.size > inlineHead {
		t.Errorf("the head has %d bytes, %v, want at most %d", h.size, err, inlineHead)
	}
	commit(t, s, batch("a", 1, batches+2, durable.StatusSucceeded))
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if left, err := s.items(t.Context(), "a", ""); err != nil || len(left) != 0 {
		t.Errorf("after Delete: got %d items, %v, want none", len(left), err)
	}
}

// TestLateAppends: what a fenced owner had on its way into the journal is no
// part of the history, and what it had recorded before the takeover is.
func TestLateAppends(t *testing.T) {
	client := dynamolocal.Client(t)
	s := newStore(t, client)
	create(t, s, running("a"))
	large := func(epoch, seq int64, fill string) *durable.Commit {
		c := batch("a", epoch, seq, durable.StatusRunning)
		c.Entries[0].Payload = []byte(strings.Repeat(fill, 3<<10))
		return c
	}
	commit(t, s, large(1, 2, "a"))
	other := open(t, client, Options{Table: s.table})
	if _, err := other.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "w2", Now: late, Lease: late.Add(late.Sub(now))}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Commit(t.Context(), large(1, 3, "b")); !errors.Is(err, durable.ErrFenced) {
			t.Fatalf("got %v, want ErrFenced", err)
		}
	}
	commit(t, other, large(2, 1, "c"))
	found, err := s.items(t.Context(), "a", skRecord)
	if err != nil || len(found) != 3 {
		t.Errorf("got %d items, %v, want 3: two commits and a seal", len(found), err)
	}
	journal := load(t, s, "a").Journal
	var got []string
	for _, e := range journal {
		got = append(got, string(e.Payload[:min(1, len(e.Payload))]))
	}
	if strings.Join(got, "") != "ac" || len(journal) != 3 {
		t.Errorf("the journal has %d entries with payloads of %q, want 3, a and c", len(journal), got)
	}
}

// TestSleepsThroughItAll: an owner wakes up when its execution was taken over,
// ended and deleted, and finds its way barred.
func TestSleepsThroughItAll(t *testing.T) {
	client := dynamolocal.Client(t)
	s := appending(newStore(t, client))
	other := open(t, client, Options{Table: s.table})
	create(t, s, running("a"))
	commit(t, s, batch("a", 1, 2, durable.StatusRunning))
	if _, err := other.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "w2", Now: late, Lease: late}); err != nil {
		t.Fatal(err)
	}
	commit(t, other, batch("a", 2, 1, durable.StatusSucceeded))
	if err := other.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), batch("a", 1, 3, durable.StatusRunning)); err == nil {
		t.Error("a commit into a deleted execution: got nil, want an error")
	}
	left, err := s.items(t.Context(), "a", "")
	if err != nil || len(left) != 1 {
		t.Fatalf("got %d items, %v, want the seal", len(left), err)
	}
	for _, m := range left {
		if got, want := (&reader{item: m}).int(aExpires), now.Add(keepSeals).Unix(); got != want {
			t.Errorf("the seal expires at %d, want %d", got, want)
		}
	}
}

// TestAnotherExecutionByTheID: an owner that slept through the deletion of its
// execution does not write into the next one by that ID, whose numbers agree.
func TestAnotherExecutionByTheID(t *testing.T) {
	client := dynamolocal.Client(t)
	s := newStore(t, client)
	other := open(t, client, Options{Table: s.table})
	create(t, s, running("a"))
	if _, err := other.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "w2", Now: late, Lease: late}); err != nil {
		t.Fatal(err)
	}
	commit(t, other, batch("a", 2, 1, durable.StatusSucceeded))
	if err := other.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	again := running("a")
	again.Owner = "another"
	create(t, other, again)
	if _, err := s.Commit(t.Context(), batch("a", 1, 2, durable.StatusRunning)); !errors.Is(err, durable.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	commit(t, other, batch("a", 1, 2, durable.StatusRunning))
}

// TestManyCallbacks: the winners of deliveries leave the head, and still win.
func TestManyCallbacks(t *testing.T) {
	s := newStore(t, dynamolocal.Client(t))
	create(t, s, running("a"))
	const n = 100
	deliver := func(i int, nonce string) error {
		return s.Deliver(t.Context(), &durable.Delivery{ID: "a", Key: fmt.Sprintf("callback-%d", i), Nonce: nonce,
			Kind: durable.DeliverCallback, Now: now, Payload: []byte("yes")})
	}
	for i := range n {
		c := batch("a", 1, int64(i)+2, durable.StatusRunning)
		c.Open, c.Seen = []string{fmt.Sprintf("callback-%d", i)}, int64(i)
		commit(t, s, c)
		if err := deliver(i, fmt.Sprintf("nonce-%d", i)); err != nil {
			t.Fatalf("delivery %d: got %v, want nil", i, err)
		}
	}
	h, err := s.read(t.Context(), "a")
	if err != nil || h.spilled == 0 || len(h.winners) > n/2 {
		t.Fatalf("the head has %d winners after %d moves, %v, want few", len(h.winners), h.spilled, err)
	}
	for i := range n {
		if err := deliver(i, fmt.Sprintf("nonce-%d", i)); err != nil {
			t.Fatalf("repeat of delivery %d: got %v, want nil", i, err)
		}
		var lost *durable.DeliveredError
		if err := deliver(i, "late"); !errors.As(err, &lost) || lost.Winner != fmt.Sprintf("nonce-%d", i) {
			t.Fatalf("second delivery %d: got %v, want a DeliveredError", i, err)
		}
	}
}

// TestManyKeysAtOnce: more than an expression has room for.
func TestManyKeysAtOnce(t *testing.T) {
	s := newStore(t, dynamolocal.Client(t))
	create(t, s, running("a"))
	c := batch("a", 1, 2, durable.StatusRunning)
	for i := range durable.MaxOpenCallbacks {
		c.Open = append(c.Open, fmt.Sprintf("callback-%d", i))
	}
	commit(t, s, c)
	beat := &durable.Delivery{ID: "a", Key: "callback-7", Nonce: "n", Kind: durable.DeliverHeartbeat, Now: late}
	if err := s.Deliver(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	shut := batch("a", 1, 3, durable.StatusRunning) // by a head that does not know of the heartbeat
	shut.Close = c.Open[100:]
	commit(t, s, shut)
	h, err := s.read(t.Context(), "a")
	if err != nil || len(h.open) != 100 || h.open["callback-7"] != late.UnixMilli() {
		t.Errorf("got %d open keys, %v, heartbeat %d, want 100 and %d", len(h.open), err, h.open["callback-7"], late.UnixMilli())
	}
}

// TestListParked: parked executions have an index, which knows them only while
// they are.
func TestListParked(t *testing.T) {
	api := &meter{API: dynamolocal.Client(t)}
	s := open(t, api, newTable(t, dynamolocal.Client(t)))
	for i := range 9 {
		id := fmt.Sprintf("order-%d", i)
		create(t, s, running(id))
		status := durable.StatusParked
		if i%3 == 0 {
			status = durable.StatusSuspended
		}
		c := batch(id, 1, 2, status)
		c.Due = now
		commit(t, s, c)
	}
	if _, err := s.Claim(t.Context(), &durable.Claim{ID: "order-4", Owner: "w", Now: now, Lease: late}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	q := &durable.ListQuery{Statuses: []durable.Status{durable.StatusParked}, Limit: 2}
	for {
		page, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page.Heads {
			ids = append(ids, h.ID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if got, want := strings.Join(ids, " "), "order-1 order-2 order-5 order-7 order-8"; got != want {
		t.Errorf("parked: got %s, want %s", got, want)
	}
	if api.polls.requests == 0 {
		t.Error("the index was not asked")
	}
}

// TestPollCostsTheSame: what waits for its time makes no poll dearer.
func TestPollCostsTheSame(t *testing.T) {
	client := dynamolocal.Client(t)
	api := &meter{API: client}
	s := open(t, api, newTable(t, client))
	poll := func() float64 {
		before := api.polls.rru
		page, err := s.Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: now})
		if err != nil || len(page.IDs()) != 0 {
			t.Fatalf("Due: got %v, %v, want none", page.IDs(), err)
		}
		return api.polls.rru - before
	}
	more := func(from, to int) {
		for i := from; i < to; i++ {
			_, m, err := s.newHead(t.Context(), running(fmt.Sprintf("order-%d", i)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &s.table, Item: m}); err != nil {
				t.Fatal(err)
			}
		}
	}
	more(0, 40)
	few := poll()
	more(40, 400)
	if many := poll(); many != few {
		t.Errorf("a poll costs %g read units with 400 executions that run, want %g as with 40", many, few)
	}
}
