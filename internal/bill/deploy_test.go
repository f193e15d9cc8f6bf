package bill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/bill"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/store/dynamo"
)

// What docs/deploy.md assumes, because it depends on the participants, and what
// AWS says of its services.
const (
	month          = 30 * 24 * 3600 // s
	memory         = 0.25           // GB
	sagaSeconds    = 0.3            // of one invocation, in which a saga begins and ends
	tickSeconds    = 0.1
	sagaLog        = 0.5e3 // bytes that an invocation leaves in the log
	tickLog        = 1e3
	sagaStored     = 3e3 // bytes
	emptyPolls     = 5 * month / 20
	metrics        = 7 // those of the sweep, and two of wake-ups
	sweepMetrics   = 5
	alarms         = 3
	ticks          = month / 60
	tickReads      = 6   // units, with one definition version; measured by TestTick
	retainedWrites = 4   // that deleting a saga costs; in docs/operations.md
	rate           = 100 // sagas a second, of the last column
)

// measured reads a row of the README's table of requests and units, which a test
// of store/dynamo measures.
func measured(t *testing.T, scenario string) (writes, reads float64) {
	t.Helper()
	readme := read(t, "README.md")
	m := regexp.MustCompile("`" + scenario + "` \\| [0-9.]+ \\| ([0-9.]+) \\| ([0-9.]+) \\|").FindStringSubmatch(readme)
	if m == nil {
		t.Fatalf("the README has no row of %s", scenario)
	}
	writes, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if reads, err = strconv.ParseFloat(m[2], 64); err != nil {
		t.Fatal(err)
	}
	return writes, reads
}

func read(t *testing.T, page string) string {
	t.Helper()
	b, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMonth: the table of docs/deploy.md follows from the prices, from what is
// measured, and from what it says that it assumes.
func TestMonth(t *testing.T) {
	page := read(t, "docs/deploy.md")
	p, h := bill.Listed(), bill.ListedHosting()
	writes, _ := measured(t, "five-steps-ok")
	const million, gb = 1e6, 1e9
	lines := []struct {
		name string
		cost func(sagas float64) float64
	}{
		{"DynamoDB: writes of sagas", func(n float64) float64 { return n * writes * p.WriteUnits / million }},
		{"Lambda: invocations of sagas", func(n float64) float64 { return n * h.Invocations / million }},
		{"Lambda: their GB-seconds", func(n float64) float64 { return n * sagaSeconds * memory * h.GBSeconds / million }},
		{"CloudWatch: their logs", func(n float64) float64 { return n * sagaLog / gb * h.LogGB }},
		{"DynamoDB: what the month leaves behind", func(n float64) float64 { return n * sagaStored / gb * h.StoredGB }},
		{"Sweep: schedule, Lambda, logs", func(float64) float64 {
			return ticks * ((h.Ticks+h.Invocations+tickSeconds*memory*h.GBSeconds)/million + tickLog/gb*h.LogGB)
		}},
		{"Sweep: reads", func(float64) float64 { return ticks * tickReads * p.ReadUnits / million }},
		{"SQS: polls of an empty queue", func(float64) float64 { return emptyPolls * h.Messages / million }},
		{"CloudWatch: metrics and alarms", func(float64) float64 { return metrics*h.Metric + alarms*h.Alarm }},
	}
	want := func(name string, at [3]float64) {
		t.Helper()
		row := fmt.Sprintf("| %s | $%.2f | $%.2f | $%.2f |\n", name, at[0], at[1], at[2])
		if !strings.Contains(page, row) {
			t.Errorf("docs/deploy.md has no row\n%s", row)
		}
	}
	var sum [3]float64
	for _, line := range lines {
		var at [3]float64
		for i, sagas := range [3]float64{0, month, rate * month} {
			at[i] = line.cost(sagas)
			sum[i] += at[i]
		}
		want(line.name, at)
	}
	want("**together**", sum)

	if row := fmt.Sprintf("| `Start`, with a retention | 5 / %d / 2 |", retainedWrites); !strings.Contains(read(t, "docs/operations.md"), row) {
		t.Errorf("docs/operations.md has no %q, from which docs/deploy.md is computed", row)
	}
	most := float64(rate * month)
	waitWrites, _ := measured(t, "one-day-wait")
	for _, sentence := range []string{
		fmt.Sprintf("prices of %s", bill.PricedOn),
		fmt.Sprintf("%g write units", writes),
		fmt.Sprintf("$%.2f more each month", most*sagaStored/gb*h.StoredGB),
		fmt.Sprintf("$%.2f a month for deleting", most*retainedWrites*p.WriteUnits/million),
		fmt.Sprintf("$%.2f per million sagas", sum[2]/most*million),
		fmt.Sprintf("$%.2f per million on Lambda durable functions and about $%.2f on Step Functions", 6*p.Operations, 6*p.Moves),
		fmt.Sprintf("$%.2f for a million", waitWrites*p.WriteUnits+2*h.Invocations+3*h.Messages+2*tickSeconds*memory*h.GBSeconds),
		fmt.Sprintf("%d read units a tick", tickReads),
		fmt.Sprintf("longer than %.1f months", retainedWrites*p.WriteUnits/million/(sagaStored/gb*h.StoredGB)),
	} {
		if !strings.Contains(page, sentence) {
			t.Errorf("docs/deploy.md does not say %q", sentence)
		}
	}
}

// reads is an API that prices reads at the least that AWS charges for one: a
// unit if it is consistent, else half of one. The server of the tests charges
// nothing where there is nothing to read.
type reads struct {
	dynamo.API
	mu    sync.Mutex
	units float64
}

func (r *reads) count(consistent *bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units += 0.5
	if consistent != nil && *consistent {
		r.units += 0.5
	}
}

func (r *reads) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	r.count(in.ConsistentRead)
	return r.API.GetItem(ctx, in, opts...)
}

func (r *reads) Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	r.count(in.ConsistentRead)
	return r.API.Query(ctx, in, opts...)
}

// TestTick measures what the sweep of an idle function with one definition reads,
// a minute after the last one, and counts its metrics.
func TestTick(t *testing.T) {
	client := dynamolocal.Client(t)
	table := dynamolocal.Table(t)
	if err := dynamo.CreateTable(t.Context(), client, dynamo.Options{Table: table}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	api := &reads{API: client}
	var out bytes.Buffer
	host, err := lambdahost.New(lambdahost.Options{
		Open: func(ctx context.Context) (durable.Store, error) {
			return dynamo.Open(ctx, api, dynamo.Options{Table: table})
		},
		Definitions: []durable.Registrable{durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 0, nil })},
		Function:    "f", Version: "1", Metrics: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	tick := func() float64 {
		t.Helper()
		before := api.units
		out.Reset()
		if _, err := host.Invoke(t.Context(), []byte(`{"clew":"sweep"}`)); err != nil {
			t.Fatal(err)
		}
		return api.units - before
	}
	tick() // opens the store
	// Within a minute of the last one it does not look at the settings again,
	// which is a unit, as in the first.
	if got := tick() + 1; got != tickReads {
		t.Errorf("a tick reads %g units, and docs/deploy.md is computed with %d", got, tickReads)
	}
	var line struct {
		AWS struct {
			CloudWatchMetrics []struct{ Metrics []struct{ Name string } }
		} `json:"_aws"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if got := len(line.AWS.CloudWatchMetrics[0].Metrics); got != sweepMetrics {
		t.Errorf("a sweep has %d metrics, and docs/deploy.md is computed with %d", got, sweepMetrics)
	}
}
