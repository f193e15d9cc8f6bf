package saga_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

var (
	exhaustive = flag.Bool("exhaustive", false, "TestShapes: every shape and trial, not only a sample")
	whole      = flag.Bool("whole", false, "TestShapes: every trial of a shape, also those that say nothing new")
	sampled    = flag.Int("shapes", 0, "TestShapes: how many shapes, taken by chance; 0 is 100, or all with -exhaustive")
	most       = flag.Int("steps", 5, "TestShapes: steps of the largest shapes")
	seed       = flag.Uint64("seed", 1, "TestShapes: of the sample")
	from       = flag.Int("from", 1, "TestShapes: the first shape, where an earlier run came to")
)

// TestShapes runs sagas of every shape of up to five steps, with at most one
// group and one sub-saga, each without events, with every event at every site
// that it comes past, and with every second event at every site that it comes
// past then. Where one parks, it is left so, and taken out of it by every verb
// that there is. A sample takes shapes, and events of each, by chance; with
// -exhaustive it is all that say something new (see worth), with -whole too all
// that there are, which takes days for five steps.
func TestShapes(t *testing.T) {
	began := time.Now()
	var shapes []*shape
	for n := 1; n <= *most; n++ {
		shapes = append(shapes, shapesOf(n)...)
	}
	all := len(shapes)
	// Also of all shapes the order is by chance, so that the way there tells how
	// long it will take.
	r := rand.New(rand.NewPCG(*seed, 0))
	r.Shuffle(len(shapes), func(i, j int) { shapes[i], shapes[j] = shapes[j], shapes[i] })
	if *exhaustive {
		debug.SetGCPercent(400)
	}
	switch {
	case *sampled > 0:
		shapes = shapes[:min(*sampled, all)]
	case !*exhaustive:
		shapes = shapes[:min(100, all)]
	}
	total := tally{outcomes: map[string]int{}}
	exploreAll(t, shapes, &total)
	t.Logf("shapes %d to %d of %d, %d trials in %v, %d of them with an operator's act; %d violations", *from, len(shapes), all, total.trials, time.Since(began).Round(time.Millisecond), total.operated, len(total.wrong))
	for _, outcome := range slices.Sorted(maps.Keys(total.outcomes)) {
		t.Logf("%9d %s", total.outcomes[outcome], outcome)
	}
	for _, wrong := range total.wrong {
		t.Error(wrong)
	}
}

// exploreAll explores shapes, two at a time.
func exploreAll(t *testing.T, shapes []*shape, total *tally) {
	began := time.Now()
	var next atomic.Int64
	next.Store(int64(*from - 1))
	t.Run("explore", func(t *testing.T) {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for n := next.Add(1); n <= int64(len(shapes)) && !total.hopeless(); n = next.Add(1) {
					explore(t, shapes[n-1], total, rand.New(rand.NewPCG(*seed, uint64(n))))
					if n%1000 == 0 {
						fmt.Printf("%d of %d shapes, %d trials, %v\n", n, len(shapes), total.count(), time.Since(began).Round(time.Second))
					}
				}
			})
		}
	})
}

// tally is what all trials came to.
type tally struct {
	mu       sync.Mutex
	trials   int
	operated int
	outcomes map[string]int
	wrong    []string
}

func (y *tally) count() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.trials
}

// hopeless tells that there is enough to look at.
func (y *tally) hopeless() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.wrong) >= 20
}

func (y *tally) add(w *world) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.trials++
	if w.verb != "" {
		y.operated++
	}
	if len(w.wrong) > 0 {
		wrong := fmt.Sprintf("%v: %s; calls: %s", w.trial, strings.Join(w.wrong, "; "), w.history())
		y.wrong = append(y.wrong, wrong)
		if *exhaustive {
			fmt.Println("violation:", wrong) // at once: the verdict is an hour away
		}
	}
	if w.rec != nil {
		outcome := saga.StatusOf(&w.rec.Head).String()
		if w.rec.Park != nil && w.rec.Status == durable.StatusParked {
			outcome += ", parked: " + string(w.rec.Park.Reason)
		}
		y.outcomes[outcome]++
	}
}

// explore runs the trials of one shape. Of a sample it runs a few of each sort.
func explore(t *testing.T, s *shape, total *tally, r *rand.Rand) {
	some := func(trials []*trial) []*trial {
		if *exhaustive {
			return trials
		}
		r.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
		return trials[:min(len(trials), 12)]
	}
	base := runAll(t, s, []*trial{{shape: s}}, total)
	singles := runAll(t, s, some(further(base)), total)
	pairs := runAll(t, s, some(further(singles)), total)
	runAll(t, s, some(waysOut(append(singles, pairs...))), total)
}

// further adds an event to each trial, at every site that it came past after its
// last one.
func further(worlds []*world) (next []*trial) {
	for _, w := range worlds {
		from := 0
		if n := len(w.events); n > 0 {
			from = slices.Index(w.sites, w.events[n-1].site) + 1
		}
		for _, at := range w.sites[from:] {
			for _, ev := range at.events() {
				t := &trial{shape: w.shape, events: append(slices.Clone(w.events), event{at, ev})}
				if !*exhaustive || *whole || t.worth() {
					next = append(next, t)
				}
			}
		}
	}
	return next
}

// waysOut are the trials that parked, with each verb that an operator has.
func waysOut(worlds []*world) (next []*trial) {
	for _, w := range worlds {
		if w.rec == nil || w.rec.Status != durable.StatusParked {
			continue
		}
		verbs := append(slices.Clone(w.rec.Park.Verbs), durable.VerbAbandon)
		if w.rec.Park.Reason == durable.ParkPanic && strings.HasPrefix(w.rec.Detail, "running/") {
			verbs = append(verbs, durable.VerbUnwind)
		}
		for _, v := range verbs {
			next = append(next, &trial{shape: w.shape, events: w.events, verb: v})
		}
	}
	return next
}

// beside is how many trials share an engine.
const beside = 64

// runAll runs trials of a shape and judges each.
func runAll(t *testing.T, s *shape, trials []*trial, total *tally) (done []*world) {
	for chunk := range slices.Chunk(trials, beside) {
		synctest.Test(t, func(t *testing.T) {
			done = append(done, runSome(t, s, chunk, total)...)
		})
	}
	return done
}

// runSome runs trials beside each other on one engine.
func runSome(t *testing.T, s *shape, trials []*trial, total *tally) []*world {
	worlds := make([]*world, len(trials))
	sg, err := s.build(func(n int) *world { return worlds[n] })
	if err != nil {
		t.Fatal(err)
	}
	store := durabletest.NewMortal()
	e, ctx, stop := running(t, store, durable.Options{
		Lease: attemptTimeout, InboxCheck: attemptTimeout, PollMin: 10 * time.Minute, PollMax: 10 * time.Minute, Concurrency: beside,
	}, sg)
	var wg sync.WaitGroup
	for i, trial := range trials {
		trial.n = i
		w := newWorld(trial, e, store)
		worlds[i] = w
		wg.Go(func() {
			if err := w.run(ctx, sg); err != nil {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.fault("%v", err)
			}
		})
	}
	wg.Wait()
	listed, err := parkedIn(ctx, e)
	if err != nil {
		t.Error(err)
	}
	stop()
	for _, w := range worlds {
		if w.rec != nil {
			w.judge(listed[w.id()])
		}
		total.add(w)
	}
	return worlds
}

// parkedIn lists what is parked.
func parkedIn(ctx context.Context, e *durable.Engine) (map[string]bool, error) {
	page, err := e.Store().List(ctx, &durable.ListQuery{Statuses: []durable.Status{durable.StatusParked}, Limit: beside})
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, h := range page.Heads {
		ids[h.ID] = true
	}
	if page.Next != "" {
		return ids, errors.New("more are parked than there are trials")
	}
	return ids, nil
}
