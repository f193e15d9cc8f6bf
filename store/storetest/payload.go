package storetest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// fill gives every field that v leads to a value of its own, fields that do
// not exist yet included, so that a store which drops one is found out.
func fill(v reflect.Value, n *int) {
	*n++
	if _, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(at(0).Add(time.Duration(*n) * time.Millisecond)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("value %d é", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n%100) + 1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(fmt.Appendf(nil, `{"n":%d}`, *n)) // JSON, in case it must be
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	}
}

func filled[T any](n int) T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), &n)
	return v
}

func entriesRoundTrip(k *kit) {
	k.born("a")
	full := filled[durable.Entry](100)
	full.Scope = durable.ScopeUnwind // there are only two
	full.At = at(5).Add(123456 * time.Microsecond)
	later := durable.Entry{Kind: durable.EntryFailure, Op: 1, At: at(9), Retry: true, Delay: 1234567, Attempt: 3}
	earlier := durable.Entry{Kind: durable.EntryLost, Op: 1, At: at(-9)} // clocks differ
	bare := durable.Entry{Kind: durable.EntrySuspended, At: at(9)}
	nothing := durable.Entry{Kind: durable.EntryResult, Op: 2, At: at(9), Payload: []byte{}}
	binary := durable.Entry{Kind: durable.EntryResult, Op: 3, At: at(9), Payload: []byte{0, 255, 128, '\n', 0}}
	want := []durable.Entry{entry(101)}
	for i, entries := range [][]durable.Entry{{full, later, earlier}, {bare}, {nothing, binary, full}} {
		c := batch("a", 1, int64(i)+2, durable.StatusRunning)
		c.Entries = entries
		k.commit(c)
		want = append(want, entries...)
	}
	rec := k.load("a")
	k.same("the journal", rec.Journal, want)
	for i, e := range rec.Journal {
		// Entries alone tell a payload that is empty from none.
		if (e.Payload == nil) != (want[i].Payload == nil) {
			k.Fatalf("payload of entry %d: got %#v, want %#v", i, e.Payload, want[i].Payload)
		}
	}
	k.same("the journal as the next owner gets it", k.heir("a", "w2/1").Journal, want)
}

func fieldsRoundTrip(k *kit) {
	park, failure := filled[durable.Park](200), filled[durable.Error](300)
	k.born("a", "cb")
	d := callback("a", "cb", "n1", at(1).Add(250*time.Millisecond))
	d.Error, d.Actor, d.Reason, d.Payload = &failure, "ada", "because", []byte{0, 255, 1}
	k.deliver(d)
	c := batch("a", 1, 2, durable.StatusParked)
	c.Park = &park
	d.Seq = 1
	k.same("the delivery in the receipt", k.commit(c).Unseen, []durable.Delivery{*d})
	k.same("the park", k.load("a").Park, park)
	v := verb("a", "v1", 2, at(2))
	k.deliver(v)
	v.Seq = 2
	rec := k.claim("a", "w2/1", at(2))
	k.same("the inbox of the claim", rec.Inbox, []durable.Delivery{*d, *v})
	k.same("the inbox", k.load("a").Inbox, rec.Inbox)

	c = batch("a", 2, 1, durable.StatusTimedOut)
	c.Error, c.Detail = &failure, "timed out/unwound é"
	k.commit(c)
	rec = k.load("a")
	k.same("the error", rec.Error, failure)
	k.same("the detail", rec.Detail, c.Detail)
	k.same("the identity of a full one", func() durable.Identity {
		id := filled[durable.Identity](400)
		k.create(&durable.Create{Identity: id, Now: at(0), Owner: "o"})
		return k.load(id.ID).Identity
	}(), filled[durable.Identity](400))
}

// noise is what no compression makes smaller.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func bigPayloads(k *kit) {
	const size = 5 << 20
	id := identity("a")
	id.Input = noise(1, size)
	first := batch("a", 1, 1, durable.StatusRunning)
	first.Entries[0].Payload, first.Open, first.Lease = noise(2, size), []string{"cb"}, at(30)
	k.create(&durable.Create{Identity: id, Now: at(0), Owner: "w1/1", First: first})
	d := callback("a", "cb", "n1", at(1))
	d.Payload = noise(3, size)
	k.deliver(d)
	c := batch("a", 1, 2, durable.StatusRunning)
	c.Entries[0].Error = &durable.Error{Type: "T", Message: "m", Data: noise(4, size)}
	receipt := k.commit(c)
	d.Seq = 1
	k.same("the delivery in the receipt", receipt.Unseen, []durable.Delivery{*d})

	rec := k.heir("a", "w2/1")
	k.same("the input", rec.Input, id.Input)
	k.same("the journal", rec.Journal, slices.Concat(first.Entries, c.Entries))
	k.same("the inbox", rec.Inbox, receipt.Unseen)
	c = batch("a", 2, 1, durable.StatusSucceeded)
	c.Seen, c.Result = 1, noise(5, size)
	c.Entries[0].Payload = d.Payload // as the journal takes a delivery in
	k.commit(c)
	rec = k.load("a")
	k.same("the result", rec.Result, c.Result)
	k.same("the last entry", rec.Journal[2], c.Entries[0])
	k.unchanged("a", func() { k.commit(c) })
	k.wantErr(k.store.Delete(k.ctx, "a"), nil, "Delete")
}

// odd are names that a store may stumble over; some differ only to the eye
// of a careful one.
var odd = []string{
	"plain", "Plain", "with space", " leading", "trailing ", "tab\tline\nend", "sla/sh//es/", "../..", `back\slash`,
	`quo"te's`, "`tick`", "semi;colon--", "per%cent_score", "per%centXscore", "*?[a-z]", "#hash~1", "E#plain", "plain\x1f", "a=b&c=d", "null", "0", "00", "-1",
	"ünïcødé", "u\u0308nicode", "ünicode", "日本語", "🧵 thread", "\u202ertl", strings.Repeat("x", 200), strings.Repeat("x", 199), strings.Repeat("é", 100),
}

func oddNames(k *kit) {
	for i, name := range odd {
		id := durable.Identity{ID: name, Definition: name, Version: name, Fingerprint: name, Created: at(0)}
		first := batch(name, 1, 1, durable.StatusRunning)
		first.Entries[0] = durable.Entry{Kind: durable.EntryStart, Op: int64(i) + 1, At: at(i), First: true, Name: name}
		first.Lease, first.Open, first.Detail = at(30), []string{name}, name
		k.create(&durable.Create{Identity: id, Now: at(0), Owner: name, First: first})
		k.refuseDelivery(callback(name, "other", "n", at(1)), durable.ErrNotOpen)
		k.deliver(beat(name, name, "h", at(1)))
	}
	for i, name := range odd {
		d := callback(name, name, name, at(2))
		k.deliver(d)
		k.refuseLoser(callback(name, name, "other", at(2)), name)
		k.same("due", k.dueAll(name, name, at(30), 0), []string{name})
		rec := k.claim(name, "other", at(30))
		d.Seq = 1
		k.same("the inbox", rec.Inbox, []durable.Delivery{*d})
		k.wantOps(rec, int64(i)+1)
		k.same("the heartbeats", rec.Heartbeats, map[string]time.Time{name: at(1)})
		k.same("the names", []string{rec.ID, rec.Definition, rec.Version, rec.Fingerprint, rec.Owner, rec.Detail, rec.Journal[0].Name},
			[]string{name, name, name, name, "other", name, name})
		k.same("heads of the definition", idsOf(k.listAll(&durable.ListQuery{Definition: name})), []string{name})
	}
	want := slices.Sorted(slices.Values(odd))
	k.same("all heads", idsOf(k.listAll(&durable.ListQuery{Limit: 7})), want)
	for _, name := range odd {
		k.commit(batch(name, 2, 1, durable.StatusSucceeded))
		k.wantErr(k.store.Delete(k.ctx, name), nil, "Delete(%q)", name)
		k.wantErr(loadErr(k, name), durable.ErrNotFound, "Load of the deleted %q", name)
	}
}

// scribble overwrites everything that v leads to without changing v itself.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
			v.Elem().SetZero()
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Map:
		v.Clear()
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scribble(v.Field(i))
			}
		}
	}
}

// dirty overwrites what p points to and all behind it.
func dirty(p any) { scribble(reflect.ValueOf(p)) }

// spoilt makes arguments that can be sent, spoilt, and made once more to
// compare with.
type spoilt struct{}

func (spoilt) create() *durable.Create {
	first := batch("a", 1, 1, durable.StatusRunning)
	first.Lease, first.Open = at(30), []string{"x", "y", "z"}
	first.Entries = []durable.Entry{filled[durable.Entry](100)}
	first.Entries[0].Scope = durable.ScopeUnwind
	return &durable.Create{Identity: fullIdentity("a"), Now: at(0), Owner: "w1/1", First: first}
}

func (spoilt) park() *durable.Commit {
	c, park := batch("a", 1, 2, durable.StatusParked), filled[durable.Park](200)
	c.Park, c.Close = &park, []string{"z"}
	return c
}

func (spoilt) delivery() *durable.Delivery {
	d, failure := callback("a", "x", "n1", at(1)), filled[durable.Error](400)
	d.Error = &failure
	return d
}

func (spoilt) end(id string, status durable.Status) *durable.Commit {
	c := batch(id, 1, 2, status)
	if failure := filled[durable.Error](300); status == durable.StatusFailed {
		c.Error = &failure
	} else {
		c.Result = []byte("result")
	}
	return c
}

func isolation(k *kit) {
	var made spoilt
	create, c, d := made.create(), made.park(), made.delivery()
	k.create(create)
	dirty(create)
	k.deliver(d)
	dirty(d)
	receipt := k.commit(c)
	dirty(c)
	k.deliver(beat("a", "y", "h", at(2)))

	wantD := made.delivery()
	wantD.Seq = 1
	k.same("the receipt", receipt.Unseen, []durable.Delivery{*wantD})
	clean := k.load("a")
	k.same("the identity", clean.Identity, made.create().Identity)
	k.same("the journal", clean.Journal, slices.Concat(made.create().First.Entries, made.park().Entries))
	k.same("the inbox", clean.Inbox, []durable.Delivery{*wantD})
	k.same("the park", clean.Park, made.park().Park)
	k.unchanged("a", func() {
		dirty(&receipt)
		dirty(k.load("a"))
		heads := k.listAll(&durable.ListQuery{})
		dirty(&heads)
		again := k.commit(made.park()) // our own write
		dirty(&again)
	})
	k.deliver(verb("a", "v1", 2, at(3)))
	rec := k.claim("a", "w2/1", at(3))
	k.unchanged("a", func() { dirty(rec) })
	c = batch("a", 2, 1, durable.StatusRunning)
	c.IfSeen = true
	refused := k.refuse(c, durable.ErrUnseen)
	k.unchanged("a", func() { dirty(&refused) })
}

func isolationOfTheEnd(k *kit) {
	var made spoilt
	for _, status := range []durable.Status{durable.StatusSucceeded, durable.StatusFailed} {
		id := status.String()
		k.born(id)
		c, want := made.end(id, status), made.end(id, status)
		k.commit(c)
		dirty(c)
		for range 2 {
			rec := k.load(id)
			k.same("result and error", []any{rec.Result, rec.Error}, []any{want.Result, want.Error})
			dirty(rec)
			heads := k.listAll(&durable.ListQuery{})
			dirty(&heads)
		}
	}
}
