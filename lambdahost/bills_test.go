package lambdahost

import (
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

type billing struct{ durable.Store }

func (billing) Bills() bool { return true }

// TestBills: what executions have consumed is known on Lambda too, if the store
// knows it.
func TestBills(t *testing.T) {
	for want, store := range map[bool]durable.Store{false: mem.New(), true: billing{mem.New()}} {
		var s durable.Store = &waking{Store: store}
		if b, ok := s.(durable.Biller); !ok || b.Bills() != want {
			t.Errorf("%T passes on %v, want %v", store, !want, want)
		}
	}
}
