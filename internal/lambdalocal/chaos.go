package lambdalocal

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// Chaos is what is done to a function's invocations, at moments that the
// Lambda's seed decides. Shares are between 0 and 1.
type Chaos struct {
	// Freeze is the share of invocations whose sandbox stands still once, for
	// a time between the two of FreezeFor. Its deadline does not wait.
	Freeze    float64
	FreezeFor [2]time.Duration
	// Kill is the share of invocations whose sandbox is killed.
	Kill float64
	// Duplicate is the share of messages from queues and of asynchronous
	// events that are delivered twice.
	Duplicate float64
	// Within is the time after the delivery in which all of this begins: 100
	// ms if it is 0. An invocation that has ended by then has escaped.
	Within time.Duration
}

func (c *Chaos) check() error {
	for _, share := range []float64{c.Freeze, c.Kill, c.Duplicate} {
		if share < 0 || share > 1 {
			return fmt.Errorf("lambdalocal: chaos: %v is no share: it is between 0 and 1", share)
		}
	}
	if c.FreezeFor[1] < c.FreezeFor[0] {
		return fmt.Errorf("lambdalocal: chaos: FreezeFor is from %v to %v: give the shorter one first", c.FreezeFor[0], c.FreezeFor[1])
	}
	c.Within = orElse(c.Within, 100*time.Millisecond)
	return nil
}

// dice are random numbers from a seed, for all.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, seed))} }

// chance is true in a share of cases.
func (d *dice) chance(share float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return share > 0 && d.r.Float64() < share
}

// between is a time in [from, to].
func (d *dice) between(from, to time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return from + time.Duration(d.r.Int64N(int64(to-from)+1))
}

// disturb does to an invocation what chaos has for it.
func (s *sandbox) disturb(inv *invocation) {
	c, d := s.fn.Chaos, s.fn.lambda.dice
	if d.chance(c.Kill) {
		at := d.between(0, c.Within)
		s.fn.lambda.work.Go(func() {
			if s.during(inv, at) && s.signal(inv, syscall.SIGKILL) {
				s.fn.stats.add(func(n *Stats) { n.Kills++ })
			}
		})
	}
	if d.chance(c.Freeze) {
		at, long := d.between(0, c.Within), d.between(c.FreezeFor[0], c.FreezeFor[1])
		s.fn.lambda.work.Go(func() {
			if s.during(inv, at) && s.signal(inv, syscall.SIGSTOP) {
				s.fn.stats.add(func(n *Stats) { n.Stalls++ })
				if s.during(inv, long) {
					s.signal(inv, syscall.SIGCONT)
				}
			}
		})
	}
}

// during waits, and says whether the invocation still runs then.
func (s *sandbox) during(inv *invocation, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-inv.over:
	case <-s.exited:
	}
	return false
}

// signal sends a signal to the sandbox while the invocation runs.
func (s *sandbox) signal(inv *invocation, sig syscall.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current == inv && s.send(sig)
}
