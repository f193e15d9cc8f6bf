package faultsuite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/dynamo"
)

// workerVar makes a process of the test binary a worker; its value is the
// config.
const workerVar = "CLEW_FAULT_WORKER"

// config is what a worker process is told.
type config struct {
	Endpoint   string // of the proxy
	Direct     string // of the server
	Table      string
	Evidence   string // folder of the participants
	Acks       string // file for what was acknowledged
	Engines    int
	First      int // number of the first engine
	Of         int // how many engines there are in all processes
	Executions int
	Lease      time.Duration
	Skew       time.Duration // engines' clocks are wrong by up to this, either way
}

func openStore(ctx context.Context, endpoint, table string) (*dynamo.Store, error) {
	client := dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		Retryer:     aws.NopRetryer{},
	})
	return dynamo.Open(ctx, client, dynamo.Options{Table: table, AttemptTimeout: time.Second})
}

// work is the main function of a worker process. It runs until it is killed.
func work(raw string) error {
	var c config
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		return err
	}
	ctx := context.Background()
	acks, err := os.OpenFile(c.Acks, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	direct, err := openStore(ctx, c.Direct, c.Table)
	if err != nil {
		return err
	}
	errs := make(chan error, c.Engines)
	for n := c.First; n < c.First+c.Engines; n++ {
		store, err := openStore(ctx, c.Endpoint, c.Table)
		if err != nil {
			return fmt.Errorf("open through the proxy: %w", err)
		}
		skew := time.Duration(0)
		if c.Of > 1 {
			skew = c.Skew * time.Duration(2*n-(c.Of-1)) / time.Duration(c.Of-1) // from -Skew to +Skew
		}
		go func() {
			errs <- c.engine(ctx, n, &witness{Store: store, direct: direct, skew: skew, acks: acks})
		}()
	}
	return <-errs
}

// starters is how many engines start executions, and so how many executions
// are under way at once.
const starters = 8

// engine runs one engine, and starts its share of the executions.
func (c *config) engine(ctx context.Context, n int, store durable.Store) error {
	engine, err := durable.New(store, options(c.Lease))
	if err != nil {
		return err
	}
	p := participant{c.Evidence}
	chain, trip := p.chain(), p.trip()
	if err := engine.Register(chain, trip); err != nil {
		return err
	}
	// Some of the engines start executions, one after the other: the server
	// is slow, and with more at once no lease of this length would hold.
	if every := c.Of / starters; n%every == 0 {
		go func() {
			for i := n / every; i < c.Executions; i += starters {
				start(ctx, engine, chain, trip, i)
			}
		}()
	}
	return engine.Run(ctx)
}

// start starts an execution, or finds it started, and waits for its end. An
// engine that is killed meanwhile begins again with its first.
func start(ctx context.Context, e *durable.Engine, chain, trip interface {
	Start(context.Context, *durable.Engine, string, string, ...durable.StartOption) (*durable.Execution[string], error)
}, n int) {
	def := chain
	if n%2 == 1 {
		def = trip
	}
	for {
		if x, err := def.Start(ctx, e, executionID(n), inputOf(n)); err == nil {
			_, _ = x.Wait(ctx) // how it ended is for the check
			return
		}
	}
}

// options are those of a fleet whose leases are far too short: takeovers are
// what is looked for. Crashes are counted by takeover, so they park nothing.
func options(lease time.Duration) durable.Options {
	return durable.Options{
		Lease: lease, MaxSkew: 100 * time.Millisecond, InboxCheck: 50 * time.Millisecond, StoreTimeout: 3 * time.Second,
		PollMin: 200 * time.Millisecond, PollMax: time.Second, HotWait: 20 * time.Millisecond,
		Concurrency: 16, CrashesToAlone: 100_000, CrashesToPark: 100_000,
	}
}

// ack is a line of the file for what was acknowledged: a commit, a claim, or a
// refusal for which there was no reason.
type ack struct {
	ID         string
	Epoch, Seq int64
	Claim      bool   `json:",omitempty"` // Entries are the journal that it returned
	Entries    []byte `json:",omitempty"`
	GivenUp    string `json:",omitempty"` // what was refused, when it was the caller's own
}

// witness is a store that notes what was acknowledged, and at which the
// engine's clock is wrong: every time that goes through is shifted, those in
// journals too.
type witness struct {
	durable.Store
	direct durable.Store // past the proxy
	skew   time.Duration

	mu   sync.Mutex
	acks *os.File
}

func (w *witness) note(a ack) {
	line, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.acks.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

// away tells the world the engine's times.
func (w *witness) away(times ...*time.Time) { shift(w.skew, times) }

// back tells the engine the world's times.
func (w *witness) back(times ...*time.Time) { shift(-w.skew, times) }

func shift(by time.Duration, times []*time.Time) {
	for _, t := range times {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
}

func (w *witness) entriesAway(entries []durable.Entry) []durable.Entry {
	entries = slices.Clone(entries)
	for i := range entries {
		w.away(&entries[i].At)
	}
	return entries
}

func (w *witness) recordBack(rec *durable.Record) {
	w.back(&rec.Created, &rec.Deadline, &rec.Lease, &rec.Due)
	for i := range rec.Journal {
		w.back(&rec.Journal[i].At)
	}
	w.deliveriesBack(rec.Inbox)
}

func (w *witness) deliveriesBack(deliveries []durable.Delivery) {
	for i := range deliveries {
		w.back(&deliveries[i].Now)
	}
}

func (w *witness) Create(ctx context.Context, c *durable.Create) error {
	own := *c
	w.away(&own.Now, &own.Created, &own.Deadline, &own.Due)
	if c.First != nil {
		first := *c.First
		w.away(&first.Now, &first.Lease, &first.Due)
		first.Entries = w.entriesAway(first.Entries)
		own.First = &first
	}
	err := w.Store.Create(ctx, &own)
	if err == nil && c.First != nil {
		w.note(ack{ID: c.ID, Epoch: 1, Seq: 1, Entries: durable.EncodeEntries(own.First.Entries)})
	}
	if errors.Is(err, durable.ErrExists) && c.First != nil {
		w.disown(ctx, c.ID, c.Owner, "the create", err)
	}
	return err
}

func (w *witness) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	own := *c
	w.away(&own.Now, &own.Lease)
	rec, err := w.Store.Claim(ctx, &own)
	if err == nil {
		w.note(ack{ID: c.ID, Epoch: rec.Epoch, Claim: true, Entries: durable.EncodeEntries(rec.Journal)})
		w.recordBack(rec)
	}
	if errors.Is(err, durable.ErrNotDue) {
		w.disown(ctx, c.ID, c.Owner, "the claim", err)
	}
	return rec, err
}

// disown notes a create or a claim that was refused to the very caller that has
// made it: nobody drives the execution until its lease ends.
func (w *witness) disown(ctx context.Context, id, owner, what string, refusal error) {
	rec, err := w.direct.Load(ctx, id, durable.LoadHead)
	if err == nil && rec.Status == durable.StatusRunning && rec.Owner == owner {
		w.note(ack{ID: id, Epoch: rec.Epoch, GivenUp: what + " by which its owner has it was refused: " + refusal.Error()})
	}
}

func (w *witness) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	own := *c
	w.away(&own.Now, &own.Lease, &own.Due)
	own.Entries = w.entriesAway(c.Entries)
	receipt, err := w.Store.Commit(ctx, &own)
	switch {
	case err == nil:
		w.note(ack{ID: c.ID, Epoch: c.Epoch, Seq: c.Seq, Entries: durable.EncodeEntries(own.Entries)})
	case errors.Is(err, durable.ErrFenced) || errors.Is(err, durable.ErrEnded):
		// Only the owner itself changes the status under its epoch.
		if rec, failed := w.direct.Load(ctx, c.ID, durable.LoadHead); failed == nil && rec.Epoch == c.Epoch {
			w.note(ack{ID: c.ID, Epoch: c.Epoch, Seq: c.Seq,
				GivenUp: fmt.Sprintf("commit %d of epoch %d was refused to the owner: %v", c.Seq, c.Epoch, err)})
		}
	}
	w.deliveriesBack(receipt.Unseen)
	return receipt, err
}

func (w *witness) Load(ctx context.Context, id string, what durable.Load) (*durable.Record, error) {
	rec, err := w.Store.Load(ctx, id, what)
	if err == nil {
		w.recordBack(rec)
	}
	return rec, err
}

func (w *witness) Due(ctx context.Context, q *durable.DueQuery) (durable.DuePage, error) {
	own := *q
	w.away(&own.Now)
	page, err := w.Store.Due(ctx, &own)
	w.back(&page.Later)
	return page, err
}

// postman is a store that notes deliveries that were refused because of
// themselves.
type postman struct {
	durable.Store
	disown func(format string, args ...any)
}

func (p *postman) Deliver(ctx context.Context, d *durable.Delivery) error {
	err := p.Store.Deliver(ctx, d)
	var lost *durable.DeliveredError
	if errors.As(err, &lost) && lost.Winner == d.Nonce {
		p.disown("%s: delivery %s was refused because it had won: %v", d.ID, d.Key, err)
	}
	return err
}
