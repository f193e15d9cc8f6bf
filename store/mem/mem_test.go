package mem

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) durable.Store { return New() })
}

func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		storetest.Model(t, New(), 1000+seed, 200)
	}
}

// running puts a record that owner holds until lease.
func running(t *testing.T, s *Store, id, owner string, lease time.Time) {
	t.Helper()
	err := s.Create(t.Context(), &durable.Create{
		Identity: durable.Identity{ID: id, Definition: "order", Version: "1"},
		Owner:    owner,
		First:    &durable.Commit{Status: durable.StatusRunning, Lease: lease},
	})
	if err != nil {
		t.Fatalf("Create: got %v, want nil", err)
	}
}

func TestKillOwnerProvesClaimsDead(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		owner, killed string
		want          error
	}{
		{"e1/7", "e1", nil},
		{"e1", "e1", nil},
		{"e1/7", "e1/7", nil},
		{"e1/7/2", "e1", nil},
		{"e10/7", "e1", durable.ErrNotDue},
		{"e1/70", "e1/7", durable.ErrNotDue},
		{"e2/1", "e1", durable.ErrNotDue},
	} {
		s := New()
		running(t, s, "a", tc.owner, now.Add(time.Hour))
		s.KillOwner(tc.killed)
		rec, err := s.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "heir", Now: now, Lease: now.Add(time.Hour)})
		if !errors.Is(err, tc.want) {
			t.Errorf("Claim from %q after the death of %q: got %v, want %v", tc.owner, tc.killed, err, tc.want)
		}
		if err == nil && (rec.SafeEpoch != 1 || rec.Crashes != 1) {
			t.Errorf("after the death of %q: got safe epoch %d, %d crashes, want 1, 1", tc.killed, rec.SafeEpoch, rec.Crashes)
		}
	}
}

func TestKillOwnerTouchesNoLaterClaim(t *testing.T) {
	now := time.Now()
	s := New()
	s.KillOwner("e1")
	running(t, s, "a", "e1/1", now.Add(time.Minute))
	_, err := s.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "e2/1", Now: now, Lease: now})
	if !errors.Is(err, durable.ErrNotDue) {
		t.Errorf("Claim from an engine that took a dead one's ID: got %v, want %v", err, durable.ErrNotDue)
	}
	page, err := s.Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: now})
	if err != nil || len(page.IDs()) != 0 {
		t.Errorf("Due: got %+v, %v, want nothing", page, err)
	}
}

// TestInABubble lets one engine's lease run out in virtual time while another
// polls: the store must let the bubble's clock move.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := New(), time.Now()
		running(t, s, "a", "e1/1", start.Add(30*time.Second))
		done := make(chan time.Duration)
		go func() {
			for {
				now := time.Now()
				page, err := s.Due(context.Background(), &durable.DueQuery{Definition: "order", Version: "1", Now: now})
				if err != nil || len(page.IDs()) > 0 {
					done <- now.Sub(start)
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if got, want := <-done, 30*time.Second; got != want {
			t.Errorf("due after %v, want after %v", got, want)
		}
	})
}

func TestTimesComeBackAsFromDisk(t *testing.T) {
	s := New()
	now := time.Now().In(time.FixedZone("elsewhere", 3600)).Truncate(time.Microsecond).Add(789)
	running(t, s, "a", "e1/1", now)
	_, err := s.Commit(t.Context(), &durable.Commit{
		ID: "a", Epoch: 1, Seq: 2, Now: now, Status: durable.StatusSuspended, Due: now,
		Entries: []durable.Entry{{Kind: durable.EntrySuspended, At: now}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Load(t.Context(), "a", durable.LoadAll)
	if err != nil {
		t.Fatal(err)
	}
	if want := now.Round(0).UTC(); rec.Due != want || rec.Lease != want {
		t.Errorf("got due %v, lease %v, want %v", rec.Due, rec.Lease, want)
	}
	if got, want := rec.Journal[0].At, now.Round(0).UTC().Add(-789); got != want {
		t.Errorf("time of an entry: got %v, want %v", got, want)
	}
	entries, err := durable.DecodeEntries(durable.EncodeEntries(rec.Journal))
	if err != nil || !reflect.DeepEqual(entries, rec.Journal) {
		t.Errorf("through the stored form: got %+v, %v, want %+v", entries, err, rec.Journal)
	}
}

func TestEndedContextChangesNothing(t *testing.T) {
	s, now := New(), time.Now()
	running(t, s, "a", "e1/1", now)
	before := fmt.Sprintf("%+v", *s.rows["a"])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]func() error{
		"Create": func() error { return s.Create(ctx, &durable.Create{Identity: durable.Identity{ID: "b"}}) },
		"Claim": func() error {
			_, err := s.Claim(ctx, &durable.Claim{ID: "a", Owner: "e2/1", Now: now, Lease: now})
			return err
		},
		"Commit": func() error {
			_, err := s.Commit(ctx, &durable.Commit{ID: "a", Epoch: 1, Seq: 2, Status: durable.StatusSucceeded})
			return err
		},
		"Deliver": func() error { return s.Deliver(ctx, &durable.Delivery{ID: "a", Kind: durable.DeliverCancel}) },
		"Load":    func() error { _, err := s.Load(ctx, "a", durable.LoadAll); return err },
		"Due":     func() error { _, err := s.Due(ctx, &durable.DueQuery{}); return err },
		"List":    func() error { _, err := s.List(ctx, &durable.ListQuery{}); return err },
		"Delete":  func() error { return s.Delete(ctx, "a") },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
	}
	if after := fmt.Sprintf("%+v", *s.rows["a"]); after != before || len(s.rows) != 1 {
		t.Errorf("got %d rows, the first %s\nwant 1, %s", len(s.rows), after, before)
	}
}

func TestForeignCursorIsNamed(t *testing.T) {
	_, err := New().Due(t.Context(), &durable.DueQuery{Cursor: "from elsewhere"})
	if err == nil || !strings.Contains(err.Error(), `"from elsewhere"`) {
		t.Errorf("got %v, want an error that names the cursor", err)
	}
}
