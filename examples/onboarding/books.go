package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"
)

// discontinued is a laptop that the shop does not sell any more.
const discontinued = "ThinkPad 701"

// laptops are the models on the form. The last one shows how an onboarding
// unwinds that was approved already.
var laptops = []string{"light, 13 inch", "strong, 16 inch", discontinued}

// books are the outside world: an entry for each key, which makes every call
// idempotent, in every process on them and after every crash. They know nothing of
// clew, so that an audit can hold them against it.
type books interface {
	outside
	records
	io.Closer
}

// The states of a key. A barred one is a tombstone: undone before it came.
const (
	stands = "stands"
	undone = "undone"
	barred = "barred"
)

// entry is what the books know of a key.
type entry struct {
	Effect
	Key   string
	ID    string
	State string
	At    time.Time // of the state
}

// refusal says why an effect is not had under a key of which the books know old;
// nil when it is there, or may be had because old is nil.
func (e Effect) refusal(key string, old *entry) error {
	switch {
	case old == nil && e.Kind == kindLaptop && e.Text == discontinued:
		return fmt.Errorf("%w: laptop model %q is discontinued", errRefused, e.Text)
	case old == nil:
		return nil
	case old.State == barred:
		return fmt.Errorf("%w: %q was undone before it came", errRefused, key)
	case old.Effect != e:
		return fmt.Errorf("key %q came for %+v before, and now for %+v", key, old.Effect, e)
	case old.State == undone:
		return fmt.Errorf("%w: %q was undone", errRefused, key)
	}
	return nil
}

// idOf is the ID of what was done under a key: laptop-4c1d05a7.
func idOf(kind, key string) string {
	first, _, _ := strings.Cut(kind, " ")
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s-%x", first, sum[:4])
}
