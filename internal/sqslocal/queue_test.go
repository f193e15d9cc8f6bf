package sqslocal

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// receive returns the messages that are there within the time, in whole
// seconds.
func receive(t *testing.T, q *Queue, within time.Duration) []types.Message {
	t.Helper()
	got, err := q.Receive(t.Context(), within)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func send(t *testing.T, q *Queue, body string, delay time.Duration) string {
	t.Helper()
	id, err := q.Send(t.Context(), body, delay)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func one(t *testing.T, q *Queue, within time.Duration) types.Message {
	t.Helper()
	got := receive(t, q, within)
	if len(got) != 1 {
		t.Fatalf("%d messages were received, want 1", len(got))
	}
	return got[0]
}

func count(t *testing.T, m types.Message) int {
	t.Helper()
	n, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDelay(t *testing.T) {
	t.Parallel()
	q := NewQueue(t, QueueOptions{})
	start := time.Now()
	late := send(t, q, "late", 2*time.Second)
	now := send(t, q, "now", 0)
	if m := one(t, q, 0); *m.MessageId != now {
		t.Errorf("message %s came first, want %s", *m.MessageId, now)
	}
	if d, err := q.Depth(t.Context()); err != nil || d != (Depth{Hidden: 1, Delayed: 1}) {
		t.Errorf("the depth is %+v (%v), want 1 hidden and 1 delayed", d, err)
	}
	m := one(t, q, 20*time.Second)
	if *m.MessageId != late || *m.Body != "late" {
		t.Errorf("message %s %q came, want %s", *m.MessageId, *m.Body, late)
	}
	if waited := time.Since(start); waited < 2*time.Second {
		t.Errorf("a message with a delay of 2 s came after %v", waited)
	}
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	q := NewQueue(t, QueueOptions{Visibility: 2 * time.Second})
	id := send(t, q, "x", 0)
	start := time.Now()
	first := one(t, q, 5*time.Second)
	again := one(t, q, 20*time.Second)
	if *again.MessageId != id || count(t, first) != 1 || count(t, again) != 2 {
		t.Errorf("message %s came for the times %d and %d, want %s for 1 and 2", *again.MessageId, count(t, first), count(t, again), id)
	}
	if waited := time.Since(start); waited < 2*time.Second {
		t.Errorf("a message that was received came again after %v, want 2 s or more", waited)
	}
	if sent := again.Attributes["SentTimestamp"]; sent == "" {
		t.Error("there is no SentTimestamp")
	}
	if err := q.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, q, 3*time.Second); len(got) != 0 {
		t.Errorf("a message that was deleted came again: %+v", got)
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	q := NewQueue(t, QueueOptions{Visibility: time.Second, MaxReceives: 2})
	id := send(t, q, "poison", 0)
	for n := 1; n <= 2; n++ {
		if m := one(t, q, 10*time.Second); count(t, m) != n {
			t.Errorf("the message came for the time %d, want %d", count(t, m), n)
		}
	}
	if got := receive(t, q, 3*time.Second); len(got) != 0 {
		t.Fatalf("a message that was received twice came again: %+v", got)
	}
	m := one(t, q.DLQ, 10*time.Second)
	if *m.MessageId != id || *m.Body != "poison" {
		t.Errorf("the DLQ has %s %q, want %s", *m.MessageId, *m.Body, id)
	}
	if d, err := q.Depth(t.Context()); err != nil || d.Total() != 0 {
		t.Errorf("the queue has still %+v (%v)", d, err)
	}
}

// Nothing is lost, and what is taken by one is hidden from others, with many
// senders and receivers at once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const messages, senders, receivers = 1000, 8, 4
	q := NewQueue(t, QueueOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := time.Now()
	var sent, got atomic.Int64
	var seen sync.Map
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for n := sent.Add(1); n <= messages; n = sent.Add(1) {
				if _, err := q.Send(ctx, strconv.Itoa(int(n)), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range receivers {
		all.Go(func() {
			for got.Load() < messages {
				batch, err := q.Receive(ctx, time.Second)
				if err != nil {
					t.Error(err)
					return
				}
				for _, m := range batch {
					if _, twice := seen.LoadOrStore(*m.Body, true); twice {
						t.Errorf("message %s came twice", *m.Body)
					}
					if err := q.Delete(ctx, m); err != nil {
						t.Error(err)
					}
					got.Add(1)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d messages sent, received and deleted in %v", got.Load(), time.Since(start))
}

// The trace header of a request stays with its messages, alone and in batches:
// Lambda counts the hops of a chain by it.
func TestTraceHeader(t *testing.T) {
	t.Parallel()
	const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a87bd80c:1"
	q := NewQueue(t, QueueOptions{})
	traced := func(o *sqs.Options) {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amzn-Trace-Id", header))
	}
	body := "x"
	if _, err := q.client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body}, traced); err != nil {
		t.Fatal(err)
	}
	if _, err := q.client.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.URL,
		Entries: []types.SendMessageBatchRequestEntry{{Id: &body, MessageBody: &body}}}, traced); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, m := range receive(t, q, time.Second) {
			if got := m.Attributes["AWSTraceHeader"]; got != header {
				t.Errorf("the header is %q, want %q", got, header)
			}
		}
	}
	if d, err := q.Depth(t.Context()); err != nil || d != (Depth{Hidden: 2}) {
		t.Errorf("the depth is %+v (%v), want 2 that were received", d, err)
	}
}
