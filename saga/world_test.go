package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// outside is the world of participants that a saga acts on. It applies what
// it is told without any idempotency or tombstones of its own, and keeps
// count, so that whatever the engine does wrong shows.
type outside struct {
	mu     sync.Mutex
	calls  []string        // every call in order
	stands map[string]int  // effects by step name
	busy   map[string]int  // forward calls under way, by step name
	undone map[string]bool // undos begun
	wrong  []string        // what must never happen
}

func newOutside() *outside {
	return &outside{stands: map[string]int{}, busy: map[string]int{}, undone: map[string]bool{}}
}

// do applies the effect of a step after a while, whether or not anybody still
// waits for it.
func (o *outside) do(ctx context.Context, name string, takes time.Duration) {
	o.mu.Lock()
	if o.busy[name]++; o.busy[name] > 1 {
		o.wrong = append(o.wrong, "two attempts of "+name+" at once")
	}
	o.calls = append(o.calls, name)
	if o.undone[name] {
		o.wrong = append(o.wrong, "forward of "+name+" starts after its undo")
	}
	o.mu.Unlock()
	alive := durabletest.Sleep(ctx, takes)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy[name]--
	if !alive {
		return
	}
	o.stands[name] = 1 // idempotent by key, as participants are
	if o.undone[name] {
		o.wrong = append(o.wrong, "forward of "+name+" takes effect after its undo")
	}
}

// undo takes the effect back.
func (o *outside) undo(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, "undo "+name)
	o.undone[name] = true
	if o.busy[name] > 0 {
		o.wrong = append(o.wrong, "undo of "+name+" while a forward attempt runs")
	}
	o.stands[name] = 0
}

func (o *outside) history() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.calls, ", ")
}

// verdict sums up what stands: all, none, or which.
func (o *outside) verdict(steps ...string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var standing []string
	for _, s := range steps {
		if o.stands[s] > 0 {
			standing = append(standing, s)
		}
	}
	switch len(standing) {
	case 0:
		return "none"
	case len(steps):
		return "all"
	}
	return strings.Join(standing, "+")
}

// order of undos, as far as each was undone first.
func (o *outside) undoOrder() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := map[string]bool{}
	var order []string
	for _, c := range o.calls {
		if name, ok := strings.CutPrefix(c, "undo "); ok && !seen[name] {
			seen[name] = true
			order = append(order, name)
		}
	}
	return strings.Join(order, " ")
}

type order struct{ Card string }

// shop is the saga of these tests, with a hook at each body.
type shop struct {
	*outside
	// hooks run at the start of a body, before its effect, and after it; an
	// error is the body's.
	before, after map[string]func(saga.Context) error
	takes         time.Duration
	verify        func(saga.Context) (saga.Verdict[string], error)
	deadline      time.Duration
}

func newShop() *shop {
	return &shop{outside: newOutside(), before: map[string]func(saga.Context) error{}, after: map[string]func(saga.Context) error{}, takes: time.Millisecond}
}

func (s *shop) body(name string) func(saga.Context, order) (string, error) {
	return func(c saga.Context, _ order) (string, error) {
		if hook := s.before[name]; hook != nil {
			if err := hook(c); err != nil {
				return "", err
			}
		}
		s.do(c, name, s.takes)
		if hook := s.after[name]; hook != nil {
			if err := hook(c); err != nil {
				return "", err
			}
		}
		return name + "-ed", nil
	}
}

func (s *shop) undoing(name string) func(saga.UndoContext, order, saga.Maybe[string]) error {
	return func(c saga.UndoContext, _ order, m saga.Maybe[string]) error {
		if hook := s.before["undo "+name]; hook != nil {
			if err := hook(c.Context); err != nil {
				return err
			}
		}
		if v, ok := m.Get(); ok && v != name+"-ed" {
			return durable.Permanent(fmt.Errorf("undo of %s got %q", name, v))
		}
		s.undo(name)
		return nil
	}
}

// build declares authorize, reserve, capture (the pivot), ship.
func (s *shop) build() *saga.Saga[order, string] {
	b := saga.New[order, string]("shop", "1")
	if s.deadline > 0 {
		b.Timeout(s.deadline)
	}
	saga.Step(b, "authorize", s.body("authorize")).Undo(s.undoing("authorize"))
	saga.Step(b, "reserve", s.body("reserve")).Undo(s.undoing("reserve"))
	p := saga.Pivot(b, "capture", s.body("capture"))
	var captured saga.Output[string]
	if s.verify != nil {
		captured = p.Verify(func(c saga.Context, _ order) (saga.Verdict[string], error) {
			s.mu.Lock()
			if s.busy["capture"] > 0 {
				s.wrong = append(s.wrong, "verify of capture while an attempt runs")
			}
			s.mu.Unlock()
			return s.verify(c)
		})
	} else {
		captured = p.ParkInDoubt()
	}
	saga.Step(b, "ship", s.body("ship")).Retriable()
	sg, err := b.Build(func(c saga.Context, _ order) (string, error) { return captured.Of(c), nil })
	if err != nil {
		panic(err)
	}
	return sg
}

var allSteps = []string{"authorize", "reserve", "capture", "ship"}

// truth verifies a capture by looking whether it stands.
func (s *shop) truth(saga.Context) (saga.Verdict[string], error) {
	if s.verdict("capture") == "all" {
		return saga.Happened("capture-ed"), nil
	}
	return saga.NoEffect[string](), nil
}

var errDeclined = errors.New("declined")

func rejecting(saga.Context) error { return saga.Reject(errDeclined) }

func starter(sg *saga.Saga[order, string]) func(context.Context, *durable.Engine) error {
	return func(ctx context.Context, e *durable.Engine) error {
		_, err := sg.Start(ctx, e, "o1", order{})
		return err
	}
}

// crash serves a saga in a process that dies once a body has said that it is
// inside.
func crash(t *testing.T, store *mem.Store, sg durable.Registrable, inside <-chan struct{}) {
	t.Helper()
	g := gone{store, make(chan struct{})}
	e, _, stop := running(t, g, durable.Options{}, sg)
	<-inside
	store.KillOwner(e.ID())
	close(g.dead)
	stop()
}

// gone is a store to a process: once dead is closed nothing lands any more.
type gone struct {
	*mem.Store
	dead chan struct{}
}

func (g gone) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	select {
	case <-g.dead:
		return durable.Receipt{}, durable.ErrFenced
	default:
		return g.Store.Commit(ctx, c)
	}
}
