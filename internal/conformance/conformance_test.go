package conformance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/clewdev/clew/durable"
)

// suites are the published ones, with what their requirements' numbers begin
// with.
var suites = []struct{ number, name string }{{"1", "step"}, {"2", "wait"}, {"3", "child"}, {"4", "callback"}, {"8", "parallel"}}

// statuses are ours in the words of the requirements.
var statuses = map[durable.Status]string{
	durable.StatusSucceeded: "SUCCEEDED", durable.StatusFailed: "FAILED", durable.StatusCancelled: "STOPPED", durable.StatusTimedOut: "TIMED_OUT",
}

// published finds the requirements, "" if they are not here.
func published() string {
	if dir := os.Getenv("CLEW_CONFORMANCE"); dir != "" {
		return dir
	}
	const dir = "../../../shared/conformance"
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// namesOf are the callbacks that actions are about.
func namesOf(actions []action) (names []string) {
	for _, a := range actions {
		if !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	return names
}

// act does to one callback what somebody outside does.
func act(ctx context.Context, e *durable.Engine, name string, actions []action) {
	for _, a := range actions {
		if a.Name != name {
			continue
		}
		id := ""
		for ; id == "" && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			rec, err := e.Store().Load(ctx, "x", durable.LoadAll)
			if err != nil {
				return
			}
			for ev := range durable.History(rec) {
				if ev.Type == "CallbackStarted" && ev.Name == a.Name {
					id = ev.Details.CallbackID
				}
			}
		}
		time.Sleep(time.Duration(a.Delay * float64(time.Second)))
		settle(ctx, e)
		switch a.Operation {
		case "success":
			_ = e.CompleteCallback(ctx, id, a.Payload) // what comes of it, the history tells
		case "failure":
			m, _ := a.Payload.(map[string]any)
			_ = e.FailCallback(ctx, id, &durable.Error{Type: fmt.Sprint(m["ErrorType"]), Message: fmt.Sprint(m["ErrorMessage"])})
		case "heartbeat":
			_ = e.HeartbeatCallback(ctx, id)
		}
	}
}

// settle waits until the execution has taken in what was done before and waits
// again, which on a busy machine takes longer than the delays say.
func settle(ctx context.Context, e *durable.Engine) {
	for ctx.Err() == nil {
		rec, err := e.Store().Load(ctx, "x", durable.LoadHead)
		if err != nil || rec.Status != durable.StatusRunning && rec.Delivered == rec.Seen {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// eventsOf are the events of a record as JSON has them.
func eventsOf(t *testing.T, rec *durable.Record) (all []map[string]any) {
	t.Helper()
	for e := range durable.History(rec) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestConformance(t *testing.T) {
	dir := published()
	if dir == "" {
		t.Skip("the published requirements are not here: CLEW_CONFORMANCE names their folder; TestSequences holds the same handlers to what they came to")
	}
	reqs := requirements(t, dir)
	table := &results{held: map[string][]string{}}
	t.Cleanup(func() { table.print(t, reqs) })
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			if !w.virtual {
				t.Parallel()
			}
			for _, r := range reqs {
				t.Run(r.suite+"/"+r.id, func(t *testing.T) {
					if !w.virtual {
						t.Parallel()
					}
					k := r.hold(t, &w)
					table.note(&w, r, k, !t.Failed())
				})
			}
		})
	}
	if os.Getenv("CLEW_UPDATE") != "" && !t.Failed() {
		keep(t, table.kept)
	}
}

// requirements reads the published ones, in order of their numbers.
func requirements(t *testing.T, dir string) (all []*requirement) {
	t.Helper()
	for _, suite := range suites {
		files, err := filepath.Glob(filepath.Join(dir, suite.name, suite.number+"-*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no requirements, %v", suite.name, err)
		}
		slices.SortFunc(files, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		for _, file := range files {
			r := &requirement{suite: suite.name, id: strings.TrimSuffix(filepath.Base(file), ".yaml")}
			b, err := os.ReadFile(file)
			if err == nil {
				err = yaml.Unmarshal(b, r)
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, r)
		}
	}
	return all
}

// results are what became of the requirements in the worlds.
type results struct {
	mu   sync.Mutex
	held map[string][]string // by requirement, the worlds in which it holds
	kept map[string]kept
}

func (x *results) note(w *world, r *requirement, k kept, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ok {
		x.held[r.id] = append(x.held[r.id], w.name)
	}
	if w.virtual {
		if x.kept == nil {
			x.kept = map[string]kept{}
		}
		x.kept[r.id] = k
	}
}

func (x *results) print(t *testing.T, reqs []*requirement) {
	for _, r := range reqs {
		slices.Sort(x.held[r.id])
		t.Logf("%-9s %-5s %-22s %s", r.suite, r.id, strings.Join(x.held[r.id], " "), r.Description)
	}
}

// hold carries a requirement's handler out, and judges what it left.
func (r *requirement) hold(t *testing.T, w *world) kept {
	t.Helper()
	f := handlers[r.id]
	if f == nil {
		t.Fatal("there is no handler")
	}
	j := judge{}
	j.bind(r.Variables)
	actions := slices.Clone(r.CallbackActions)
	for i := range actions {
		a := &actions[i]
		a.Name, a.Payload = fmt.Sprint(j.fill(a.Name)), j.fill(a.Payload)
	}
	in := j.fill(r.Input)
	events, want := math.MaxInt, r.ExpectedResult.ExecutionStatus
	if want == "" && r.ExpectedResult.Result == nil {
		events = 1
		for _, e := range r.ExpectedExecutionHistory {
			n, _ := e["EventId"].(int)
			events = max(events, n)
		}
	}
	rec := w.carryOut(t, f, in, actions, events)
	if want != "" && statuses[rec.Status] != want {
		t.Errorf("status: got %s, want %s (%v)", statuses[rec.Status], want, rec.Error)
	}
	if want := r.ExpectedResult.Result; want != nil {
		var got any
		if err := json.Unmarshal(rec.Result, &got); err != nil {
			t.Fatal(err)
		}
		if err := j.compare("Result", want, got); err != nil {
			t.Error(err)
		}
	}
	all := eventsOf(t, rec)
	for _, want := range r.ExpectedExecutionHistory {
		n, _ := want["EventId"].(int)
		if n < 1 || n > len(all) {
			t.Errorf("there is no event %d; there are %s", n, sequence(all))
			continue
		}
		if err := j.compare(fmt.Sprintf("event %d", n), want, any(all[n-1])); err != nil {
			t.Errorf("%v; there are %s", err, sequence(all))
		}
	}
	return kept{Input: in, Actions: actions, Events: sequence(all)}
}

// sequence is a history in short.
func sequence(events []map[string]any) []string {
	var all []string
	for _, e := range events {
		all = append(all, e["EventType"].(string))
	}
	return all
}

// sequences is where TestConformance keeps, with CLEW_UPDATE=1, what the
// handlers came to.
const sequences = "testdata/sequences.json"

// kept is a requirement in our own form.
type kept struct {
	Input   any
	Actions []action
	Events  []string
}

func keep(t *testing.T, all map[string]kept) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "\t")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sequences, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSequences: handlers leave the events that they left when they were
// judged by the published requirements.
func TestSequences(t *testing.T) {
	b, err := os.ReadFile(sequences)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]kept
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(handlers) {
		t.Errorf("%d sequences are kept of %d handlers", len(all), len(handlers))
	}
	for id, k := range all {
		got := sequence(eventsOf(t, worlds[0].carryOut(t, handlers[id], k.Input, k.Actions, 0)))
		if id == "8-11" { // whose branches run at once
			slices.Sort(got)
			slices.Sort(k.Events)
		}
		if !slices.Equal(got, k.Events) {
			t.Errorf("%s: got %v, want %v", id, got, k.Events)
		}
	}
}
