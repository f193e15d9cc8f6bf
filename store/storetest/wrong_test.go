package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// recorder is the tb of a check that is expected to fail.
type recorder struct {
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// Fatalf ends the check's goroutine, as testing does.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// attempt runs one check and returns how it failed; nothing if it passed.
func attempt(t *testing.T, c check, store durable.Store) []string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		c.run(&kit{tb: r, ctx: t.Context(), store: store})
	}()
	<-done
	return r.failures
}

// TestWrongStoresAreCaught is the suite's own test: it breaks one promise at
// a time and expects the check of that promise, by name, to fail.
func TestWrongStoresAreCaught(t *testing.T) {
	for _, wrong := range wrongStores {
		t.Run(wrong.name, func(t *testing.T) {
			var caught []string
			var why string
			for _, c := range checks() {
				if (c.name == "BigPayloads" || c.name == "Create/Copied") && c.name != wrong.want {
					continue // slow, and no other fault is about size
				}
				failures := attempt(t, c, &serial{store: wrong.wrap(mem.New())})
				if len(failures) == 0 {
					continue
				}
				caught = append(caught, c.name)
				if c.name == wrong.want {
					why = failures[0]
				}
			}
			if !slices.Contains(caught, wrong.want) {
				t.Fatalf("got caught by %q, want by %s", caught, wrong.want)
			}
			t.Logf("caught by %s", strings.Join(caught, ", "))
			t.Logf("%s says: %.300s", wrong.want, why)
		})
	}
}

// TestTheOraclePasses holds the model to the same promises, so that it cannot
// err together with the store it was written beside. It shares its memory and
// knows no pages, and is excused from what is about these.
func TestTheOraclePasses(t *testing.T) {
	for _, c := range checks() {
		switch c.name {
		case "Isolation", "Isolation/End", "Due/Pages", "Due/Ended", "List", "List/Tags", "List/Created", "List/Ended", "Limits", "OddNames":
			continue
		}
		if failures := attempt(t, c, &serial{store: oracle{}}); len(failures) > 0 {
			t.Errorf("%s: %s", c.name, failures[0])
		}
	}
}

// TestTheSeedDecides makes a failure of Model reproducible by its seed.
func TestTheSeedDecides(t *testing.T) {
	calls := func() []string {
		k := &kit{tb: t, ctx: t.Context(), store: mem.New()}
		return model(k, 7, 100)
	}
	if first, second := calls(), calls(); !slices.Equal(first, second) || len(first) != 200 {
		t.Fatalf("two walks with one seed: got %d and %d calls that differ, want the same 200", len(first), len(second))
	}
}
