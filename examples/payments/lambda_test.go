package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/awslocal"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/lambdalocal"
	"github.com/clewdev/clew/internal/sqslocal"
)

// deployment is the sagas' function with its table, queue, sweep, and
// participants that are processes.
type deployment struct {
	*awslocal.Stack
	t       *testing.T
	books   participant.Books
	outside *participant.Running
	gateway string // base URL of the participants
}

func deploy(t *testing.T, chaos lambdalocal.Chaos, config participant.Config) *deployment {
	t.Helper()
	// Sweeps come at a twelfth of the period that they have in earnest.
	d := &deployment{t: t, Stack: awslocal.New(t, awslocal.Options{Sweep: 5 * time.Second, MaxReceives: 50})}
	d.startOutside(config)
	d.serve("1", chaos)
	return d
}

// startOutside starts the participants, and a front to all of them, as the one
// function that they are when they are deployed.
func (d *deployment) startOutside(config participant.Config) {
	d.t.Helper()
	dir := d.t.TempDir() + "/payments.db"
	config.Path, config.Command = dir, []string{binary, participant.Arg}
	var err error
	if d.outside, err = participant.Start(d.t.Context(), config); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = d.outside.Close() })
	d.books = participant.Files(dir)
	mux := http.NewServeMux()
	for role, at := range d.outside.URLs() {
		target, err := url.Parse(at)
		if err != nil {
			d.t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // as it was
		mux.Handle("/"+string(role)+"/", proxy)
	}
	front := httptest.NewServer(mux)
	d.t.Cleanup(front.Close)
	d.gateway = front.URL
}

// serve publishes a version that gets everything from now on.
func (d *deployment) serve(version string, chaos lambdalocal.Chaos) {
	d.t.Helper()
	d.Publish(lambdalocal.Function{
		Name: "sagas", Version: version, Bootstrap: binary, Timeout: 12 * time.Second, Concurrency: 8, Chaos: chaos,
		Env:     map[string]string{roleVar: "sagas", urlVar: d.gateway},
		Watched: map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": dynamolocal.Endpoint(d.t), "AWS_ENDPOINT_URL_SQS": d.Lambda.SQSURL()},
	})
	d.Connect("sagas:live")
}

func startOf(o Order) []byte {
	b, err := json.Marshal(map[string]any{"clew": "start", "definition": "payment", "id": o.ID, "input": o})
	if err != nil {
		panic(err)
	}
	return b
}

// start starts an order, as a caller does that asks again until it has an answer.
func (d *deployment) start(ctx context.Context, o Order) error {
	for ctx.Err() == nil {
		r, err := d.Lambda.Invoke(ctx, "sagas:live", startOf(o))
		switch {
		case err == nil && r.FunctionError == "":
			return nil
		case err != nil && !errors.Is(err, lambdalocal.ErrThrottled):
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// wait waits until these orders have ended or are parked.
func (d *deployment) wait(ctx context.Context, orders []Order) (parked int) {
	d.t.Helper()
	for _, o := range orders {
		for {
			rec, err := d.Store.Load(ctx, o.ID, durable.LoadHead)
			if err != nil {
				d.t.Fatalf("order %s: %v\n%s", o.ID, err, tail(d.Lambda.Logs("sagas")))
			}
			if rec.Status == durable.StatusParked {
				parked++
				d.t.Logf("%s is parked: %+v", o.ID, rec.Park)
			}
			if rec.Status.Ended() || rec.Status == durable.StatusParked {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return parked
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func (d *deployment) audit(orders int) participant.Report {
	d.t.Helper()
	if err := participant.WaitIdle(d.t.Context(), d.books); err != nil {
		d.t.Fatal(err)
	}
	r, err := participant.Audit(d.t.Context(), d.books, orders)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func ordersOf(n int) (orders []Order) {
	for i := range n {
		orders = append(orders, newOrder(i+1, 7, shares{decline: 0.1, fraud: 0.05, nowhere: 0.05}))
	}
	return orders
}

// TestOnLambda runs 500 payments at once on 8 sandboxes that are frozen at random
// moments, some beyond their deadline, at which they are killed, and killed at
// random ones, with messages that come twice and participants that fail now and then.
func TestOnLambda(t *testing.T) {
	t.Parallel()
	d := deploy(t, lambdalocal.Chaos{Freeze: 0.04, Kill: 0.03, Duplicate: 0.1, FreezeFor: [2]time.Duration{100 * time.Millisecond, 15 * time.Second}},
		participant.Config{FaultRate: 0.02, Seed: 1, MinDelay: deployedTimeout + deployedTimeout/4})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	orders := ordersOf(500)
	began := time.Now()
	var wg sync.WaitGroup
	for _, o := range orders {
		wg.Go(func() {
			if err := d.start(ctx, o); err != nil {
				t.Errorf("start of %s: %v", o.ID, err)
			}
		})
	}
	wg.Wait()
	started := time.Since(began)
	if parked := d.wait(ctx, orders); parked > 0 {
		t.Errorf("%d parked, want none", parked)
	}
	took := time.Since(began)
	r := d.audit(len(orders))
	s := d.Lambda.Stats("sagas:1")
	t.Logf("%d orders started in %v, ended in %v; %+v; audit %+v; dead letters %d", len(orders), started, took, s, r, depth(t, d.Queue.DLQ))
	if r.DuplicateEffects+r.MissingUndos != 0 || r.LedgerImbalanceCents != 0 || r.Committed+r.Undone != len(orders) {
		t.Errorf("audit: %+v", r)
	}
	if s.StaleRequests+s.StaleAnswers != 0 {
		t.Errorf("%d requests and %d answers on behalf of invocations that were over, want none", s.StaleRequests, s.StaleAnswers)
	}
	if s.Kills == 0 || s.Stalls == 0 || s.Timeouts == 0 {
		t.Errorf("there was too little chaos to tell: %+v", s)
	}
}

func depth(t *testing.T, q *sqslocal.Queue) int {
	t.Helper()
	n, err := q.Depth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n.Total()
}

// TestLambdaAndWorker: what starts on one host ends on the other, over one table,
// although the first is killed in between.
func TestLambdaAndWorker(t *testing.T) {
	t.Parallel()
	d := deploy(t, lambdalocal.Chaos{Kill: 1, Within: 150 * time.Millisecond}, participant.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	// A function, each of whose invocations is killed; then a worker alone.
	orders := ordersOf(60)
	for _, o := range orders[:20] {
		_, _ = d.Lambda.Invoke(ctx, "sagas:live", startOf(o)) // killed, most of them
	}
	d.Disconnect()
	begun := d.unended(orders[:20])
	if begun == 0 {
		t.Fatal("no order was begun and not ended by a function that was killed")
	}
	worker := d.worker(ctx, 20)
	if out, err := worker.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.wait(ctx, orders[:20])
	t.Logf("%d of 20 orders were taken over from killed invocations by a worker", begun)

	// A worker that is killed; then a function alone.
	worker = d.worker(ctx, len(orders))
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	for d.unended(orders) == 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	_ = worker.Process.Kill()
	_ = worker.Wait()
	begun = d.unended(orders)
	if begun == 0 {
		t.Fatal("no order was begun and not ended by a worker that was killed")
	}
	d.serve("2", lambdalocal.Chaos{})
	committed := d.settle(ctx)
	t.Logf("%d orders were taken over from a killed worker by functions", begun)
	r := d.audit(0) // of every order that had an effect
	if r.DuplicateEffects+r.MissingUndos != 0 || r.LedgerImbalanceCents != 0 || r.Committed != committed || r.Orders != r.Committed+r.Undone {
		t.Errorf("audit: %+v, want %d committed", r, committed)
	}
}

// worker is the program as a worker over the function's table.
func (d *deployment) worker(ctx context.Context, orders int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, "-store", dynamolocal.URL(d.t, d.Table), "-participants-url", d.gateway, "-orders", fmt.Sprint(orders), "-seed", "7",
		"-decline", "0.1", "-fraud", "0.05", "-nowhere", "0.05", "-step-delay", "30ms")
	cmd.Dir = d.t.TempDir()
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local")
	return cmd
}

// settle waits until everything that was ever started has ended, and counts what
// has committed. What a killed process has sent may still be on its way.
func (d *deployment) settle(ctx context.Context) (committed int) {
	d.t.Helper()
	for made := -1; ; {
		page, err := d.Store.List(ctx, &durable.ListQuery{Definition: "payment", Limit: 1000})
		if err != nil {
			d.t.Fatalf("%v\n%s", err, tail(d.Lambda.Logs("sagas")))
		}
		open := 0
		committed = 0
		for _, h := range page.Heads {
			switch {
			case !h.Status.Ended():
				open++
			case h.Status == durable.StatusSucceeded:
				committed++
			}
		}
		if open == 0 && len(page.Heads) == made {
			return committed
		}
		made = len(page.Heads)
		time.Sleep(500 * time.Millisecond)
	}
}

// unended counts the orders that have been begun and not ended.
func (d *deployment) unended(orders []Order) (n int) {
	for _, o := range orders {
		if rec, err := d.Store.Load(d.t.Context(), o.ID, durable.LoadHead); err == nil && rec.Epoch > 0 && !rec.Status.Ended() {
			n++
		}
	}
	return n
}

// TestDeployed: both functions, as the template deploys them, with the books in a
// table, a callback-free saga each of whose calls is a request to a function URL.
func TestDeployed(t *testing.T) {
	t.Parallel()
	d := deploy(t, lambdalocal.Chaos{}, participant.Config{})
	books := dynamolocal.Table(t)
	client := dynamolocal.Client(t)
	err := participant.CreateTable(t.Context(), client, books)
	if err != nil {
		t.Fatal(err)
	}
	d.Publish(lambdalocal.Function{
		Name: "participants", Version: "1", Bootstrap: binary, Timeout: 10 * time.Second, Concurrency: 8,
		Env: map[string]string{roleVar: "participants", booksVar: books},
	})
	d.gateway = d.URL("participants:live")
	d.serve("2", lambdalocal.Chaos{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	orders := ordersOf(40)
	var wg sync.WaitGroup
	for _, o := range orders {
		wg.Go(func() {
			if err := d.start(ctx, o); err != nil {
				t.Errorf("start of %s: %v", o.ID, err)
			}
		})
	}
	wg.Wait()
	if parked := d.wait(ctx, orders); parked > 0 {
		t.Errorf("%d parked, want none", parked)
	}
	d.books = participant.Table(client, books)
	if r := d.audit(len(orders)); r.DuplicateEffects+r.MissingUndos != 0 || r.LedgerImbalanceCents != 0 || r.Committed == 0 || r.Undone == 0 || r.Committed+r.Undone != len(orders) {
		t.Errorf("audit: %+v", r)
	}
	s := d.Lambda.Stats("sagas:2")
	t.Logf("sagas: %+v", s)
	for _, r := range d.Lambda.Records("sagas:2")[:1] {
		t.Logf("cold start: init %v, %d MB at most", r.InitDuration, s.MaxRSS>>20)
	}
}
