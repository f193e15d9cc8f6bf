package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// typesOf are the types of a history's events, which must be numbered.
func typesOf(t *testing.T, rec *durable.Record) (types []string) {
	t.Helper()
	for e := range durable.History(rec) {
		types = append(types, e.Type)
		if e.ID != int64(len(types)) {
			t.Errorf("event %d has number %d", len(types), e.ID)
		}
	}
	return types
}

// TestHistoryOfAnOperatorsAct: what parked, who acted, and the cancel after it
// are events of their own, with their reasons.
func TestHistoryOfAnOperatorsAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		e, err := durable.New(store, durable.Options{HotWait: -1})
		if err != nil {
			t.Fatal(err)
		}
		def := durable.Define("stuck", "1", func(c *durable.Context, _ int) (int, error) {
			if _, err := c.Park("stand", durable.Park{Reason: "doubt", Message: "look", Verbs: []durable.Verb{durable.VerbResume}}); err != nil {
				return 0, err
			}
			cb, err := durable.CreateCallback[int](c, "answer", durable.WithCallbackTimeout(time.Hour))
			if err != nil {
				return 0, err
			}
			return cb.Result(c)
		})
		if err := e.Register(def); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		if _, err := def.Start(ctx, e, "x", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		load := func() *durable.Record {
			rec, err := store.Load(ctx, "x", durable.LoadAll)
			if err != nil {
				t.Fatal(err)
			}
			return rec
		}
		if err := e.Act(ctx, "x", load().Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "mended"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := e.Cancel(ctx, "x", "ada", "enough"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		rec := load()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := []string{"ExecutionStarted", "ExecutionParked", "InvocationCompleted", "OperatorActed", "CallbackStarted", "InvocationCompleted",
			"CancelRequested", "CallbackCancelled", "InvocationCompleted", "ExecutionStopped"}
		if got := typesOf(t, rec); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for e := range durable.History(rec) {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			for typ, says := range map[string]string{
				"ExecutionParked": `"Reason":"doubt"`, "OperatorActed": `"Actor":"ada"`, "CancelRequested": `"Reason":"enough"`,
				"CallbackStarted": `"Timeout":3600`,
			} {
				if e.Type == typ && !strings.Contains(string(b), says) {
					t.Errorf("%s: got %s, want it to say %s", typ, b, says)
				}
			}
		}
	})
}

// TestHistoryEndsEarly: who has seen enough is told no more.
func TestHistoryEndsEarly(t *testing.T) {
	rec := &durable.Record{Head: durable.Head{Status: durable.StatusFailed, Error: &durable.Error{Message: "no"}}}
	count := 0
	for range durable.History(rec) {
		count++
		break
	}
	if count != 1 {
		t.Errorf("got %d events, want 1", count)
	}
	if got, want := typesOf(t, rec), []string{"ExecutionStarted", "InvocationCompleted", "ExecutionFailed"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzHistory: whatever entries a store holds, events are numbered without
// gaps, and deriving them neither fails nor reads beyond them.
func FuzzHistory(f *testing.F) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Add(durable.EncodeEntries([]durable.Entry{
		{Kind: durable.EntryStart, Op: 1, At: at, First: true, Pos: 1, Type: durable.OpStep, Name: "a", Attempt: 1, Epoch: 1},
		{Kind: durable.EntryLost, Op: 1, At: at, Retry: true, Epoch: 2},
		{Kind: durable.EntryStart, Op: 1, At: at, Attempt: 1, Epoch: 2},
		{Kind: durable.EntryFailure, Op: 1, At: at, Attempt: 1, Retry: true, Delay: time.Second, Error: &durable.Error{Message: "m"}},
		{Kind: durable.EntrySuspended, At: at, Epoch: 2},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := durable.DecodeEntries(b)
		if err != nil {
			t.Skip(errors.Unwrap(err))
		}
		typesOf(t, &durable.Record{Head: durable.Head{Status: durable.StatusSucceeded}, Journal: entries})
	})
}
