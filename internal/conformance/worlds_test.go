package conformance

import (
	"context"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/store/dynamo"
	"github.com/clewdev/clew/store/mem"
	"github.com/clewdev/clew/store/sqlite"
)

// world is where handlers run: processes over one store.
type world struct {
	name string
	// open makes an empty store, and returns how a process opens it; the
	// process is dead for the others once its death is called.
	open func(t *testing.T) func() (s durable.Store, death func(id string))
	// virtual: in virtual time, one after the other.
	virtual bool
	// turns bound how many requirements run at once where time is real: a store
	// that takes a second for a write would let waits of a second end before the
	// execution has left.
	turns chan struct{}
}

var worlds = []world{
	{"mem", openMem, true, nil},
	{"sqlite", openSQLite, false, make(chan struct{}, 10)},
	{"dynamodb", openDynamo, false, make(chan struct{}, 10)},
}

func openMem(*testing.T) func() (durable.Store, func(string)) {
	store := mem.New()
	return func() (durable.Store, func(string)) { return store, store.KillOwner }
}

func openSQLite(t *testing.T) func() (durable.Store, func(string)) {
	path := filepath.Join(t.TempDir(), "clew.db")
	return func() (durable.Store, func(string)) {
		store, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		cut := &severed{Store: store}
		return cut, func(string) { cut.dead.Store(true); _ = store.Close() } // which lets go of the lock, as death does
	}
}

func openDynamo(t *testing.T) func() (durable.Store, func(string)) {
	client := dynamolocal.Client(t)
	opts := dynamo.Options{Table: dynamolocal.Table(t)}
	if err := dynamo.CreateTable(t.Context(), client, opts); err != nil {
		t.Fatal(err)
	}
	return func() (durable.Store, func(string)) {
		store, err := dynamo.Open(t.Context(), client, opts)
		if err != nil {
			t.Fatal(err)
		}
		cut := &severed{Store: store}
		return cut, func(string) { cut.dead.Store(true) }
	}
}

// severed is the store of a process that may die.
type severed struct {
	durable.Store
	dead atomic.Bool
}

func (s *severed) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	if s.dead.Load() {
		return nil, durable.ErrNotDue
	}
	return s.Store.Claim(ctx, c)
}

func (s *severed) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	if s.dead.Load() {
		return durable.Receipt{}, durable.ErrFenced
	}
	return s.Store.Commit(ctx, c)
}

// carryOut runs a handler to its end, in processes that may be killed, and
// returns its record.
//
// Where time is real it does not wait for an end that nobody asks for, if there
// are events enough.
func (w *world) carryOut(t *testing.T, f handler, in any, actions []action, events int) (rec *durable.Record) {
	t.Helper()
	if !w.virtual {
		w.turns <- struct{}{}
		defer func() { <-w.turns }()
		return w.run(t, f, in, actions, events)
	}
	synctest.Test(t, func(t *testing.T) { rec = w.run(t, f, in, actions, math.MaxInt) })
	return rec
}

func (w *world) run(t *testing.T, f handler, in any, actions []action, events int) *durable.Record {
	t.Helper()
	open := w.open(t)
	ctx, stop := context.WithCancel(context.Background())
	var ended []chan struct{}
	defer func() {
		stop()
		for _, e := range ended {
			<-e
		}
	}()
	var killed atomic.Bool
	process := func() (*durable.Engine, *durable.Definition[any, any]) {
		store, death := open()
		e, err := durable.New(store, durable.Options{
			HotWait: -1, MaxSkew: time.Millisecond, DrainTimeout: time.Millisecond, Lease: 2 * time.Second, PollMin: 10 * time.Millisecond, PollMax: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		own, die := context.WithCancel(ctx)
		kill := func() {
			if killed.CompareAndSwap(false, true) {
				death(e.ID())
				die()
				<-ctx.Done() // nothing of it goes on
			}
		}
		def := durable.Define("conformance", "1", func(c *durable.Context, in any) (any, error) { return f(c, in, kill) })
		if err := e.Register(def); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ended = append(ended, done)
		go func() { _ = e.Run(own); close(done) }()
		return e, def
	}
	first, def := process()
	if _, err := def.Start(ctx, first, "x", in); err != nil {
		t.Fatal(err)
	}
	process()
	outside, _ := open()
	client, err := durable.New(outside, durable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range namesOf(actions) {
		go act(ctx, client, name, actions)
	}
	return outcome(ctx, t, outside, events)
}

// outcome waits for the end of the execution, or for so many events.
func outcome(ctx context.Context, t *testing.T, store durable.Store, events int) *durable.Record {
	t.Helper()
	for {
		time.Sleep(20 * time.Millisecond)
		rec, err := store.Load(ctx, "x", durable.LoadAll)
		switch {
		case err != nil:
			t.Fatal(err)
		case rec.Status.Ended(), len(slices.Collect(durable.History(rec))) >= events:
			return rec
		case rec.Status == durable.StatusParked:
			t.Fatalf("it parked: %s", rec.Park.Message)
		}
	}
}

// TestMain lets many requirements run at once: they spend their time waiting.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "48"); err != nil {
		panic(err) // the flag is the testing package's own
	}
	os.Exit(m.Run())
}
