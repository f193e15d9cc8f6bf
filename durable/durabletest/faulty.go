package durabletest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/clewdev/clew/durable"
)

// Fault is what happens at a write.
type Fault uint8

// The faults.
const (
	// CrashBefore: the process dies before the write reaches the store.
	CrashBefore Fault = iota + 1
	// CrashAfter: the write lands and the process dies before it hears so.
	CrashAfter
	// LoseAnswer: the write lands, its answer is lost, the process lives on.
	LoseAnswer
)

func (f Fault) String() string {
	return [...]string{"no fault", "crash before", "crash after", "answer lost of"}[f]
}

// faulty is the store as one process sees it: at its n-th write a fault
// happens, and once the process is gone nothing comes through any more.
type faulty struct {
	durable.Store
	n     int // 0 is never
	fault Fault
	gone  error // what a process that is gone hears
	// proven: the death of this process is proven to the next one.
	proven bool

	mu      sync.Mutex
	writes  int
	hit     bool
	dead    bool
	crashed chan struct{}
}

var (
	errAnswerLost  = errors.New("durabletest: answer lost")
	errUnreachable = errors.New("durabletest: store unreachable")
)

// newFaulty makes the store of a process. One whose death will be proven
// hears, once dead, what one that lost its claim hears, and so falls silent
// at once. One whose death can't be proven is only cut off: its bodies run on
// for as long as they like, beside those of the next process.
func newFaulty(store durable.Store, n int, fault Fault, proven bool) *faulty {
	f := &faulty{Store: store, n: n, fault: fault, gone: errUnreachable, proven: proven, crashed: make(chan struct{})}
	if proven {
		f.gone = durable.ErrFenced
	}
	return f
}

// write lets a write through, or makes the fault of it.
func (f *faulty) write(do func() error) error {
	f.mu.Lock()
	if f.dead {
		f.mu.Unlock()
		return f.gone
	}
	f.writes++
	fault := Fault(0)
	if f.writes == f.n {
		fault, f.hit = f.fault, true
	}
	if fault == CrashBefore {
		f.die()
		f.mu.Unlock()
		return f.gone
	}
	if fault == CrashAfter {
		// Nobody sees the write land: it is done before the lock is released.
		defer f.mu.Unlock()
		_ = do()
		f.die()
		return f.gone
	}
	f.mu.Unlock()
	err := do()
	if fault == LoseAnswer {
		return errAnswerLost
	}
	return err
}

// die ends the process; f.mu is held.
func (f *faulty) die() {
	f.dead = true
	close(f.crashed)
}

func (f *faulty) alive() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return f.gone
	}
	return nil
}

func (f *faulty) Create(ctx context.Context, c *durable.Create) error {
	return f.write(func() error { return f.Store.Create(ctx, c) })
}

func (f *faulty) Claim(ctx context.Context, c *durable.Claim) (rec *durable.Record, err error) {
	err = f.write(func() (err error) {
		rec, err = f.Store.Claim(ctx, c)
		return err
	})
	return rec, err
}

func (f *faulty) Commit(ctx context.Context, c *durable.Commit) (r durable.Receipt, err error) {
	err = f.write(func() (err error) {
		r, err = f.Store.Commit(ctx, c)
		return err
	})
	return r, err
}

func (f *faulty) Deliver(ctx context.Context, d *durable.Delivery) error {
	return f.write(func() error { return f.Store.Deliver(ctx, d) })
}

func (f *faulty) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	if err := f.alive(); err != nil {
		return durable.DuePage{}, err
	}
	return f.Store.Due(ctx, q)
}

func (f *faulty) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	return f.Store.Load(ctx, id, what)
}

// plan is what one run does: the fault of each process in turn, and whether
// the death of a process is proven to the next one or found out by time.
type plan struct {
	faults []at
	proven bool
}

type at struct {
	write int
	fault Fault
}

func (p plan) String() string {
	s := ""
	for i, f := range p.faults {
		if i > 0 {
			s += ", then "
		}
		s += fmt.Sprintf("%v write %d", f.fault, f.write)
	}
	if s == "" {
		return "without faults"
	}
	if p.proven {
		return s + ", death proven"
	}
	return s + ", death unproven"
}
