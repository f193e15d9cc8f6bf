package dynamo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// What a Store costs is told beside a floor: the same conditional UpdateItem,
// made before the clock starts, on a twin of the execution, by the same client
// in the same run, in turns.
//
//	go test -run=- -bench=. ./store/dynamo

// capture keeps the last update that went through it.
type capture struct {
	API
	last *dynamodb.UpdateItemInput
}

func (c *capture) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	c.last = in
	return c.API.UpdateItem(ctx, in, opts...)
}

// lane is an execution and its twin.
type lane struct {
	store     *Store
	api       *capture
	id        string
	seq       int64
	floor     API
	took, raw []time.Duration
}

func newLane(b *testing.B, client *dynamodb.Client, opts Options, n int) *lane {
	l := &lane{api: &capture{API: client}, id: fmt.Sprintf("order-%06d", n), seq: 1, floor: client}
	l.store = open(b, l.api, opts)
	create(b, l.store, running(l.id))
	twin := running(l.twin())
	twin.Owner = "creator/" + l.id // the condition names it
	create(b, l.store, twin)
	return l
}

func (l *lane) twin() string { return "twin-of-" + l.id }

// pair is one commit on either side: a result, and the next start.
func (l *lane) pair(b *testing.B) {
	l.seq++
	c := batch(l.id, 1, l.seq, durable.StatusRunning)
	c.IfSeen, c.Progress = true, true
	c.Entries = []durable.Entry{
		{Kind: durable.EntryResult, Op: l.seq - 1, At: now, Attempt: 1, Payload: []byte(text200)},
		{Kind: durable.EntryStart, Op: l.seq, At: now, First: true, Pos: l.seq, Type: durable.OpStep, Name: "charge", Attempt: 1, Epoch: 1, Timeout: 30 * time.Second},
	}
	begin := time.Now()
	if _, err := l.store.Commit(b.Context(), c); err != nil {
		b.Error(err)
	}
	took := time.Since(begin)
	in := *l.api.last
	in.Key = keyOf(pkOf(l.twin()), skHead)
	begin = time.Now()
	if _, err := l.floor.UpdateItem(b.Context(), &in); err != nil {
		b.Error(err)
	}
	l.took, l.raw = append(l.took, took), append(l.raw, time.Since(begin))
}

func p50(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds())
}

// BenchmarkCommit is a commit that keeps running, one after the other.
func BenchmarkCommit(b *testing.B) {
	client := dynamolocal.Client(b)
	l := newLane(b, client, newTable(b, client), 0)
	for range 200 { // the server compiles itself as it goes
		l.pair(b)
	}
	l.took, l.raw = nil, nil
	for b.Loop() {
		l.pair(b)
	}
	took, raw := p50(l.took), p50(l.raw)
	b.ReportMetric(took, "p50-µs")
	b.ReportMetric(raw, "raw-p50-µs")
	b.ReportMetric(took/raw, "of-raw")
}

// BenchmarkThroughput is 64 executions in flight, a round of each side in
// turn. Segments count here.
func BenchmarkThroughput(b *testing.B) {
	const flight, round = 64, 4
	client := dynamolocal.Client(b)
	opts := newTable(b, client)
	var stores, raws atomic.Int64 // nanoseconds
	lanes := make([]*lane, flight)
	for i := range lanes {
		lanes[i] = newLane(b, client, opts, i)
	}
	commits := -3 * flight * round // rounds to warm up
	for commits <= 0 || b.Loop() {
		if commits == 0 {
			stores.Store(0)
			raws.Store(0)
		}
		inputs := make([][]*dynamodb.UpdateItemInput, flight)
		together(&stores, flight, func(i int) {
			for range round {
				inputs[i] = append(inputs[i], lanes[i].commit(b))
			}
		})
		together(&raws, flight, func(i int) {
			for _, in := range inputs[i] {
				if _, err := client.UpdateItem(b.Context(), in); err != nil {
					b.Error(err)
				}
			}
		})
		commits += flight * round
	}
	perSecond := func(d *atomic.Int64) float64 { return float64(commits) / time.Duration(d.Load()).Seconds() }
	b.ReportMetric(perSecond(&stores), "commits/s")
	b.ReportMetric(perSecond(&raws), "raw/s")
	b.ReportMetric(perSecond(&stores)/perSecond(&raws), "of-raw")
}

// commit is the first half of pair; it returns what the second would send.
func (l *lane) commit(b *testing.B) *dynamodb.UpdateItemInput {
	l.seq++
	c := batch(l.id, 1, l.seq, durable.StatusRunning)
	c.IfSeen, c.Entries[0].Payload = true, []byte(text200)
	if _, err := l.store.Commit(b.Context(), c); err != nil {
		b.Error(err)
	}
	in := *l.api.last
	in.Key = keyOf(pkOf(l.twin()), skHead)
	return &in
}

// together runs f for 0 to n-1 at once and adds how long that took.
func together(took *atomic.Int64, n int, f func(i int)) {
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
	took.Add(int64(time.Since(begin)))
}
