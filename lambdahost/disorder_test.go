package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
)

// fleet is sandboxes of two versions of a function that work off one queue, which
// loses, repeats, delays and hastens messages.
type fleet struct {
	c     *cloud
	rnd   *rand.Rand
	mu    sync.Mutex
	hosts map[string]*Host // by version
}

func (f *fleet) chance(percent int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(100) < percent
}

func (f *fleet) upTo(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// take takes some messages that are due, or soon will be, off the queue.
func (f *fleet) take() (bodies []string) {
	most := 1 + f.upTo(10)
	early := time.Duration(f.upTo(1500)) * time.Millisecond // a clock that is ahead
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	rest := f.c.queue[:0]
	for _, m := range f.c.queue {
		if len(bodies) < most && !time.Now().Before(m.at.Add(-early)) {
			bodies = append(bodies, m.body)
			continue
		}
		rest = append(rest, m)
	}
	f.c.queue = rest
	return bodies
}

// put puts a message into the queue again.
func (f *fleet) put(body string, after time.Duration) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.queue = append(f.c.queue, message{body: body, at: time.Now().Add(after)})
}

// serve is a sandbox until ctx ends.
func (f *fleet) serve(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		bodies := f.take()
		if len(bodies) == 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for _, body := range bodies {
			if f.chance(20) {
				f.put(body, time.Duration(f.upTo(200))*time.Second)
			}
		}
		if f.chance(10) {
			continue // lost
		}
		version := []string{"7", "8"}[f.upTo(2)]
		out, err := f.c.event(f.hosts[version], batchOf(bodies...))
		switch {
		case err != nil:
			t.Errorf("a batch: %v", err)
		default:
			for _, id := range failures(t, out) {
				var i int
				_, _ = fmt.Sscanf(id, "m%d", &i)
				f.put(bodies[i], 30*time.Second)
			}
		}
		f.c.mu.Lock()
		handed := f.c.invoked
		f.c.invoked = map[string]string{}
		f.c.mu.Unlock()
		for version, payload := range handed {
			if _, err := f.c.event(f.hosts[version], payload); err != nil {
				t.Errorf("handed to %s: %v", version, err)
			}
		}
	}
}

// hostsOf is a store that notes which hosts have had each execution.
type hostsOf struct {
	durable.Store
	mu   sync.Mutex
	seen map[string]map[string]bool
}

func (s *hostsOf) note(id, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[id] == nil {
		s.seen[id] = map[string]bool{}
	}
	s.seen[id][durable.HostOf(owner)] = true
}

func (s *hostsOf) Create(ctx context.Context, c *durable.Create) error {
	err := s.Store.Create(ctx, c)
	if err == nil && c.First != nil {
		s.note(c.ID, c.Owner)
	}
	return err
}

func (s *hostsOf) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	if err == nil {
		s.note(c.ID, c.Owner)
	}
	return rec, err
}

// TestDisorder: many sagas at once on sandboxes of two versions, over a queue that
// loses, repeats, delays and hastens messages. All end as they should, in the
// version that had them, and the queue runs dry.
func TestDisorder(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			c, sagas := newCloud(t), 60
			store := &hostsOf{Store: millis{c.store}, seen: map[string]map[string]bool{}}
			c.store = store
			f := &fleet{c: c, rnd: rand.New(rand.NewPCG(seed, 1)), hosts: map[string]*Host{}}
			outsides := map[string]*outside{}
			var defs []durable.Registrable
			for i := range sagas {
				id := fmt.Sprint("trip", i)
				outsides[id] = &outside{stands: map[string]bool{}, undone: map[string]bool{}}
				defs = append(defs, tripNamed(t, id, outsides[id], i%3 > 0))
			}
			logger := slog.New(slog.NewTextHandler(c.logs, nil))
			for _, version := range []string{"7", "8"} {
				f.hosts[version] = c.host(version, func(o *Options) { o.Metrics, o.Engine.Logger = io.Discard, logger }, defs...)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { f.serve(ctx, t) })
			}
			for minute := range 40 {
				for i := range sagas {
					// Its producer insists: twice in any case, and until it is there.
					_, err := store.Load(ctx, fmt.Sprint("trip", i), durable.LoadHead)
					if minute == 0 || minute == 5 || errors.Is(err, durable.ErrNotFound) {
						f.put(fmt.Sprintf(`{"clew": "start", "definition": "trip%d", "id": "trip%d", "input": 1}`, i, i), 0)
					}
				}
				time.Sleep(time.Minute)
				c.must(f.hosts["8"], `{"clew": "sweep"}`)
			}
			if n := c.queued(); n != 0 {
				t.Errorf("seed %d: %d messages are left after 40 minutes", seed, n)
			}
			cancel()
			wg.Wait()
			for id, o := range outsides {
				var i int
				_, _ = fmt.Sscanf(id, "trip%d", &i)
				o.judge(t, fmt.Sprint("seed ", seed, ", ", id), c.load(id), i%3 > 0)
				if hosts := store.seen[id]; len(hosts) != 1 {
					t.Errorf("seed %d: %s was had by %v, want one version", seed, id, hosts)
				}
			}
			if strings.Contains(c.logs.String(), "message failed") {
				t.Errorf("seed %d: messages failed: %.2000s", seed, c.logs)
			}
		})
	}
}
