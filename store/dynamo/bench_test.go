package dynamo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// What a Store costs is told beside a floor: the same conditional request,
// made before the clock starts, on a twin of the execution, by the same client
// in the same run, in turns.
//
//	make bench-dynamodb

// servers are what the benchmarks run on.
var servers = map[string]func(testing.TB, ...func(*dynamodb.Options)) *dynamodb.Client{
	"DynamoDB Local": dynamolocal.Client, "dynalite": dynamolocal.Dynalite,
}

// kinds are the two ways of a commit: a step like any other, whose record is
// put as an item, and one that must write the head, as a pivot's start. About
// one in six of those also moves the journal out of the head; the floor sends
// that again too.
var kinds = map[string]bool{"appended": false, "with head": true}

func onEach(b *testing.B, f func(b *testing.B, client *dynamodb.Client, head bool)) {
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			b.Run(server+"/"+kind, func(b *testing.B) { f(b, servers[server](b), kinds[kind]) })
		}
	}
}

// capture keeps the writes that went through it, by execution, to be sent
// again for its twin.
type capture struct {
	API
	mu    sync.Mutex
	again map[string][]resend
}

type resend func(ctx context.Context, id string) error

func (c *capture) note(key item, send resend) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.again == nil {
		c.again = map[string][]resend{}
	}
	id := idOf((&reader{item: key}).text(aPK))
	c.again[id] = append(c.again[id], send)
}

// take returns the writes of an execution since the last take.
func (c *capture) take(id string) []resend {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.again[id]
	delete(c.again, id)
	return again
}

func (c *capture) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	c.note(in.Key, func(ctx context.Context, id string) error {
		twin := *in
		twin.Key = keyOf(pkOf(id), skHead)
		_, err := c.API.UpdateItem(ctx, &twin)
		return err
	})
	return c.API.UpdateItem(ctx, in, opts...)
}

func (c *capture) PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	c.note(in.Item, func(ctx context.Context, id string) error {
		twin := *in
		twin.Item = maps.Clone(in.Item)
		twin.Item[aPK] = text(pkOf(id))
		_, err := c.API.PutItem(ctx, &twin)
		return err
	})
	return c.API.PutItem(ctx, in, opts...)
}

// lane is an execution and its twin.
type lane struct {
	store     *Store
	api       *capture
	id        string
	seq       int64
	head      bool
	took, raw []time.Duration
}

func newLane(b *testing.B, client *dynamodb.Client, opts Options, head bool, n int) *lane {
	l := &lane{api: &capture{API: client}, id: fmt.Sprintf("order-%06d", n), seq: 1, head: head}
	l.store = open(b, l.api, opts)
	if !head {
		appending(l.store)
	}
	create(b, l.store, running(l.id))
	twin := running(l.twin())
	twin.Owner = "creator/" + l.id // the condition names it
	create(b, l.store, twin)
	return l
}

func (l *lane) twin() string { return "twin-of-" + l.id }

// commit records a result, and the next start; it returns the same request on
// the twin.
func (l *lane) commit(b *testing.B) (raw func()) {
	l.seq++
	c := batch(l.id, 1, l.seq, durable.StatusRunning)
	c.IfSeen, c.Progress = l.head, true
	c.Entries = []durable.Entry{
		{Kind: durable.EntryResult, Op: l.seq - 1, At: now, Attempt: 1, Payload: []byte(text200)},
		{Kind: durable.EntryStart, Op: l.seq, At: now, First: true, Pos: l.seq, Type: durable.OpStep, Name: "charge", Attempt: 1, Epoch: 1, Timeout: 30 * time.Second},
	}
	l.api.take(l.id)
	if _, err := l.store.Commit(b.Context(), c); err != nil {
		b.Error(err)
	}
	again := l.api.take(l.id)
	return func() {
		for _, send := range again {
			if err := send(b.Context(), l.twin()); err != nil {
				b.Error(err)
			}
		}
	}
}

// pair is one commit on either side.
func (l *lane) pair(b *testing.B) {
	begin := time.Now()
	raw := l.commit(b)
	l.took = append(l.took, time.Since(begin))
	begin = time.Now()
	raw()
	l.raw = append(l.raw, time.Since(begin))
}

func p50(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds())
}

// BenchmarkCommit is a commit that keeps running, one after the other.
func BenchmarkCommit(b *testing.B) {
	onEach(b, func(b *testing.B, client *dynamodb.Client, head bool) {
		l := newLane(b, client, newTable(b, client), head, 0)
		for range 300 { // the server compiles itself as it goes
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
	})
}

// BenchmarkThroughput is 64 executions in flight, a round of each side in
// turn.
func BenchmarkThroughput(b *testing.B) {
	const flight, round = 64, 4
	onEach(b, func(b *testing.B, client *dynamodb.Client, head bool) {
		opts := newTable(b, client)
		var stores, raws atomic.Int64 // nanoseconds
		lanes := make([]*lane, flight)
		for i := range lanes {
			lanes[i] = newLane(b, client, opts, head, i)
		}
		commits := -3 * flight * round // rounds to warm up
		for commits <= 0 || b.Loop() {
			if commits == 0 {
				stores.Store(0)
				raws.Store(0)
			}
			again := make([][]func(), flight)
			together(&stores, flight, func(i int) {
				for range round {
					again[i] = append(again[i], lanes[i].commit(b))
				}
			})
			together(&raws, flight, func(i int) {
				for _, raw := range again[i] {
					raw()
				}
			})
			commits += flight * round
		}
		perSecond := func(d *atomic.Int64) float64 { return float64(commits) / time.Duration(d.Load()).Seconds() }
		b.ReportMetric(perSecond(&stores), "commits/s")
		b.ReportMetric(perSecond(&raws), "raw/s")
		b.ReportMetric(perSecond(&stores)/perSecond(&raws), "of-raw")
	})
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

// clocked is an API that adds up how long its queries take, the SDK's share
// included.
type clocked struct {
	API
	took time.Duration
}

func (c *clocked) Query(ctx context.Context, in *dynamodb.QueryInput, opts ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	defer func(began time.Time) { c.took += time.Since(began) }(time.Now())
	return c.API.Query(ctx, in, opts...)
}

// BenchmarkReplay reads ten thousand operations, as a claim does: as steps one
// after the other leave them, each with a record of its own, and as those do
// that are beside each other.
func BenchmarkReplay(b *testing.B) {
	const n = 10_000
	for _, each := range []int64{1, 10} {
		b.Run(fmt.Sprintf("%d to a record", each), func(b *testing.B) {
			client := dynamolocal.Client(b)
			c := &clocked{API: client}
			m := &meter{API: c}
			s := appending(open(b, m, newTable(b, client)))
			create(b, s, running("long"))
			for seq := int64(2); seq < 2+n/each; seq++ {
				c := batch("long", 1, seq, durable.StatusRunning)
				c.Entries = nil
				for i := range each {
					op := (seq-2)*each + i + 1
					c.Entries = append(c.Entries,
						durable.Entry{Kind: durable.EntryStart, Op: op, At: now, First: true, Pos: op, Type: durable.OpStep, Name: "charge", Attempt: 1, Epoch: 1},
						durable.Entry{Kind: durable.EntryResult, Op: op, At: now, Attempt: 1, Payload: []byte(`"ok"`)})
				}
				commit(b, s, c)
			}
			before := m.total()
			c.took = 0
			for b.Loop() {
				if rec := load(b, s, "long"); len(rec.Journal) != 2*n+1 {
					b.Fatalf("got %d entries, want %d", len(rec.Journal), 2*n+1)
				}
			}
			per := func(total float64) float64 { return total / float64(b.N) }
			b.ReportMetric(per(float64(m.total().minus(before).requests)), "requests")
			b.ReportMetric(per(m.total().minus(before).rru), "read-units")
			b.ReportMetric(per((b.Elapsed()-c.took).Seconds()*1000), "store-ms")
			b.ReportMetric(per(c.took.Seconds()*1000), "queries-ms")
		})
	}
}
