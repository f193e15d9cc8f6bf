package lambdahost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/lambdalocal"
	"github.com/clewdev/clew/internal/sqslocal"
	"github.com/clewdev/clew/store/dynamo"
)

// The tests of this file run the host in processes of its own, as Lambda does,
// over DynamoDB Local and a real queue.

// bootstrap builds the function of testdata, once.
var bootstrap = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bootstrap")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", path, "./testdata/bootstrap").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := bootstrap(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// stage is a function with its table and queue.
type stage struct {
	t     *testing.T
	l     *lambdalocal.Lambda
	q     *sqslocal.Queue
	store *dynamo.Store
	env   map[string]string
	log   string
}

type setting struct {
	timeout time.Duration // of the function; 10 s
	loop    string        // its RecursiveLoop
	sweep   time.Duration // period; 2 s
	version string        // 1
	noTable bool
	receive int // of a message until it is a dead letter; 5
	chaos   lambdalocal.Chaos
}

func newStage(t *testing.T, s setting) *stage {
	t.Helper()
	table, client := dynamolocal.Table(t), dynamolocal.Client(t)
	g := &stage{t: t, log: filepath.Join(t.TempDir(), "log")}
	if !s.noTable {
		if err := dynamo.CreateTable(t.Context(), client, dynamo.Options{Table: table}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
		})
		var err error
		if g.store, err = dynamo.Open(t.Context(), client, dynamo.Options{Table: table}); err != nil {
			t.Fatal(err)
		}
	}
	s.timeout, s.sweep = max(s.timeout, 10*time.Second), max(s.sweep, 2*time.Second)
	if s.receive == 0 {
		s.receive = 5
	}
	if s.version == "" {
		s.version = "1"
	}
	g.q = sqslocal.NewQueue(t, sqslocal.QueueOptions{Visibility: 2 * time.Second, MaxReceives: s.receive})
	g.l = lambdalocal.Start(t, lambdalocal.Options{SQS: sqslocal.Endpoint(t)})
	g.env = map[string]string{
		"CLEW_TABLE": table, "CLEW_QUEUE_URL": g.q.URL, "CLEW_RECURSIVE_LOOP": s.loop, "CLEW_SWEEP_PERIOD": s.sweep.String(),
		"AWS_ENDPOINT_URL_DYNAMODB": dynamolocal.Endpoint(t),
	}
	g.create(s)
	g.connect(s)
	return g
}

func (g *stage) create(s setting) {
	g.t.Helper()
	path, err := bootstrap()
	if err != nil {
		g.t.Fatal(err)
	}
	loop := lambdalocal.Terminate
	if s.loop == "Allow" {
		loop = lambdalocal.Allow
	}
	version := s.version
	if version == "$LATEST" {
		version = ""
	}
	err = g.l.Create(lambdalocal.Function{Name: "fn", Version: version, Bootstrap: path, Timeout: s.timeout, Env: g.env, RecursiveLoop: loop, Chaos: s.chaos})
	if err == nil {
		err = g.l.Alias("fn", "live", s.version)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *stage) connect(s setting) {
	g.t.Helper()
	if _, err := g.l.Map(g.t.Context(), lambdalocal.Mapping{Function: "fn:live", Queue: g.q.URL, ReportBatchItemFailures: true}); err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.l.Schedule(lambdalocal.Rule{Name: "sweep", Function: "fn:live", Every: s.sweep}); err != nil {
		g.t.Fatal(err)
	}
}

// start starts an execution and returns what the function answered.
func (g *stage) start(id string, plan map[string]any) (*lambdalocal.Result, error) {
	g.t.Helper()
	plan["log"] = g.log
	b, err := json.Marshal(map[string]any{"clew": "start", "definition": "plan", "id": id, "input": plan})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.invoke(string(b))
}

// invoke invokes the function as soon as it has a sandbox for it.
func (g *stage) invoke(payload string) (*lambdalocal.Result, error) {
	for {
		r, err := g.l.Invoke(g.t.Context(), "fn:live", []byte(payload))
		if !errors.Is(err, lambdalocal.ErrThrottled) {
			return r, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ended waits until an execution has ended or is parked.
func (g *stage) ended(id string, within time.Duration) *durable.Record {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), within)
	defer cancel()
	for {
		rec, err := g.store.Load(ctx, id, durable.LoadAll)
		if err != nil {
			g.t.Fatalf("%s has not ended after %v: %v\n%s", id, within, err, g.l.Logs("fn"))
		}
		if rec.Status.Ended() || rec.Status == durable.StatusParked {
			return rec
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestRealChains: 100 waits, one after the other, pass over the queue where the
// function's RecursiveLoop allows it, and over sweeps where it does not; nothing
// is dropped as a loop. Their wake-ups are late by what a second's precision is.
func TestRealChains(t *testing.T) {
	t.Parallel()
	for _, loop := range []string{"Allow", "Terminate"} {
		t.Run(loop, func(t *testing.T) {
			t.Parallel()
			g := newStage(t, setting{loop: loop})
			const waits, each = 100, time.Millisecond // none stays in memory
			began := time.Now()
			if r, err := g.start("x", map[string]any{"waits": waits, "each": each}); err != nil || r.FunctionError != "" {
				t.Fatalf("got %+v, %v", r, err)
			}
			rec := g.ended("x", 6*time.Minute)
			s := g.l.Stats("fn:1")
			t.Logf("%v for %d waits of %v, %d activations; %+v", time.Since(began).Round(time.Second), waits, each, rec.Activations, s)
			if rec.Status != durable.StatusSucceeded || s.RecursiveInvocationsDropped != 0 || rec.Activations < waits {
				t.Errorf("got %v after %d activations, %d dropped as loops, want succeeded after %d and none", rec.Status, rec.Activations, s.RecursiveInvocationsDropped, waits)
			}
		})
	}
}

// TestRealLateness: how late wake-ups of waits are that the sweep finds, as it does
// for those of more than 15 minutes and for long chains. The period of sweeps is a
// twelfth of what it is in earnest, and the waits go beyond what a sweep looks ahead.
func TestRealLateness(t *testing.T) {
	t.Parallel()
	g := newStage(t, setting{sweep: 5 * time.Second})
	def := durable.Define("plan", "1", func(*durable.Context, map[string]any) (int, error) { return 0, nil })
	e, err := durable.New(g.store, durable.Options{}) // it starts them and runs nothing
	if err == nil {
		err = e.Register(def)
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 60
	dues := make([]time.Time, n)
	for i := range n {
		id := fmt.Sprint("x", i)
		if _, err := def.Start(t.Context(), e, id, map[string]any{"waits": 1, "each": 22*time.Second + time.Duration(i)*83*time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		r, err := g.invoke(fmt.Sprintf(`{"clew": "resume", "id": %q, "hops": 15}`, id)) // of a chain so long that it sends none itself
		if err != nil || r.FunctionError != "" {
			t.Fatalf("got %+v, %v", r, err)
		}
		rec, err := g.store.Load(t.Context(), id, durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		dues[i] = rec.Due
	}
	var late []time.Duration
	for i := range n {
		rec := g.ended(fmt.Sprint("x", i), 2*time.Minute)
		late = append(late, rec.Ended.Sub(dues[i]))
		if rec.Activations != 2 {
			t.Errorf("x%d: %d activations, want 2", i, rec.Activations)
		}
	}
	slices.Sort(late)
	t.Logf("lateness of %d wake-ups: p50 %v, p99 %v, max %v; %+v", n, late[n/2], late[n*99/100], late[n-1], g.l.Stats("fn:1"))
	if late[0] < 0 {
		t.Errorf("a wait ended %v before its time", -late[0])
	}
}

// TestRealHandOver: steps that take longer together than an invocation may are
// handed over, and none begins that cannot end in time. A body that ignores its
// context takes its process with it; the next one goes on.
func TestRealHandOver(t *testing.T) {
	t.Parallel()
	g := newStage(t, setting{loop: "Allow", timeout: 10 * time.Second})
	if r, err := g.start("x", map[string]any{"steps": 8, "takes": 2 * time.Second, "may": 3 * time.Second}); err != nil || r.FunctionError != "" || !strings.Contains(string(r.Payload), `"suspended"`) {
		t.Fatalf("got %s %+v, %v, want it handed over", r.Payload, r, err)
	}
	rec := g.ended("x", time.Minute)
	s := g.l.Stats("fn:1")
	if rec.Status != durable.StatusSucceeded || s.Timeouts+s.Exits != 0 || rec.Activations < 3 {
		t.Errorf("got %v after %d activations, %+v", rec.Status, rec.Activations, s)
	}
	if begun := strings.Count(g.said(t), "begins"); begun != 8 {
		t.Errorf("%d bodies began, want 8: none was cut off", begun)
	}
	r, err := g.start("deaf", map[string]any{"steps": 1, "takes": 15 * time.Second, "may": 2 * time.Second, "deaf": true})
	var exit *lambdalocal.FunctionError
	if err != nil || !errors.As(r.Err(), &exit) || exit.Type != lambdalocal.TypeExit {
		t.Errorf("a body that stays: got %+v, %v, want the process to exit", r, err)
	}
	time.Sleep(6 * time.Second)
	for line := range strings.Lines(g.said(t)) {
		if strings.Contains(line, "deaf") && strings.Contains(line, "ends") {
			t.Errorf("a body went on after the invocation: %s", line)
		}
	}
}

func (g *stage) said(t *testing.T) string {
	b, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRealRubbish: what is wrong with an event, a version or a table is said in
// the answer and in the log, and messages end in the DLQ.
func TestRealRubbish(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		with setting
		want string
	}{
		{"unpublished", setting{version: "$LATEST", receive: 2}, "publish a version"},
		{"no table", setting{noTable: true, receive: 2}, "does not exist"},
		{"no event", setting{receive: 2}, "none of the host's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newStage(t, c.with)
			if _, err := g.q.Send(t.Context(), `{"a message": "of somebody else"}`, 0); err != nil {
				t.Fatal(err)
			}
			r, err := g.l.Invoke(t.Context(), "fn:live", []byte(`{"clew": "start", "definition": "plan", "id": "x", "input": {}, "bad": 1}`))
			if err != nil || r.FunctionError == "" {
				t.Fatalf("got %+v, %v, want an error", r, err)
			}
			end := time.Now().Add(time.Minute)
			for n := 0; n == 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				d, err := g.q.DLQ.Depth(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				n = d.Total()
			}
			d, err := g.q.DLQ.Depth(t.Context())
			if err != nil || d.Total() != 1 {
				t.Errorf("got %+v in the DLQ, %v, want the message", d, err)
			}
			if !strings.Contains(g.l.Logs("fn"), c.want) {
				t.Errorf("the log does not say %q:\n%s", c.want, g.l.Logs("fn"))
			}
		})
	}
}

// TestRealColdStart tells how long a process takes from its start to its first
// request to the store, and how much memory it takes: for the docs.
func TestRealColdStart(t *testing.T) {
	g := newStage(t, setting{loop: "Allow"})
	if r, err := g.start("x", map[string]any{"steps": 3, "may": time.Second}); err != nil || r.FunctionError != "" {
		t.Fatalf("got %+v, %v", r, err)
	}
	s := g.l.Stats("fn:1")
	for line := range strings.Lines(g.l.Logs("fn")) {
		if strings.HasPrefix(line, "opened after") {
			t.Log(strings.TrimSpace(line))
		}
	}
	for _, r := range g.l.Records("fn:1") {
		if r.ColdStart {
			t.Logf("init %v", r.InitDuration)
		}
	}
	t.Logf("max RSS %d MB", s.MaxRSS>>20)
	if s.MaxRSS == 0 || s.MaxRSS > 64<<20 {
		t.Errorf("got %d bytes of memory, want at most 64 MB", s.MaxRSS)
	}
}
