package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/clewdev/clew/durable"
)

// A claim is written only if the record is still the one that was read:
// whatever came in between is read too, on the next try.
func TestClaimOfAChangedRecord(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *Store){
		"nothing": func(*testing.T, *Store) {},
		"delivery": func(t *testing.T, s *Store) {
			d := &durable.Delivery{ID: "a", Key: "cb", Nonce: "n", Kind: durable.DeliverCallback, Now: now}
			if err := s.Deliver(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		},
		"commit": func(t *testing.T, s *Store) {
			if _, err := s.Commit(t.Context(), step("a", 1, 2, durable.StatusRunning)); err != nil {
				t.Fatal(err)
			}
		},
		"lease": func(t *testing.T, s *Store) {
			c := step("a", 1, 2, durable.StatusRunning)
			c.Lease = late.Add(1)
			if _, err := s.Commit(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		},
		"claim": func(t *testing.T, s *Store) {
			if _, err := s.Claim(t.Context(), &durable.Claim{ID: "a", Owner: "quick", Now: late, Lease: late}); err != nil {
				t.Fatal(err)
			}
		},
		"another of the same name": func(t *testing.T, s *Store) {
			end := step("a", 1, 2, durable.StatusSucceeded)
			if _, err := s.Commit(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			create(t, s, running("b")) // takes the place of the old one
			create(t, s, running("a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openAt(t, filepath.Join(t.TempDir(), "clew.db"))
			c := running("a")
			c.First.Open = []string{"cb"}
			create(t, s, c)
			read, err := s.load(t.Context(), "a", func(*row) (bool, error) { return true, nil })
			if err != nil {
				t.Fatal(err)
			}
			change(t, s)
			claim := &durable.Claim{ID: "a", Owner: "heir", Now: late, Lease: late}
			won, err := s.swap(t.Context(), read, claim, false)
			if want := name == "nothing"; err != nil || won != want {
				t.Errorf("got %v, %v, want %v", won, err, want)
			}
		})
	}
}
