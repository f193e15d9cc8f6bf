package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// suites are the published ones whose operations exist, by the number that
// their requirements begin with.
var suites = map[string]string{"1": "step", "2": "wait", "3": "child", "4": "callback"}

// unmet are the requirements that are not met, and why.
var unmet = map[string]string{
	"3-14": "payloads are JSON: an operation has no codec of its own that writes something else",
}

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

// carryOut runs a handler to its end in virtual time, in processes that may
// be killed, and returns its record.
func carryOut(t *testing.T, f handler, in any, actions []action) (rec *durable.Record) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan struct{}, 2)
		process := func(body func(kill func()) func(*durable.Context, any) (any, error)) (*durable.Engine, *durable.Definition[any, any]) {
			e, err := durable.New(store, durable.Options{HotWait: -1, MaxSkew: time.Millisecond, DrainTimeout: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			own, die := context.WithCancel(ctx)
			kill := func() {
				store.KillOwner(e.ID())
				die()
				<-ctx.Done() // nothing of it goes on
			}
			def := durable.Define("conformance", "1", body(kill))
			if err := e.Register(def); err != nil {
				t.Fatal(err)
			}
			go func() { _ = e.Run(own); ended <- struct{}{} }()
			return e, def
		}
		var killed atomic.Bool
		body := func(kill func()) func(*durable.Context, any) (any, error) {
			return func(c *durable.Context, in any) (any, error) {
				return f(c, in, func() {
					if killed.CompareAndSwap(false, true) {
						kill()
					}
				})
			}
		}
		first, def := process(body)
		x, err := def.Start(ctx, first, "x", in)
		if err != nil {
			t.Fatal(err)
		}
		process(body)
		for _, name := range namesOf(actions) {
			go act(ctx, store, first, name, actions)
		}
		for rec == nil || !rec.Status.Ended() {
			time.Sleep(100 * time.Millisecond)
			if rec, err = store.Load(ctx, x.ID(), durable.LoadAll); err != nil {
				t.Fatal(err)
			}
			if rec.Status == durable.StatusParked {
				t.Fatalf("it parked: %s", rec.Park.Message)
			}
		}
		stop()
		<-ended
		<-ended
	})
	return rec
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
func act(ctx context.Context, store durable.Store, e *durable.Engine, name string, actions []action) {
	for _, a := range actions {
		if a.Name != name {
			continue
		}
		id := ""
		for ; id == "" && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			rec, err := store.Load(ctx, "x", durable.LoadAll)
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
	all := map[string]kept{}
	for number, suite := range suites {
		files, err := filepath.Glob(filepath.Join(dir, suite, number+"-*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no requirements, %v", suite, err)
		}
		for _, file := range files {
			id := strings.TrimSuffix(filepath.Base(file), ".yaml")
			t.Run("mem/"+suite+"/"+id, func(t *testing.T) {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var r requirement
				if err := yaml.Unmarshal(b, &r); err != nil {
					t.Fatal(err)
				}
				if why := unmet[id]; why != "" {
					t.Skip(why)
				}
				f := handlers[id]
				if f == nil {
					t.Fatal("there is no handler")
				}
				all[id] = r.hold(t, f)
			})
		}
	}
	if os.Getenv("CLEW_UPDATE") != "" && !t.Failed() {
		keep(t, all)
	}
}

// hold carries a requirement's handler out, and judges what it left.
func (r *requirement) hold(t *testing.T, f handler) kept {
	t.Helper()
	j := judge{}
	j.bind(r.Variables)
	for i := range r.CallbackActions {
		a := &r.CallbackActions[i]
		a.Name, a.Payload = fmt.Sprint(j.fill(a.Name)), j.fill(a.Payload)
	}
	in := j.fill(r.Input)
	rec := carryOut(t, f, in, r.CallbackActions)
	if want := r.ExpectedResult.ExecutionStatus; want != "" && statuses[rec.Status] != want {
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
	events := eventsOf(t, rec)
	for _, want := range r.ExpectedExecutionHistory {
		n, _ := want["EventId"].(int)
		if n < 1 || n > len(events) {
			t.Errorf("there is no event %d; there are %s", n, sequence(events))
			continue
		}
		if err := j.compare(fmt.Sprintf("event %d", n), want, any(events[n-1])); err != nil {
			t.Errorf("%v; there are %s", err, sequence(events))
		}
	}
	return kept{Input: in, Actions: r.CallbackActions, Events: sequence(events)}
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
	if len(all) != len(handlers)-len(unmet) {
		t.Errorf("%d sequences are kept of %d handlers", len(all), len(handlers))
	}
	for id, k := range all {
		if got := sequence(eventsOf(t, carryOut(t, handlers[id], k.Input, k.Actions))); !slices.Equal(got, k.Events) {
			t.Errorf("%s: got %v, want %v", id, got, k.Events)
		}
	}
}
