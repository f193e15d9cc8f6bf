package dynamo

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

var loaded = flag.Int("load", 5_000, "suspended executions in TestLoad; 100000 is the long form")

// fill puts executions into a table in batches, as their own writes would have
// left them: suspended for a day or more, or running for an hour.
func fill(t *testing.T, s *Store, client *dynamodb.Client, status durable.Status, from, to int) {
	t.Helper()
	var wg sync.WaitGroup
	batches := make(chan []types.WriteRequest)
	for range 4 {
		wg.Go(func() {
			for batch := range batches {
				in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{s.table: batch}}
				for len(in.RequestItems) > 0 {
					out, err := client.BatchWriteItem(context.Background(), in)
					if err != nil {
						t.Error(err)
						return
					}
					in.RequestItems = out.UnprocessedItems
				}
			}
		})
	}
	var batch []types.WriteRequest
	for n := from; n < to; n++ {
		c := running(fmt.Sprintf("%v-%06d", status, n))
		c.Definition = "day"
		c.First.Status, c.First.Due = status, time.Now().Add(24*time.Hour+time.Duration(n)*time.Second)
		c.First.Lease = time.Now().Add(time.Hour + time.Duration(n)*time.Millisecond)
		_, m, err := s.newHead(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if batch = append(batch, types.WriteRequest{PutRequest: &types.PutRequest{Item: m}}); len(batch) == 25 || n == to-1 {
			batches <- batch
			batch = nil
		}
	}
	close(batches)
	wg.Wait()
}

// TestLoad: a poll costs the same with a hundred suspended executions as with
// very many and a thousand that run, and workers claim none of them.
func TestLoad(t *testing.T) {
	t.Parallel()
	const few, runs = 100, 1000
	client := dynamolocal.Client(t)
	m := &meter{API: client}
	s := open(t, m, newTable(t, client))
	poll := func() (usage, durable.DuePage) {
		before := m.polls
		page, err := s.Due(t.Context(), &durable.DueQuery{Definition: "day", Version: "1", Now: time.Now()})
		if err != nil || len(page.IDs()) != 0 {
			t.Fatalf("got %v due, %v, want none", page.IDs(), err)
		}
		return m.polls.minus(before), page
	}
	fill(t, s, client, durable.StatusSuspended, 0, few)
	small, _ := poll()
	began := time.Now()
	fill(t, s, client, durable.StatusSuspended, few, *loaded)
	fill(t, s, client, durable.StatusRunning, 0, runs)
	took := time.Since(began)
	large, _ := poll()
	t.Logf("a poll costs %d requests and %g read units with %d suspended, %d and %g with %d suspended and %d running (loaded in %v)",
		small.requests, small.rru, few, large.requests, large.rru, *loaded, runs, took.Round(time.Second))
	if large != small {
		t.Errorf("a poll costs %+v, want %+v, as with %d", large, small, few)
	}

	def := durable.Define("day", "1", func(*durable.Context, string) (string, error) { return "", nil })
	w := &world{meter: m, store: s}
	writes := m.total().requests
	w.run(t, def)
	time.Sleep(2 * time.Second)
	w.stop()
	if claims := m.total().requests - writes; claims != 0 {
		t.Errorf("a worker sent %d requests besides its polls in two seconds, want none", claims)
	}
}
