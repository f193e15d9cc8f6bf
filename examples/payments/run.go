package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/otelenv"
	"github.com/clewdev/clew/saga"
)

// run does the whole job. Its error is what makes the exit code 1.
func run(ctx context.Context, cfg config) error {
	started := time.Now()
	env, err := otelenv.Start(ctx, service)
	if err != nil {
		return err
	}
	defer flush(env)
	fmt.Fprintf(os.Stderr, "payments: pid %d, %d orders, %d in flight, sagas in %s\n", os.Getpid(), cfg.orders, cfg.concurrency, cmp.Or(cfg.store, cfg.db))
	db, closer, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer closer.Close()
	outside, err := openOutside(ctx, cfg)
	if err != nil {
		return err
	}
	defer outside.close()
	sagas, err := everyVersion(outside.client, outside.timeout, cfg.stepDelay)
	if err != nil {
		return err
	}
	e, err := durable.New(crashing(db, cfg.crashAfter), durable.Options{Concurrency: cfg.concurrency, DrainTimeout: 5 * time.Second, Observer: env.Observer()})
	if err != nil {
		return err
	}
	starts := sagas[slices.Index(versions, cfg.version)]
	for _, sg := range sagas { // also what orders in flight are on
		if err := e.Register(sg); err != nil {
			return err
		}
	}
	defer env.TellRecent(ctx, db, func(line string) { fmt.Fprintln(os.Stderr, "payments:", line) })()
	parked, err := work(ctx, cfg, e, starts)
	if err != nil {
		return err
	}
	if err := outside.close(); err != nil {
		return err
	}
	if outside.books == nil {
		return reportUnaudited(cfg, parked, time.Since(started))
	}
	audit, err := outside.audit(ctx, cfg.orders)
	if err != nil {
		return err
	}
	return report(cfg, audit, parked, time.Since(started))
}

// crew runs orders over an engine that works.
type crew struct {
	e   *durable.Engine
	sg  *saga.Saga[Order, Receipt]
	bar progress
	wg  sync.WaitGroup
	mu  sync.Mutex
	ids []string // of orders that were seen parked
	err error
}

// work runs the engine until every order of this run, and whatever an earlier
// run left in the database, has ended or is parked.
func work(ctx context.Context, cfg config, e *durable.Engine, sg *saga.Saga[Order, Receipt]) ([]durable.Head, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- e.Run(serving) }()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchStore(serving, e, fail)
	}()
	c := &crew{e: e, sg: sg, bar: newProgress(cfg)}
	c.startAll(ctx, cfg)
	c.wg.Wait()
	if c.err == nil {
		c.finishLeft(ctx)
	}
	c.bar.finish()
	stop()
	<-watched
	if err := <-served; err != nil || c.err != nil {
		return nil, cmp.Or(err, c.err)
	}
	return c.parked(ctx)
}

// startAll starts the orders, as many at a time as may be in flight.
func (c *crew) startAll(ctx context.Context, cfg config) {
	slots := make(chan struct{}, cfg.concurrency)
	// In an order of its own, so that processes that share the file meet at
	// the end and do not wait for each other's orders from the beginning.
	for _, n := range rand.Perm(cfg.orders) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			c.failed(context.Cause(ctx))
			return
		}
		o := newOrder(n+1, cfg.seed, cfg.shares)
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			defer func() { <-slots }()
			x, err := c.sg.Start(ctx, c.e, o.ID, o)
			if err != nil {
				c.failed(fmt.Errorf("%w%s", err, hint(err)))
				return
			}
			c.await(ctx, x)
		}()
		if c.broken() {
			return
		}
	}
}

// hint says what to do about an error of Start.
func hint(err error) string {
	if errors.Is(err, durable.ErrExists) {
		return " (this database holds a run with another -seed, -decline, -fraud, -nowhere or -stuck: pass the same ones, or another -db)"
	}
	return ""
}

// await waits until one order has ended or is parked. How it ended is for the
// audit to say.
func (c *crew) await(ctx context.Context, x *durable.Execution[Receipt]) {
	_, err := x.Wait(ctx)
	switch {
	case errors.Is(err, durable.ErrParked):
		c.mu.Lock()
		c.ids = append(c.ids, x.ID())
		c.mu.Unlock()
	case err != nil && ctx.Err() != nil:
		c.failed(context.Cause(ctx))
		return
	}
	c.bar.add()
}

// finishLeft waits for executions of an earlier, larger run.
func (c *crew) finishLeft(ctx context.Context) {
	q := &durable.ListQuery{Definition: c.sg.Name(), Statuses: []durable.Status{durable.StatusPending, durable.StatusRunning, durable.StatusSuspended}}
	for {
		page, err := c.e.Store().List(ctx, q)
		if err != nil {
			c.failed(err)
			return
		}
		for i := range page.Heads {
			c.await(ctx, c.sg.Attach(c.e, page.Heads[i].ID))
		}
		if page.Next == "" {
			return
		}
		q.Cursor = page.Next
	}
}

// parked returns the orders that wait for a person, whichever run parked them.
// What a list says may be of a moment ago, so that each is looked at.
func (c *crew) parked(ctx context.Context) (heads []durable.Head, err error) {
	q := &durable.ListQuery{Definition: c.sg.Name(), Statuses: []durable.Status{durable.StatusParked}}
	for more := true; more; more = q.Cursor != "" {
		page, err := c.e.Store().List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Heads {
			c.ids = append(c.ids, page.Heads[i].ID)
		}
		q.Cursor = page.Next
	}
	slices.Sort(c.ids)
	for _, id := range slices.Compact(c.ids) {
		rec, err := c.e.Store().Load(ctx, id, durable.LoadHead)
		if err != nil {
			return nil, err
		}
		if rec.Status == durable.StatusParked {
			heads = append(heads, rec.Head)
		}
	}
	return heads, nil
}

func (c *crew) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *crew) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// patience is how long the database may refuse writes before this run ends.
const patience = 5 * time.Second

// watchStore ends the run when the database needs a person. The engine itself
// would go on trying; nothing is lost either way.
func watchStore(ctx context.Context, e *durable.Engine, fail context.CancelCauseFunc) {
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		err := e.Health(2 * patience)
		switch {
		case !errors.Is(err, durable.ErrStoreBroken):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
			fmt.Fprintln(os.Stderr, "payments: the database refuses writes, trying on:", err)
		case time.Since(since) > patience:
			fail(fmt.Errorf("gave up after %v: %w; nothing is lost: run the same command again once that is mended", patience, err))
			return
		}
	}
}

// crashing returns a store that kills this process after its k-th write.
func crashing(s durable.Store, k int64) durable.Store {
	if k == 0 {
		return s
	}
	return &crasher{Store: s, left: k}
}

type crasher struct {
	durable.Store
	mu   sync.Mutex
	done atomic.Int64
	left int64
}

func (c *crasher) Bills() bool {
	b, ok := c.Store.(durable.Biller)
	return ok && b.Bills()
}

func (c *crasher) count() {
	if c.done.Add(1) == c.left {
		c.mu.Lock() // for ever
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (c *crasher) Create(ctx context.Context, a *durable.Create) error {
	defer c.count()
	return c.Store.Create(ctx, a)
}

func (c *crasher) Claim(ctx context.Context, a *durable.Claim) (*durable.Record, error) {
	defer c.count()
	return c.Store.Claim(ctx, a)
}

func (c *crasher) Commit(ctx context.Context, a *durable.Commit) (durable.Receipt, error) {
	defer c.count()
	return c.Store.Commit(ctx, a)
}
