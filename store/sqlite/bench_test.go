package sqlite

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// The benchmarks stand beside a floor: the same statements with the same
// values on the same schema, without the Store around them. What Store costs
// is the difference.
//
//	go test -run=- -bench=. ./store/sqlite

var benchTime = time.Date(2030, 1, 2, 3, 4, 5, 6789, time.UTC)

// benchCreate and benchCommit are one saga of five steps: born with its first
// start, and then a result and the next start per commit.
func benchCreate(id string) *durable.Create {
	first := benchCommit(id, 1)
	first.Lease = benchTime.Add(30 * time.Second)
	return &durable.Create{
		Identity: durable.Identity{ID: id, Definition: "order", Version: "v1", Fingerprint: "0123456789abcdef",
			Input: make([]byte, 200), Digest: make([]byte, 32), Created: benchTime},
		Now: benchTime, Owner: "worker-1/" + id, First: first,
	}
}

func benchCommit(id string, seq int64) *durable.Commit {
	c := &durable.Commit{
		ID: id, Epoch: 1, Seq: seq, Now: benchTime, Status: durable.StatusRunning, Progress: true, IfSeen: true,
		Entries: []durable.Entry{
			{Kind: durable.EntryResult, Op: seq - 1, At: benchTime, Attempt: 1, Payload: []byte(`{"ok":true}`)},
			{Kind: durable.EntryStart, Op: seq, At: benchTime, First: true, Pos: seq, Type: durable.OpStep, Name: "charge", Attempt: 1, Epoch: 1, Timeout: 30 * time.Second},
		},
	}
	if seq == 6 {
		c.Status, c.Result = durable.StatusSucceeded, make([]byte, 200)
	}
	return c
}

// benchSaga is 1 Create and 5 Commits.
func benchSaga(b *testing.B, s *Store, id string) {
	ctx := b.Context()
	if err := s.Create(ctx, benchCreate(id)); err != nil {
		b.Error(err)
	}
	for seq := int64(2); seq <= 6; seq++ {
		if _, err := s.Commit(ctx, benchCommit(id, seq)); err != nil {
			b.Error(err)
		}
	}
}

func benchStore(b *testing.B) *Store {
	s, err := Open(filepath.Join(b.TempDir(), "clew.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// BenchmarkSaga is the write load of whole sagas; sagas/s is what counts.
func BenchmarkSaga(b *testing.B) {
	for _, workers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("store/%d", workers), func(b *testing.B) {
			s := benchStore(b)
			parallel(b, workers, func(i int64) { benchSaga(b, s, fmt.Sprintf("order-0000-%08d", i)) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sagas/s")
		})
		b.Run(fmt.Sprintf("floor/%d", workers), func(b *testing.B) {
			f := newFloor(b)
			b.ResetTimer()
			for i := 0; i < b.N; i += workers {
				f.sagas(b, i, min(workers, b.N-i))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sagas/s")
		})
	}
}

// BenchmarkCommit is a commit that keeps running, one fsync each or shared.
func BenchmarkCommit(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("store/%d", workers), func(b *testing.B) {
			s := benchStore(b)
			seqs := make([]int64, workers)
			for i := range workers {
				if err := s.Create(b.Context(), benchCreate(fmt.Sprint("order-", i))); err != nil {
					b.Fatal(err)
				}
				seqs[i] = 1
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for i := range workers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						seqs[i]++
						c := benchCommit(fmt.Sprint("order-", i), seqs[i])
						c.Status, c.Result = durable.StatusRunning, nil
						if _, err := s.Commit(b.Context(), c); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
		b.Run(fmt.Sprintf("floor/%d", workers), func(b *testing.B) {
			f := newFloor(b)
			for i := range workers {
				f.create(b, benchCreate(fmt.Sprint("order-", i)))
			}
			b.ResetTimer()
			for i, seq := 0, int64(2); i < b.N; seq++ {
				f.c.exec(qBegin)
				for w := 0; w < workers && i < b.N; w, i = w+1, i+1 {
					c := benchCommit(fmt.Sprint("order-", w), seq)
					c.Status, c.Result = durable.StatusRunning, nil
					f.commit(b, c)
				}
				f.c.exec(qEnd)
				f.check(b)
			}
		})
	}
}

// parallel calls f with 0 to b.N-1 from this many goroutines.
func parallel(b *testing.B, workers int, f func(i int64)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// floor runs the statements of sagas on a connection of its own.
type floor struct {
	c          *conn
	definition int64
	blob       []byte
}

func newFloor(b *testing.B) *floor {
	path := filepath.Join(b.TempDir(), "clew.db")
	if err := prepareFile(path, time.Second); err != nil {
		b.Fatal(err)
	}
	c, err := dial(path, time.Second, writePragmas...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.close() })
	defs := newDefinitions()
	return &floor{c: c, definition: defs.number(c, "order", "v1"), blob: durable.EncodeEntries(benchCommit("", 2).Entries)}
}

func (f *floor) check(b *testing.B) {
	if err := f.c.take(); err != nil {
		b.Fatal(err)
	}
}

func (f *floor) create(b *testing.B, c *durable.Create) {
	h := newborn(c, 1)
	if err := insert(f.c, c, &h, &batch{journal: f.blob}, f.definition); err != nil {
		b.Fatal(err)
	}
}

func (f *floor) commit(b *testing.B, c *durable.Commit) {
	if _, err := (&batch{journal: f.blob}).commit(f.c, c); err != nil {
		b.Fatal(err)
	}
}

// sagas runs n sagas in step, n of their writes in each transaction.
func (f *floor) sagas(b *testing.B, from, n int) {
	for seq := int64(1); seq <= 6; seq++ {
		f.c.exec(qBegin)
		for i := range n {
			id := fmt.Sprintf("order-0000-%08d", from+i)
			if seq == 1 {
				f.create(b, benchCreate(id))
			} else {
				f.commit(b, benchCommit(id, seq))
			}
		}
		f.c.exec(qEnd)
		f.check(b)
	}
}
