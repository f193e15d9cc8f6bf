package durabletest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
)

// billed is a store with one execution.
type billed struct {
	durable.Store
	rec durable.Record
	err error
}

func (b *billed) Load(context.Context, string, durable.Load) (*durable.Record, error) {
	return &b.rec, b.err
}

// listener hears what a test would fail with.
type listener struct {
	testing.TB
	said []string
}

func (l *listener) Helper() {}

func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

func TestWithinBudget(t *testing.T) {
	used := durable.Usage{Requests: 6, WriteUnits: 6, IndexUnits: 2, ReadUnits: 1, Bytes: 4000}
	for _, tt := range []struct {
		name   string
		status durable.Status
		used   durable.Usage
		err    error
		budget durabletest.Budget
		says   []string // a text of each failure
	}{
		{"exact", durable.StatusSucceeded, used, nil, durabletest.Budget{Requests: 6, WriteUnits: 8, ReadUnits: 1}, nil},
		{"no limit", durable.StatusFailed, used, nil, durabletest.Budget{}, nil},
		{"over", durable.StatusSucceeded, used, nil, durabletest.Budget{Requests: 5, WriteUnits: 7, ReadUnits: 0.5},
			[]string{"5 requests", "7 write units: 6 requests, 8 write units (6 of the table, 2 of indexes)", "0.5 read units"}},
		{"still running", durable.StatusRunning, used, nil, durabletest.Budget{}, []string{"running"}},
		{"no bill", durable.StatusSucceeded, durable.Usage{}, nil, durabletest.Budget{}, []string{"keeps none"}},
		{"no execution", durable.StatusSucceeded, used, durable.ErrNotFound, durabletest.Budget{}, []string{"no such execution"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heard, store := &listener{}, &billed{err: tt.err}
			store.rec.Status, store.rec.Usage = tt.status, tt.used
			durabletest.WithinBudget(heard, store, "order-1", tt.budget)
			if len(heard.said) != len(tt.says) {
				t.Fatalf("got %q, want %d failures", heard.said, len(tt.says))
			}
			for i, says := range tt.says {
				if !strings.Contains(heard.said[i], says) {
					t.Errorf("got %q, want it to say %q", heard.said[i], says)
				}
			}
		})
	}
}
