package otlptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/storeurl"
)

// programs are the compiled ones, by name.
var programs string

func TestMain(m *testing.M) {
	if os.Getenv(collectorVar) != "" {
		if err := collect(); err != nil {
			panic(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "otlptest")
	if err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./examples/payments", "./examples/onboarding", "./cmd/clew")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	programs = dir
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} { // any will do for DynamoDB Local
		if err := os.Setenv(name, "local"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is where one test's programs run.
type world struct {
	t     *testing.T
	dir   string
	store string // URL
	books string // of the outside world of onboardings, likewise
	env   []string
	*Collector
}

func newWorld(t *testing.T, store, protocol string) *world {
	t.Helper()
	c, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	w := &world{t: t, dir: t.TempDir(), Collector: c}
	w.env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "OTEL_") }), c.Env(protocol)...)
	w.store, w.books = "sqlite:sagas.db", "sqlite:books.db"
	if store == "dynamodb" {
		w.store, w.books = dynamolocal.URL(t, w.table()), dynamolocal.URL(t, w.table())
	}
	return w
}

// table is the name of a table that is deleted after the test.
func (w *world) table() string {
	w.t.Helper()
	client, table := dynamolocal.Client(w.t), dynamolocal.Table(w.t)
	w.t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	return table
}

// start starts a program.
func (w *world) start(program string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	w.t.Helper()
	var out, errs bytes.Buffer
	return w.startTo(&out, &errs, program, args...), &out, &errs
}

// startTo starts a program that writes there.
func (w *world) startTo(out, errs io.Writer, program string, args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(programs, program), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.env, out, errs
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// clew runs the operator's tool.
func (w *world) clew(args ...string) string {
	w.t.Helper()
	cmd, out, errs := w.start("clew", append([]string{"--store", w.store}, args...)...)
	if err := cmd.Wait(); err != nil {
		w.t.Fatalf("clew %v: %v: %s", args, err, errs)
	}
	return out.String()
}

// audit is what payments says that it found.
type audit struct {
	Committed, Undone, Parked int
	Repeated                  int `json:"repeated_calls"`
	Duplicates                int `json:"duplicate_effects"`
	Missing                   int `json:"missing_undos"`
}

// payments runs the example to its end. Its exit code is 1 when something is parked, or
// was skipped.
func (w *world) payments(args ...string) (a audit) {
	w.t.Helper()
	cmd, out, errs := w.start("payments", append([]string{"-json", "-store", w.store}, args...)...)
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		w.t.Fatalf("%v: %s", err, errs)
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		w.t.Fatalf("%v in %s: %s", err, out, errs)
	}
	return a
}

// records reads all executions. Nothing else has the store open.
func (w *world) records() (recs []*durable.Record) {
	w.t.Helper()
	store := w.open()
	page, err := store.List(w.t.Context(), &durable.ListQuery{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range page.Heads {
		rec, err := store.Load(w.t.Context(), page.Heads[i].ID, durable.LoadAll)
		if err != nil {
			w.t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	return recs
}

func (w *world) open() durable.Store {
	w.t.Helper()
	store, err := w.tryOpen()
	if err != nil {
		w.t.Fatal(err)
	}
	return store
}

// await opens the store once the program has made it.
func (w *world) await(errs *bytes.Buffer) durable.Store {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		store, err := w.tryOpen()
		if err == nil {
			return store
		}
		if time.Now().After(end) {
			w.t.Fatalf("it does not make its store: %v: %s", err, errs)
		}
	}
}

func (w *world) tryOpen() (durable.Store, error) {
	u := w.store
	if path, ok := strings.CutPrefix(u, "sqlite:"); ok {
		u = "sqlite:" + filepath.Join(w.dir, path)
	}
	store, closer, err := storeurl.Open(u)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = closer.Close() })
	return store, nil
}

// TestPayments: orders that are paid, refused, and stuck until an operator has
// decided, in processes of their own, are one trace each, which is what their
// records say.
func TestPayments(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"sqlite", "dynamodb"} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(store+" "+protocol, func(t *testing.T) {
				t.Parallel()
				const orders = 30
				w := newWorld(t, store, protocol)
				args := []string{"-orders", fmt.Sprint(orders), "-decline", "0.15", "-nowhere", "0.1", "-stuck", "0.2"}
				first := w.payments(args...)
				if first.Parked < 2 || first.Committed == 0 || first.Undone == 0 {
					t.Fatalf("the run did not have all kinds of orders: %+v", first)
				}
				if parked := w.decide(); parked != first.Parked {
					t.Fatalf("clew lists %d parked orders, the run had %d", parked, first.Parked)
				}
				w.payments(append(args, "-mended")...)
				recs := w.records()
				newStory(t, once(t, w.Spans()), nil).check(recs) // the second run tells again what had ended in the first
				if len(recs) != orders {
					t.Errorf("%d executions, want %d", len(recs), orders)
				}
				w.wantVerbs(first.Parked)
				w.wantCalls()
				w.wantCounters(recs, first.Parked)
			})
		}
	}
}

// decide does what an operator does about orders that are parked, and counts them:
// one undo is skipped, and the others are tried again.
func (w *world) decide() (parked int) {
	w.t.Helper()
	verb := "skip"
	for line := range strings.Lines(w.clew("ls", "--status", "parked", "--json")) {
		var head struct{ ID string }
		if err := json.Unmarshal([]byte(line), &head); err != nil {
			w.t.Fatal(err)
		}
		w.clew(verb, head.ID, "--actor", "ada", "--reason", "it is mended")
		verb = "retry"
		parked++
	}
	return parked
}

// wantVerbs: what operators did in other processes is in the traces.
func (w *world) wantVerbs(parked int) {
	w.t.Helper()
	acted := map[string]int{}
	for _, s := range w.Spans() {
		for _, e := range s.Events().All() {
			if e.Name() == "OperatorActed" {
				verb, _ := e.Attributes().Get("clew.event.verb")
				actor, _ := e.Attributes().Get("clew.event.actor")
				acted[verb.AsString()+" by "+actor.AsString()]++
			}
		}
	}
	if want := fmt.Sprintf("map[retry by ada:%d skip by ada:1]", parked-1); fmt.Sprint(acted) != want {
		w.t.Errorf("operators did %v, want %s", acted, want)
	}
}

// wantCalls: the participants, which are services of their own, continue the
// traces of the attempts that call them.
func (w *world) wantCalls() {
	w.t.Helper()
	spans := w.Spans()
	byID := map[string]Span{}
	for _, s := range spans {
		byID[s.SpanID().String()] = s
	}
	calls := map[string]bool{}
	for _, s := range spans {
		if s.Kind() == ptrace.SpanKindServer {
			calls[fmt.Sprintf("%s: %s under %s of %s", s.Service, s.Name(), byID[s.ParentSpanID().String()].Name(), byID[s.ParentSpanID().String()].Service)] = true
		}
	}
	for _, want := range []string{
		"payments-gateway: POST /gateway/authorize under attempt authorize of payments",
		"payments-warehouse: POST /warehouse/release under attempt undo reserve of payments",
		"payments-screening: POST /screening/check_address under attempt address check of payments",
		"payments-ledger: POST /ledger/receipt under attempt receipt of payments",
	} {
		if !calls[want] {
			w.t.Errorf("there is no %s among %v", want, calls)
		}
	}
}

// wantCounters: the metrics have arrived too, and agree with the records.
func (w *world) wantCounters(recs []*durable.Record, parked int) {
	w.t.Helper()
	want := map[string]float64{}
	var units float64
	for _, rec := range recs {
		forward, unwind, _ := strings.Cut(rec.Detail, "/")
		want["clew.executions.ended{clew.definition=payment,clew.outcome="+forward+",clew.unwind="+unwind+"}"]++
		units += float64(rec.Usage.WriteUnits)
	}
	want["clew.executions.started{clew.definition=payment}"] = float64(len(recs))
	want["clew.executions.parked{clew.definition=payment,clew.reason=undo-failed}"] = float64(parked)
	if units > 0 {
		want["clew.cost.units{clew.definition=payment,clew.unit=write}"] = units
	}
	counters := w.Counters()
	for series, n := range want {
		if counters[series] != n {
			w.t.Errorf("%s is %v, want %v; all are %v", series, counters[series], n, counters)
		}
	}
}

// TestKilled: a process is killed with orders in flight, and another one finishes
// them: each is one trace, in which nothing is missing but what was in the killed
// process.
func TestKilled(t *testing.T) {
	t.Parallel()
	for store, protocol := range map[string]string{"sqlite": "grpc", "dynamodb": "http/protobuf"} {
		t.Run(store+" "+protocol, func(t *testing.T) {
			t.Parallel()
			const orders = 8
			w := newWorld(t, store, protocol)
			args := []string{"-json", "-store", w.store, "-orders", fmt.Sprint(orders), "-concurrency", fmt.Sprint(orders), "-decline", "0", "-fraud", "0.4", "-step-delay", "700ms"}
			cmd, _, errs := w.start("payments", args...)
			killed := w.kill(cmd, orders, errs)
			w.payments(args[3:]...)
			recs := w.records()
			lost := newStory(t, w.Spans(), killed).check(recs)
			if len(recs) != orders || lost == 0 {
				t.Errorf("%d executions, with %d attempts that were lost; want %d, and some", len(recs), lost, orders)
			}
		})
	}
}

// kill kills the program once all its orders are on their way and some have a
// step behind them, and returns the activations that it had. None may have ended.
func (w *world) kill(cmd *exec.Cmd, orders int, errs *bytes.Buffer) map[string]int64 {
	w.t.Helper()
	heads := w.killWhen(cmd, errs, func(heads []durable.Head) bool {
		late := func(h durable.Head) bool { return h.Revision >= 3 } // a start, its result, another start
		return len(heads) == orders && slices.ContainsFunc(heads, late)
	})
	killed := map[string]int64{}
	for _, h := range heads {
		if h.Status.Ended() {
			w.t.Fatalf("%s has ended before the process was killed: this machine is too slow for the test", h.ID)
		}
		killed[h.ID] = h.Epoch
	}
	return killed
}

// killWhen kills the program once its executions are as they are wanted, and returns
// what they are then.
func (w *world) killWhen(cmd *exec.Cmd, errs *bytes.Buffer, ready func([]durable.Head) bool) []durable.Head {
	w.t.Helper()
	store := w.await(errs)
	heads := func() []durable.Head {
		page, err := store.List(w.t.Context(), &durable.ListQuery{Definition: "payment", Limit: 1000})
		if err != nil {
			w.t.Fatal(err)
		}
		return page.Heads
	}
	for end := time.Now().Add(time.Minute); !ready(heads()); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("it does not run its orders: %s", errs)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		w.t.Fatalf("it ended too early: %v: %s", err, errs)
	}
	_ = cmd.Wait()
	return heads()
}
