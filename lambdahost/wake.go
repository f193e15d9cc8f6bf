package lambdahost

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/clewdev/clew/durable"
)

const (
	// maxDelay is the most that SQS holds a message back.
	maxDelay = 15 * time.Minute
	// maxHops keeps chains of invocations that wake each other below the 16 or so
	// after which Lambda takes them for a loop.
	maxHops = 12
)

// waking is the store of one invocation, which has a wake-up sent for whatever
// it makes due.
type waking struct {
	durable.Store
	v *visit

	mu    sync.Mutex
	known map[string]durable.Identity
}

func (s *waking) learn(id durable.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[id.ID] = durable.Identity{Definition: id.Definition, Version: id.Version}
}

// made has a wake-up sent for an execution that runs here, or was made here.
func (s *waking) made(id string, at time.Time, pin *string) {
	if at.IsZero() {
		return
	}
	s.mu.Lock()
	known := s.known[id]
	s.mu.Unlock()
	s.v.wake(&resume{ID: id, Definition: known.Definition, Version: known.Version, Pin: pin}, at)
}

// Bills passes on that the store does.
func (s *waking) Bills() bool {
	b, ok := s.Store.(durable.Biller)
	return ok && b.Bills()
}

func (s *waking) Create(ctx context.Context, c *durable.Create) error {
	err := s.Store.Create(ctx, c)
	if err != nil {
		return err
	}
	s.learn(c.Identity)
	switch {
	case c.First == nil:
		s.made(c.ID, c.Due, aws.String("")) // nobody has it yet
	case c.First.Status == durable.StatusSuspended:
		s.made(c.ID, c.First.Due, s.v.h.pinned())
	}
	return nil
}

func (s *waking) Claim(ctx context.Context, c *durable.Claim) (*durable.Record, error) {
	rec, err := s.Store.Claim(ctx, c)
	if err == nil {
		s.learn(rec.Identity)
	}
	return rec, err
}

func (s *waking) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	receipt, err := s.Store.Commit(ctx, c)
	if err == nil && c.Status == durable.StatusSuspended {
		s.made(c.ID, c.Due, s.v.h.pinned())
	}
	return receipt, err
}

func (s *waking) Deliver(ctx context.Context, d *durable.Delivery) error {
	if nonce, ok := ctx.Value(nonceKey{}).(string); ok {
		own := *d
		own.Nonce, d = nonce, &own
	}
	err := s.Store.Deliver(ctx, d)
	if err == nil && d.Kind != durable.DeliverHeartbeat {
		s.v.wake(&resume{ID: d.ID}, time.Now()) // who has it, and whether it is due, the head says
	}
	return err
}

// wake has a wake-up sent, unless it is for the sweep to send: because it is far
// off, or because this chain of invocations is long.
func (v *visit) wake(r *resume, at time.Time) {
	delay := time.Until(at)
	if v.h.opts.Queue == "" || delay > maxDelay || v.hops >= maxHops && !v.h.opts.RecursiveLoop {
		return
	}
	next := *r
	next.Clew, next.At, next.Hops = "resume", at, v.hops+1
	v.mail.send(&next, delay)
}

// sendFor bounds one request to the queue: a connection may have died while the
// sandbox was frozen.
const sendFor = 2 * time.Second

// mail sends wake-ups, several at a time, until a time before the invocation's
// deadline: a queue that does not answer must not take the answer along.
type mail struct {
	h     *Host
	until time.Time
	ended chan struct{}
	once  sync.Once

	mu     sync.Mutex
	in     []letter
	more   chan struct{} // signals that there is something in in, or that it is closed
	closed bool
	unsent map[string]bool // executions whose wake-up could not be queued
}

type letter struct {
	id    string
	body  string
	delay int32
}

func newMail(h *Host, until time.Time) *mail {
	m := &mail{h: h, until: until, ended: make(chan struct{}), more: make(chan struct{}, 1), unsent: map[string]bool{}}
	go m.run()
	return m
}

func (m *mail) send(r *resume, delay time.Duration) {
	body, err := json.Marshal(r)
	if err != nil { // it is made of texts and times
		m.h.log.Error("bug in clew, please report it: a wake-up cannot be encoded", "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = append(m.in, letter{r.ID, string(body), int32(min(max(delay+time.Second-1, 0), maxDelay) / time.Second)})
	m.signal()
}

func (m *mail) signal() {
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// close returns when everything has been sent, or could not be, and tells for
// which executions. Nothing may be handed over after it.
func (m *mail) close() map[string]bool {
	m.once.Do(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.closed = true
		m.signal()
	})
	<-m.ended
	return m.unsent
}

func (m *mail) run() {
	defer close(m.ended)
	ctx, cancel := context.WithDeadline(context.Background(), m.until)
	defer cancel()
	for {
		m.mu.Lock()
		batch := m.in[:min(len(m.in), 10)]
		m.in = m.in[len(batch):]
		over := m.closed && len(batch) == 0
		m.mu.Unlock()
		switch {
		case over:
			return
		case len(batch) == 0:
			<-m.more
		default:
			m.post(ctx, batch)
		}
	}
}

// post sends a batch, and repeats what was not taken until it is, or until
// there is no time left. The sweep finds what could not be sent.
func (m *mail) post(ctx context.Context, batch []letter) {
	for n := 0; ; n++ {
		failed, err := m.try(ctx, batch)
		if err == nil && len(failed) == 0 {
			return
		}
		batch = failed
		select {
		case <-time.After(min(20*time.Millisecond<<n, time.Second)):
			if n < 4 {
				continue
			}
		case <-ctx.Done():
		}
		m.h.log.Error("wake-ups could not be queued: the sweep will find what is due", "queue", m.h.opts.Queue, "count", len(batch), "error", err)
		for _, l := range batch {
			m.unsent[l.id] = true
		}
		return
	}
}

func (m *mail) try(ctx context.Context, batch []letter) (failed []letter, err error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &m.h.opts.Queue}
	for i, l := range batch {
		in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &l.body, DelaySeconds: l.delay})
	}
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	out, err := m.h.opts.SQS.SendMessageBatch(ctx, in)
	if err != nil {
		return batch, err
	}
	for _, f := range out.Failed {
		var i int
		if _, scan := fmt.Sscan(aws.ToString(f.Id), &i); scan == nil && i >= 0 && i < len(batch) {
			failed = append(failed, batch[i])
		}
		err = fmt.Errorf("%s: %s", aws.ToString(f.Code), aws.ToString(f.Message))
	}
	return failed, err
}
