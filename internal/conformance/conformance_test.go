package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
var suites = map[string]string{"1": "step", "2": "wait", "3": "child"}

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
func carryOut(t *testing.T, f handler, in any) (rec *durable.Record) {
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
				r.hold(t, f)
			})
		}
	}
}

// hold carries a requirement's handler out, and judges what it left.
func (r *requirement) hold(t *testing.T, f handler) {
	t.Helper()
	j := judge{}
	j.bind(r.Variables)
	rec := carryOut(t, f, j.fill(r.Input))
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
}

// sequence is a history in short.
func sequence(events []map[string]any) []string {
	var all []string
	for _, e := range events {
		all = append(all, e["EventType"].(string))
	}
	return all
}

// TestSequences: what the handlers leave is what they left when they were
// judged by the published requirements. CLEW_UPDATE=1 writes it anew.
func TestSequences(t *testing.T) {
	const file = "testdata/events.json"
	inputs := map[string]any{"1-4": map[string]any{"name": "Alice"}, "3-2": map[string]any{"name": "n", "value": "v"}}
	got := map[string][]string{}
	for id, f := range handlers {
		in := inputs[id]
		if in == nil {
			in = "input"
		}
		got[id] = sequence(eventsOf(t, carryOut(t, f, in)))
	}
	if os.Getenv("CLEW_UPDATE") != "" {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "\t")
		if err := enc.Encode(got); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for id := range handlers {
		if !reflect.DeepEqual(got[id], want[id]) {
			t.Errorf("%s: got %v, want %v", id, got[id], want[id])
		}
	}
}
