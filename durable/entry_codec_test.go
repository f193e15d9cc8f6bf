package durable

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// fullEntries has every field set once and, in its last entry, none.
func fullEntries() []Entry {
	at := time.UnixMicro(1_790_000_000_123_456).UTC()
	return []Entry{
		{Kind: EntryStart, Op: 7, At: at, First: true, Parent: 3, Scope: ScopeUnwind, Pos: 2, Type: OpStep,
			Subtype: "Undo", Name: "reserve", Link: 4, Attempt: 1, Epoch: 9, Timeout: 30 * time.Second, Heartbeat: time.Second},
		{Kind: EntryFailure, Op: 7, At: at.Add(1500 * time.Microsecond), Attempt: 1, Retry: true, Delay: 1234567, NoEffect: true,
			Error: &Error{Type: "*net.OpError", Code: "dial", Message: "refused", Data: []byte(`{"a":1}`)}},
		{Kind: EntryVerb, At: at.Add(-time.Hour), Payload: []byte{}, Actor: "ada", Reason: "why not", Delivery: 5},
		{Kind: EntrySuspended, At: at},
	}
}

func TestEntriesRoundTrip(t *testing.T) {
	want := fullEntries()
	got, err := DecodeEntries(EncodeEntries(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestEntriesAreSmall(t *testing.T) {
	at := time.Now()
	b := EncodeEntries([]Entry{
		{Kind: EntryResult, Op: 3, At: at, Attempt: 1},
		{Kind: EntryStart, Op: 4, At: at.Add(time.Millisecond), First: true, Pos: 4, Type: OpStep, Name: "ship", Attempt: 1, Epoch: 1},
	})
	if len(b) > 40 {
		t.Errorf("a result and the next start take %d bytes, want at most 40", len(b))
	}
}

func TestEntriesOfANewerFormatAreNamed(t *testing.T) {
	b := EncodeEntries(fullEntries())
	b[0] = 99
	if _, err := DecodeEntries(b); err == nil || !bytes.Contains([]byte(err.Error()), []byte("format 99")) {
		t.Fatalf("got %v, want an error that names format 99", err)
	}
}

func FuzzDecodeEntries(f *testing.F) {
	f.Add(EncodeEntries(fullEntries()))
	f.Add([]byte{entryFormat, 0, 1, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := DecodeEntries(b)
		if err != nil || len(entries) == 0 {
			return
		}
		again, err := DecodeEntries(EncodeEntries(entries))
		if err != nil || !reflect.DeepEqual(entries, again) {
			t.Fatalf("%+v\nbecame %+v, %v", entries, again, err)
		}
	})
}
