package lambdahost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/bits"
	"sync"
	"time"

	"github.com/clewdev/clew/durable"
)

// sweep turns what is due, or soon will be, into wake-ups. Without a queue it
// runs what is due itself.
type sweep struct {
	Clew string `json:"clew"`
}

func (s *sweep) check([]byte) (job, error) { return s, nil }

// ahead is how much longer than to the next sweep one looks ahead: ticks are not
// punctual.
const ahead = 15 * time.Second

// maxSwept bounds what one sweep takes on. What is left gets its turn in the next
// ones (see again).
const maxSwept = 10_000

// sweptAtOnce is how many executions a sweep without a queue runs at once.
const sweptAtOnce = 64

// found is what a sweep has seen.
type found struct {
	Sent   int           `json:"sent"`   // wake-ups
	Ran    int           `json:"ran"`    // executions, where there is no queue
	Due    int           `json:"due"`    // overdue by now
	Parked int           `json:"parked"` // at most maxParked
	oldest time.Duration // since the longest overdue became due
	late   time.Duration // since that one did that waits for its time, and not for the end of a lease
}

func (s *sweep) do(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error) {
	var f found
	var err error
	if f.Parked, err = parked(ctx, v.store); err != nil { // first, because the rest may take all time
		return nil, err
	}
	defs, err := s.roster(ctx, v, e)
	failed := []error{err}
	var wg sync.WaitGroup
	at := time.Now()
	for _, d := range defs {
		failed = append(failed, s.look(ctx, v, e, &wg, d, &f, at))
	}
	wg.Wait()
	if f.Sent > 0 {
		// Nothing else is sent any more: with a queue a sweep runs nothing.
		if n := len(v.mail.close()); n > 0 {
			f.Sent -= n
			failed = append(failed, fmt.Errorf("lambdahost: sweep: %d wake-ups could not be queued", n))
		}
	}
	// What was seen counts also if that was not all: an alarm on what is late
	// must not fall silent when there is too much of it.
	v.h.emitMetrics(metric{"Parked", "Count", f.Parked}, metric{"Due", "Count", f.Due}, metric{"Sent", "Count", f.Sent},
		metric{"OldestDue", "Seconds", f.oldest.Seconds()}, metric{"Lateness", "Seconds", f.late.Seconds()})
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return json.Marshal(f)
}

// look does what is to be done for one definition version. The error of one
// keeps nobody from the others.
func (s *sweep) look(ctx context.Context, v *visit, e *durable.Engine, wg *sync.WaitGroup, d [2]string, f *found, at time.Time) error {
	q := &durable.DueQuery{Definition: d[0], Version: d[1], Now: at.Add(v.h.opts.SweepPeriod + ahead), Limit: 100}
	for more := true; more && f.Sent+f.Ran < maxSwept; more = q.Cursor != "" {
		page, err := v.store.Due(ctx, q)
		if err != nil {
			return fmt.Errorf("lambdahost: sweep of %s@%s: %w", d[0], d[1], err)
		}
		for i := range page.Entries {
			s.take(ctx, v, e, wg, d, &page.Entries[i], f, at)
		}
		q.Cursor = page.Next
	}
	return nil
}

// roster is all definition versions whose due work is to be looked for: also
// those that only other versions of the function have.
func (s *sweep) roster(ctx context.Context, v *visit, e *durable.Engine) ([][2]string, error) {
	r, ok := v.store.Store.(durable.Roster)
	if !ok {
		return e.Definitions(), nil
	}
	defs, err := r.Enrol(ctx, e.Definitions())
	if err != nil {
		return e.Definitions(), fmt.Errorf("lambdahost: sweep: definitions of the table: %w", err)
	}
	return defs, nil
}

// take does what is to be done for one execution that is due or soon will be.
func (s *sweep) take(ctx context.Context, v *visit, e *durable.Engine, wg *sync.WaitGroup, d [2]string, due *durable.DueEntry, f *found, at time.Time) {
	age := at.Sub(due.At)
	if age >= 0 {
		f.Due++
		f.oldest = max(f.oldest, age)
		if !due.Running {
			f.late = max(f.late, age)
		}
	}
	r := &resume{Clew: "resume", ID: due.ID, Definition: d[0], Version: d[1], At: due.At, Hops: 1}
	switch {
	case age < 0 && due.Running: // its owner lives, as far as anybody knows
	case v.h.opts.Queue != "" && again(due.ID, age, v.h.opts.SweepPeriod):
		f.Sent++
		v.mail.send(r, -age)
	case v.h.opts.Queue == "" && age >= 0:
		f.Ran++
		wg.Go(func() {
			if _, err := r.do(ctx, v, e); err != nil && ctx.Err() == nil {
				v.h.log.Error("execution could not be resumed, and stays due", "execution", r.ID, "error", err)
			}
		})
	}
}

// again tells whether a wake-up is to be sent for what has been due so long: when
// it is found first, a minute later, and then once in each stretch that is as long
// as all before it, or a queue that cannot follow would fill with repetitions.
// When in a stretch differs from one execution to another, so that of many the
// first do not always take the place of the others.
func again(id string, age, period time.Duration) bool {
	n := uint64(max(age, 0) / period)
	if n == 0 {
		return true
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	return (n+h.Sum64())%(1<<(bits.Len64(n)-1)) == 0
}

// maxParked is up to how many the parked executions are counted.
const maxParked = 1000

func parked(ctx context.Context, store durable.Store) (n int, err error) {
	q := &durable.ListQuery{Statuses: []durable.Status{durable.StatusParked}, Limit: 100}
	for more := true; more && n < maxParked; more = q.Cursor != "" {
		page, err := store.List(ctx, q)
		if err != nil {
			return n, fmt.Errorf("lambdahost: sweep: parked executions: %w", err)
		}
		n += len(page.Heads)
		q.Cursor = page.Next
	}
	return n, nil
}
