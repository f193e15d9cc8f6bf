package participant

import (
	"context"
	"net/http"
	"time"

	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// maxBatch bounds how many calls share a transaction.
	maxBatch = 128
	// breath is the pause between two transactions. SQLite has no queue for
	// its write lock: without a gap, a busy process would shut out the other
	// one on the same file. It also lets the next batch grow.
	breath = 200 * time.Microsecond
)

// writer does the calls of a participant in its file, several in one
// transaction, from one goroutine: SQLite has one writer at a time, and a commit
// costs more than a call does.
type writer struct {
	rules rules
	book  *sqliteBook
	jobs  chan job
	done  chan struct{} // closed when the goroutine has ended
}

type job struct {
	call  *call
	reply chan answer
}

func startWriter(r rules, b *sqliteBook) *writer {
	w := &writer{rules: r, book: b, jobs: make(chan job, maxBatch), done: make(chan struct{})}
	go w.run()
	return w
}

// do has a call done and returns when its transaction is committed or failed,
// however long that takes.
func (w *writer) do(_ context.Context, c *call) answer {
	j := job{call: c, reply: make(chan answer, 1)}
	w.jobs <- j
	return <-j.reply
}

// close ends the goroutine after the jobs that were handed to it. No do may
// begin after it.
func (w *writer) close() error {
	close(w.jobs)
	<-w.done
	return w.book.conn.Close()
}

func (w *writer) run() {
	defer close(w.done)
	for first := range w.jobs {
		batch := w.gather(first)
		answers, err := w.transact(batch)
		for i, j := range batch {
			if err != nil {
				// Nothing was committed, and saying so is all there is to do:
				// a full disk is the operator's, and callers will repeat.
				j.reply <- answered(http.StatusInternalServerError, outcomeNone,
					reply{Code: "internal", Message: err.Error()})
				continue
			}
			j.reply <- answers[i]
		}
		time.Sleep(breath)
	}
}

// gather adds what is waiting already; it does not wait for more.
func (w *writer) gather(first job) []job {
	batch := []job{first}
	for len(batch) < maxBatch {
		select {
		case j, ok := <-w.jobs:
			if !ok {
				return batch
			}
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

func (w *writer) transact(batch []job) (answers []answer, err error) {
	end, err := w.begin()
	if err != nil {
		return nil, err
	}
	defer end(&err)
	for _, j := range batch {
		a, err := w.rules.visit(w.book, j.call)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// begin waits for the write lock as long as it takes; how long is too long, the
// callers decide. It asks often, since SQLite's own waiting falls back to a
// tenth of a second, which a process with much to do would always win.
func (w *writer) begin() (func(*error), error) {
	for {
		end, err := sqlitex.ImmediateTransaction(w.book.conn)
		if err == nil || !isBusy(err) {
			return end, err
		}
		time.Sleep(breath / 2)
	}
}
