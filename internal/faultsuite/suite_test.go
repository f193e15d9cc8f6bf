package faultsuite

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/faultproxy"
	"github.com/clewdev/clew/internal/mutant"
	"github.com/clewdev/clew/store/dynamo"
)

var executions = flag.Int("executions", 60, "size of the suite; 200 is the long form")

func TestMain(m *testing.M) {
	if raw := os.Getenv(workerVar); raw != "" {
		fmt.Fprintln(os.Stderr, "worker:", work(raw))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// usual is a bad day: every fault at once.
func usual(t *testing.T) plan {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return plan{
		Executions: *executions, Processes: 4, Engines: 8,
		Rates: map[faultproxy.Fault]float64{
			faultproxy.LostAnswer: 0.06, faultproxy.Unsent: 0.03, faultproxy.Repeated: 0.03, faultproxy.Stalled: 0.03,
			faultproxy.Throttled: 0.02, faultproxy.Failed: 0.02, faultproxy.Reset: 0.02,
		},
		Late: [2]time.Duration{100 * time.Millisecond, 400 * time.Millisecond}, Lease: 120 * time.Millisecond, Skew: 50 * time.Millisecond,
		KillEvery: 700 * time.Millisecond, Limit: 4 * time.Minute, Binary: binary,
	}
}

// carry runs a plan over a table of its own and judges it.
func carry(t *testing.T, p plan) (*run, *verdict) {
	t.Helper()
	client := dynamolocal.Client(t)
	table := dynamolocal.Table(t)
	if err := dynamo.CreateTable(t.Context(), client, dynamo.Options{Table: table, Shards: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	r := newRun(p, t.TempDir(), table, dynamolocal.Endpoint(t))
	if err := r.carryOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := r.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d executions on %d engines in %d processes, %.1f s: %v", p.Executions, p.Processes*p.Engines, p.Processes, r.took.Seconds(), v.statuses)
	t.Logf("faults: %v, %d kills, %d freezes, %d failed starts of a process", r.proxy.Counts(), r.kills, r.freezes, r.restarts)
	t.Logf("%d acknowledged commits, %d claims with their journals, %d effects, %d of them repeated and %d refused as late, %d claims beyond the first, %d times helped, %d given up by a live owner",
		v.acked, v.claims, v.effects, v.repeated, v.refused, v.takeovers, v.parked, v.givenUp)
	return r, v
}

// TestFaults: one linear history for each execution, nothing acknowledged
// lost, nothing twice that may be once, no undo missing.
func TestFaults(t *testing.T) {
	p := usual(t)
	r, v := carry(t, p)
	counts := r.proxy.Counts()
	for fault, rate := range p.Rates {
		if counts[fault] == 0 {
			t.Errorf("no request was %s, of which there should be %g %%", fault, 100*rate)
		}
	}
	if r.kills == 0 || r.freezes == 0 || v.takeovers == 0 {
		t.Errorf("%d kills, %d freezes, %d takeovers, want some of each", r.kills, r.freezes, v.takeovers)
	}
	for _, violation := range append(v.violations, v.unfinished...) {
		t.Error(violation)
	}
}

// TestLateWrites: a quarter of all writes and queries arrives after the lease
// of who sent them. It is the day on which mutants fail.
func TestLateWrites(t *testing.T) {
	p := usual(t)
	p.Executions = min(p.Executions, *executions*2/5)
	p.Target = often(map[string]faultproxy.Fault{
		"PutItem": faultproxy.Stalled, "UpdateItem": faultproxy.Stalled, "Query": faultproxy.Stalled})
	_, v := carry(t, p)
	for _, violation := range append(v.violations, v.unfinished...) {
		t.Error(violation)
	}
}

// often makes every fourth request of an action meet its fault.
func often(faults map[string]faultproxy.Fault) func(string, []byte) faultproxy.Fault {
	return func(action string, _ []byte) faultproxy.Fault {
		if rand.N(4) == 0 {
			return faults[action]
		}
		return ""
	}
}

// mutants are stores without one of the rules that make them safe. target
// makes the faults frequent that the rule is there for.
var mutants = []struct {
	name    string
	changes []mutant.Change
	target  map[string]faultproxy.Fault // by action
	caught  func(*verdict) bool
}{
	{"no fencing", []mutant.Change{{File: "store/dynamo/commit.go",
		Old: `	u.where(aEpoch, "=", number(c.Epoch))
	u.where(aSeq, "=", number(h.headSeq))
`}}, map[string]faultproxy.Fault{"UpdateItem": faultproxy.Stalled}, wrong},
	{"no recognition of own writes", []mutant.Change{{File: "store/dynamo/commit.go",
		Old: "	case current && c.Seq == h.Seq && c.Seq > 0:\n", New: "	case false:\n"}},
		nil, func(v *verdict) bool { return v.givenUp > 0 }},
	{"no seal", []mutant.Change{{File: "store/dynamo/claim.go",
		Old: "if forced && !slices.ContainsFunc(journal, mine) {", New: "if forced && len(journal) < 0 && !slices.ContainsFunc(journal, mine) {"}},
		map[string]faultproxy.Fault{"PutItem": faultproxy.Stalled}, wrong},
	{"no rule of epochs", []mutant.Change{
		{File: "store/dynamo/record.go", Old: "		if journal[i].epoch > h.Epoch {", New: "		if false {"},
		{File: "store/dynamo/log.go", Old: "		case blocking.epoch > h.Epoch:", New: "		case false:"},
		{File: "store/dynamo/log.go", Old: " || r.epoch > next.Epoch:", New: ":"},
	}, map[string]faultproxy.Fault{"Query": faultproxy.Stalled, "PutItem": faultproxy.Stalled}, wrong},
}

func wrong(v *verdict) bool { return len(v.violations) > 0 }

// TestMutants: the suite notices when a rule is missing.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the store once per mutant; -short leaves that out")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "worker")
			out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary,
				"-overlay", mutant.Overlay(t, "../..", m.changes...), ".").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for range 4 { // its faults are random
				p := usual(t)
				p.Executions, p.Binary, p.Limit = 24, binary, 8*time.Second
				p.Target = often(m.target)
				_, v := carry(t, p)
				if m.caught(v) {
					t.Logf("noticed: %s", v.violations[0])
					return
				}
			}
			t.Error("nothing was noticed")
		})
	}
}
