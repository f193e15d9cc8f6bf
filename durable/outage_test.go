package durable

import (
	"testing"
	"time"
)

// TestOutageHoldsClaims: after looks that failed, or one that took as long,
// nothing is claimed for a while; and then it is, however slow looks are.
func TestOutageHoldsClaims(t *testing.T) {
	const grace = 10 * time.Second
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for _, tt := range []struct {
		name   string
		failed []int    // when looks failed
		looks  [][2]int // when others began and ended
		held   []bool   // whether they had to hold
	}{
		{"no outage", nil, [][2]int{{0, 0}, {1, 2}}, []bool{false, false}},
		{"short", []int{1, 5}, [][2]int{{9, 9}}, []bool{false}},
		{"long", []int{1, 100}, [][2]int{{300, 300}, {305, 305}, {310, 310}, {311, 311}}, []bool{true, true, false, false}},
		{"one slow look", nil, [][2]int{{0, 60}, {61, 61}, {70, 70}}, []bool{true, true, false}},
		{"always slow", nil, [][2]int{{0, 20}, {30, 50}, {51, 71}}, []bool{true, false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o outage
			for _, s := range tt.failed {
				o.fails(at(s))
			}
			for i, look := range tt.looks {
				if held := !o.over(at(look[0]), at(look[1]), grace).IsZero(); held != tt.held[i] {
					t.Errorf("look %d: held %v, want %v", i+1, held, tt.held[i])
				}
			}
		})
	}
}
