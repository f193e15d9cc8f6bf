package lambdalocal

import (
	"fmt"
	"testing"
	"time"

	"github.com/clewdev/clew/internal/sqslocal"
)

// The deadline does not wait for a sandbox that stands still.
func TestFrozenPastDeadline(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Timeout: 2 * time.Second, Chaos: Chaos{Freeze: 1, FreezeFor: [2]time.Duration{time.Hour, time.Hour}, Within: time.Millisecond}})
	r := invoke(t, l, "pay", `{"Do":"sleep","For":"1s"}`)
	if e, ok := r.Err().(*FunctionError); !ok || e.Type != TypeTimeout {
		t.Errorf("the error is %v", r.Err())
	}
	if s := l.Stats("pay"); s.Stalls != 1 || s.Timeouts != 1 || s.Kills != 0 {
		t.Errorf("stats are %+v, want one stall and one timeout", s)
	}
}

func TestThawed(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Timeout: time.Minute, Chaos: Chaos{Freeze: 1, FreezeFor: [2]time.Duration{1500 * time.Millisecond, 1600 * time.Millisecond}, Within: time.Millisecond}})
	r := invoke(t, l, "pay", `{"Do":"sleep","For":"1s"}`)
	if r.Err() != nil || r.Duration < 1500*time.Millisecond || l.Stats("pay").Stalls != 1 {
		t.Errorf("the result is %v after %v, stats %+v: want one that was delayed by its freeze", r.Err(), r.Duration, l.Stats("pay"))
	}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	pay(t, l, Function{Timeout: time.Minute, Chaos: Chaos{Kill: 1, Within: 10 * time.Millisecond}})
	r := invoke(t, l, "pay", `{"Do":"sleep","For":"1h"}`)
	if e, ok := r.Err().(*FunctionError); !ok || e.Type != TypeExit {
		t.Errorf("the error is %v", r.Err())
	}
	if s := l.Stats("pay"); s.Kills != 1 || s.Exits != 1 {
		t.Errorf("stats are %+v, want one kill", s)
	}
}

// Under all of it every message is taken in the end.
func TestChaos(t *testing.T) {
	t.Parallel()
	l, q, p, file := mapped(t, Function{Timeout: 2 * time.Second, Chaos: Chaos{Freeze: 0.3, FreezeFor: [2]time.Duration{0, 3 * time.Second},
		Kill: 0.3, Duplicate: 0.2, Within: 20 * time.Millisecond}}, sqslocal.QueueOptions{Visibility: 2 * time.Second}, Mapping{BatchSize: 3})
	const messages = 60
	want := map[string]bool{}
	for n := range messages {
		want[send(t, q, fmt.Sprintf(`{"Do":"sleep","For":"30ms","N":%d}`, n), 0)] = true
	}
	until(t, func() bool { return depth(t, q) == 0 })
	p.Stop()
	for _, line := range lines(file) {
		m := decode[struct{ MessageID string }](t, []byte(line))
		delete(want, m.MessageID)
	}
	if len(want) > 0 {
		t.Errorf("%d messages were deleted without having come", len(want))
	}
	s := l.Stats("pay")
	t.Logf("stats: %+v, mapping: %+v", s, p.Stats())
	if s.Kills == 0 || s.Stalls == 0 || s.Duplicates == 0 {
		t.Errorf("stats are %+v: nothing was disturbed", s)
	}
}
