package lambdalocal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Mapping lets a queue invoke a function, as an event source mapping does.
type Mapping struct {
	Function string
	// Queue is a URL.
	Queue string
	// BatchSize is how many messages a batch has at most: 10 if it is 0.
	// Window is how long a batch that is not full waits for more.
	BatchSize int
	Window    time.Duration
	// MaxConcurrency is how many batches there are at once: as many as the
	// function may have sandboxes, if it is 0.
	MaxConcurrency int
	// ReportBatchItemFailures lets the function say which messages failed.
	// Without it all have succeeded unless it fails.
	ReportBatchItemFailures bool
}

// MappingStats count what a mapping did with messages.
type MappingStats struct {
	Batches   int // delivered to the function
	Received  int // messages, each time that they came
	Deleted   int
	Left      int // for their visibility timeout, since they or their batch failed
	Dropped   int // of those: refused, since they went round in a loop
	Throttled int // of those: in batches for which no sandbox was free in time
}

// Poller is a mapping that is in force.
type Poller struct {
	mapping    Mapping
	lambda     *Lambda
	arn        string // of the queue
	visibility time.Duration
	stop       chan struct{}
	once       sync.Once
	workers    sync.WaitGroup

	mu    sync.Mutex
	stats MappingStats
}

// Map puts a mapping into force until Stop or Close. A message that the
// function has taken is deleted; one that it has not taken stays, and comes
// again when its visibility timeout has passed.
func (l *Lambda) Map(ctx context.Context, m Mapping) (*Poller, error) {
	fn, _, err := l.find(m.Function)
	if err != nil {
		return nil, err
	}
	if l.sqs == nil {
		return nil, errors.New("lambdalocal: there is no SQS server: set Options.SQS")
	}
	m.BatchSize, m.MaxConcurrency = orElse(m.BatchSize, 10), orElse(m.MaxConcurrency, fn.Concurrency)
	if m.BatchSize > 10 && m.Window < time.Second {
		return nil, fmt.Errorf("lambdalocal: a batch of %d messages needs a window of a second or more", m.BatchSize)
	}
	p := &Poller{mapping: m, lambda: l, stop: make(chan struct{})}
	got, err := l.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &m.Queue, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameQueueArn, types.QueueAttributeNameVisibilityTimeout}})
	if err != nil {
		return nil, fmt.Errorf("lambdalocal: map %s to %s: %w", m.Queue, m.Function, err)
	}
	p.arn = got.Attributes["QueueArn"]
	seconds, err := strconv.Atoi(got.Attributes["VisibilityTimeout"])
	if err != nil {
		return nil, fmt.Errorf("lambdalocal: map %s to %s: visibility timeout: %w", m.Queue, m.Function, err)
	}
	p.visibility = time.Duration(seconds) * time.Second
	for range m.MaxConcurrency {
		p.workers.Add(1)
		if err := l.begin(func() { defer p.workers.Done(); p.work() }); err != nil {
			p.workers.Done()
			return nil, err
		}
	}
	return p, nil
}

// Stats returns the counts so far.
func (p *Poller) Stats() MappingStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Poller) count(change func(*MappingStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// Stop ends the mapping, when the batches that it has are done. That may take
// a second more.
func (p *Poller) Stop() {
	p.once.Do(func() { close(p.stop) })
	p.workers.Wait()
}

func (p *Poller) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return p.lambda.ctx.Err() != nil
	}
}

// work takes batches, one after the other.
func (p *Poller) work() {
	for !p.stopped() {
		if batch := p.receive(); len(batch) > 0 {
			p.duplicate(batch)
			p.deliver(batch)
		}
	}
}

// receive returns a batch, or nothing after a second.
func (p *Poller) receive() []types.Message {
	batch := p.poll(p.mapping.BatchSize, 1)
	if len(batch) == 0 {
		return nil
	}
	for end := time.Now().Add(p.mapping.Window); len(batch) < p.mapping.BatchSize && time.Now().Before(end) && !p.stopped(); {
		more := p.poll(p.mapping.BatchSize-len(batch), 0)
		if batch = append(batch, more...); len(more) == 0 {
			p.lambda.sleep(20 * time.Millisecond)
		}
	}
	p.count(func(n *MappingStats) { n.Received += len(batch) })
	return batch
}

func (p *Poller) poll(most int, seconds int32) []types.Message {
	got, err := p.lambda.sqs.ReceiveMessage(p.lambda.ctx, &sqs.ReceiveMessageInput{QueueUrl: &p.mapping.Queue,
		MaxNumberOfMessages: int32(min(most, 10)), WaitTimeSeconds: seconds, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
	if err != nil {
		var gone *types.QueueDoesNotExist
		if errors.As(err, &gone) { // it was there, and the test that made it has ended
			p.once.Do(func() { close(p.stop) })
		} else if p.lambda.ctx.Err() == nil {
			p.lambda.problem("queue %s: receive: %v", p.mapping.Queue, err)
			p.lambda.sleep(time.Second)
		}
		return nil
	}
	return got.Messages
}

// duplicate delivers some of a batch's messages a second time, as SQS may.
func (p *Poller) duplicate(batch []types.Message) {
	fn, _, err := p.lambda.find(p.mapping.Function)
	if err != nil {
		return
	}
	for _, m := range batch {
		if p.lambda.dice.chance(fn.Chaos.Duplicate) {
			fn.stats.add(func(n *Stats) { n.Duplicates++ })
			p.workers.Add(1) // this worker has not left yet
			fn.later(p.lambda.dice.between(0, fn.Chaos.Within), func() { p.deliver([]types.Message{m}) }, p.workers.Done)
		}
	}
}

// deliver invokes the function with a batch, and deletes what it has taken.
func (p *Poller) deliver(batch []types.Message) {
	fn, arn, err := p.lambda.find(p.mapping.Function)
	if err != nil {
		p.lambda.problem("queue %s: %v", p.mapping.Queue, err)
		return
	}
	batch, chain := p.withoutLoops(fn, batch)
	if len(batch) == 0 {
		return
	}
	payload, err := sqsEvent(batch, p.arn, p.lambda.opts.Region)
	if err != nil {
		p.lambda.problem("queue %s: %v", p.mapping.Queue, err)
		return
	}
	inv := (&invocation{id: newRequestID(), arn: arn, payload: payload, trace: chain.into(fn.hash)}).fresh()
	r, err := fn.patient(inv, time.Now().Add(p.visibility))
	if err != nil {
		p.count(func(n *MappingStats) { n.Left += len(batch); n.Throttled += len(batch) })
		if !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrClosed) {
			p.lambda.problem("queue %s: %v", p.mapping.Queue, err)
		}
		return
	}
	taken := p.taken(batch, r)
	p.count(func(n *MappingStats) { n.Batches++; n.Left += len(batch) - len(taken) })
	p.delete(taken)
}

// withoutLoops leaves messages out whose chain has come to the function too
// often. They stay in the queue, where they are refused again, until they have
// been received too often for that. The batch has the hops of all its chains.
func (p *Poller) withoutLoops(fn *function, batch []types.Message) (rest []types.Message, chain trace) {
	for _, m := range batch {
		t := parseTrace(m.Attributes["AWSTraceHeader"])
		if fn.loops(t) {
			p.count(func(n *MappingStats) { n.Left++; n.Dropped++ })
			continue
		}
		chain.merge(t)
		rest = append(rest, m)
	}
	return rest, chain
}

func (p *Poller) delete(batch []types.Message) {
	for len(batch) > 0 {
		n := min(len(batch), 10)
		entries := make([]types.DeleteMessageBatchRequestEntry, n)
		for i, m := range batch[:n] {
			id := strconv.Itoa(i)
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: m.ReceiptHandle}
		}
		got, err := p.lambda.sqs.DeleteMessageBatch(context.WithoutCancel(p.lambda.ctx), &sqs.DeleteMessageBatchInput{QueueUrl: &p.mapping.Queue, Entries: entries})
		if err != nil {
			p.lambda.problem("queue %s: delete: %v", p.mapping.Queue, err)
			return
		}
		p.count(func(s *MappingStats) { s.Deleted += len(got.Successful) })
		batch = batch[n:]
	}
}
