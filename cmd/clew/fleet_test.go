package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/storeurl"
	"github.com/clewdev/clew/store/sqlite"
)

// tableURL names a table on DynamoDB Local that is not there yet.
func tableURL(t *testing.T) string {
	t.Helper()
	client, table := dynamolocal.Client(t), dynamolocal.Table(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "local")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "local")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	return dynamolocal.URL(t, table)
}

// onEachStore runs a test on a store of each kind, which the tool knows by its URL.
func onEachStore(t *testing.T, test func(t *testing.T, u string, store durable.Store)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) string{
		"SQLite": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "clew.db")
			db, err := sqlite.Open(path, sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_ = db.Close()
			return "sqlite:" + path
		},
		"DynamoDB": func(t *testing.T) string {
			u := tableURL(t)
			must(t, "--store", u, "table", "create")
			return u
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := open(t)
			store, closer, err := storeurl.Open(u)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = closer.Close() }()
			test(t, u, store)
		})
	}
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := clew(t, args...)
	if err != nil {
		t.Fatalf("clew %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// stay is a definition version that waits, and says which one it was.
func stay(version string) *durable.Definition[string, string] {
	return durable.Define("stay", version, func(ctx *durable.Context, _ string) (string, error) {
		return "by " + version, durable.Wait(ctx, "a moment", 20*time.Millisecond)
	})
}

// serve runs a worker that has registered some versions, until stop.
func serve(t *testing.T, store durable.Store, defs ...*durable.Definition[string, string]) (e *durable.Engine, stop func()) {
	t.Helper()
	e, err := durable.New(store, durable.Options{HotWait: -1, PollMax: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range defs {
		if err := e.Register(def); err != nil {
			t.Fatal(err)
		}
	}
	return e, running(t, e)
}

// running runs an engine, until stop.
func running(t *testing.T, e *durable.Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestVersions: each execution runs on the version that it started with. What
// nobody serves stays due, is reported, and goes on as soon as somebody does.
func TestVersions(t *testing.T) {
	onEachStore(t, func(t *testing.T, u string, store durable.Store) {
		first, second := stay("1"), stay("2")
		e, stop := serve(t, store, first)
		if _, err := first.Start(t.Context(), e, "old", "in"); err != nil {
			t.Fatal(err)
		}
		stop()
		e, stop = serve(t, store, second)
		x, err := second.Start(t.Context(), e, "new", "in")
		if err != nil {
			t.Fatal(err)
		}
		if out, err := x.Wait(t.Context()); out != "by 2" || err != nil {
			t.Errorf("the new one: got %q, %v, want it run by 2", out, err)
		}
		stop()
		var v inFlight
		if err := json.Unmarshal([]byte(must(t, "--store", u, "--json", "versions")), &v); err != nil {
			t.Fatal(err)
		}
		if v.Version != "1" || v.Pending+v.Suspended != 1 || v.Parked != 0 || v.Overdue <= 0 {
			t.Errorf("got %+v, want one of version 1 that is overdue", v)
		}
		contains(t, must(t, "--store", u, "versions"), "stay", "SUSPENDED")
		e, stop = serve(t, store, first, second)
		defer stop()
		if out, err := first.Attach(e, "old").Wait(t.Context()); out != "by 1" || err != nil {
			t.Errorf("the old one: got %q, %v, want it run by 1", out, err)
		}
		contains(t, must(t, "--store", u, "versions"), "nothing is in flight")
	})
}

func TestTable(t *testing.T) {
	u := tableURL(t)
	_, err := clew(t, "--store", u, "ls")
	if err == nil || !strings.Contains(err.Error(), "clew table create") {
		t.Errorf("ls of a table that is not there: got %v, want it to name clew table create", err)
	}
	for range 2 {
		contains(t, must(t, "--store", u, "table", "create", "--shards", "2"), "is ready")
	}
	contains(t, must(t, "--store", u, "--json", "table", "check"), `"ready"`)
	if _, err := clew(t, "--store", "sqlite:x.db", "table", "check"); err == nil {
		t.Error("check of a file: got nil, want an error")
	}
}

func TestCost(t *testing.T) {
	u := tableURL(t)
	must(t, "--store", u, "table", "create")
	store, closer, err := storeurl.Open(u)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closer.Close() }()
	def := stay("1")
	e, stop := serve(t, store, def)
	defer stop()
	for _, id := range []string{"a", "b"} {
		x, err := def.Start(t.Context(), e, id, "in")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		Executions int64 `json:"executions"`
		Requests   int64 `json:"requests"`
		Operations int64 `json:"operations"`
		Dollars    struct {
			Clew             float64 `json:"clew"`
			DurableFunctions float64 `json:"lambda_durable_functions"`
		} `json:"dollars"`
	}
	ask := func(args ...string) (a answer) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, append([]string{"--store", u, "--json", "cost"}, args...)...)), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, both := ask("a"), ask("--definition", "stay")
	if one.Executions != 1 || one.Requests < 3 || one.Operations != 2 || one.Dollars.DurableFunctions != 16e-6 {
		t.Errorf("of one: got %+v, want at least three requests, and two operations for 16 millionths", one)
	}
	if both.Executions != 2 || both.Requests < 2*3 || both.Dollars.Clew <= one.Dollars.Clew {
		t.Errorf("of both: got %+v, want the sum", both)
	}
	if dear := ask("a", "--write-price", "6.25"); dear.Dollars.Clew < 9*one.Dollars.Clew {
		t.Errorf("at ten times the price: got %g, want about ten times %g", dear.Dollars.Clew, one.Dollars.Clew)
	}
	contains(t, must(t, "--store", u, "history", "a"), "WaitSucceeded", "#1 a moment", "0.02 s", "ExecutionSucceeded")
	contains(t, must(t, "--store", u, "--json", "history", "a"), `"EventType":"WaitStarted"`, `"WaitStartedDetails":{"Duration":0.02}`)
	contains(t, must(t, "--store", u, "cost", "a"), "PER EXECUTION", "per million", "Lambda durable functions, 2 operations")
	for _, wrong := range [][]string{{}, {"a", "--definition", "stay"}, {"--definition", "no-such"}, {"no-such"}} {
		if _, err := clew(t, append([]string{"--store", u, "cost"}, wrong...)...); err == nil {
			t.Errorf("cost %v: got nil, want an error", wrong)
		}
	}
}
