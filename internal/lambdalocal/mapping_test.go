package lambdalocal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/clewdev/clew/internal/sqslocal"
)

// mapped is a function behind a queue, and the file of the messages that it
// was given.
func mapped(t *testing.T, f Function, o sqslocal.QueueOptions, m Mapping) (*Lambda, *sqslocal.Queue, *Poller, string) {
	t.Helper()
	l := Start(t, Options{SQS: sqslocal.Endpoint(t)})
	file := t.TempDir() + "/all"
	f.Env = map[string]string{"FILE": file}
	f.Timeout = orElse(f.Timeout, time.Minute)
	pay(t, l, f)
	q := sqslocal.NewQueue(t, o)
	m.Function, m.Queue = "pay", q.URL
	p, err := l.Map(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return l, q, p, file
}

func send(t *testing.T, q *sqslocal.Queue, body string, delay time.Duration) string {
	t.Helper()
	id, err := q.Send(t.Context(), body, delay)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func depth(t *testing.T, q *sqslocal.Queue) int {
	t.Helper()
	d, err := q.Depth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d.Total()
}

func messages(t *testing.T, file string) []events.SQSMessage {
	t.Helper()
	var all []events.SQSMessage
	for _, line := range lines(file) {
		all = append(all, decode[events.SQSMessage](t, []byte(line)))
	}
	return all
}

func TestMessageShape(t *testing.T) {
	t.Parallel()
	l, q, p, file := mapped(t, Function{}, sqslocal.QueueOptions{}, Mapping{})
	sent, err := sqslocal.Client(t, "").SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: aws.String(`{"Do":"count"}`),
		MessageAttributes: map[string]types.MessageAttributeValue{"kind": {DataType: aws.String("String"), StringValue: aws.String("due")}}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return p.Stats().Deleted == 1 })
	m := messages(t, file)[0]
	if m.MessageId != *sent.MessageId || m.Body != `{"Do":"count"}` || m.ReceiptHandle == "" || m.EventSource != "aws:sqs" || m.EventSourceARN != q.ARN ||
		m.AWSRegion != "us-east-1" || m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SentTimestamp"] == "" ||
		m.Attributes["ApproximateFirstReceiveTimestamp"] == "" || m.Md5OfBody == "" {
		t.Errorf("the message is %+v", m)
	}
	if a := m.MessageAttributes["kind"]; a.DataType != "String" || aws.ToString(a.StringValue) != "due" {
		t.Errorf("its attribute is %+v", a)
	}
	if n := l.Stats("pay").Invocations; n != 1 || depth(t, q) != 0 {
		t.Errorf("after %d invocations the queue has %d messages", n, depth(t, q))
	}
}

// What the function reports as failed comes again after its visibility
// timeout, and goes to the dead-letter queue when it has come often enough;
// the rest is deleted at once.
func TestPartialFailure(t *testing.T) {
	t.Parallel()
	_, q, p, file := mapped(t, Function{Concurrency: 1}, sqslocal.QueueOptions{Visibility: time.Second, MaxReceives: 2}, Mapping{ReportBatchItemFailures: true})
	bad := map[string]bool{}
	for n := range 6 {
		if n%3 == 0 {
			bad[send(t, q, `{"Do":"fail"}`, 0)] = true
		} else {
			send(t, q, `{"Do":"count"}`, 0)
		}
	}
	until(t, func() bool { return depth(t, q.DLQ) == 2 })
	count := map[string]int{}
	for _, m := range messages(t, file) {
		if count[m.MessageId]++; m.Attributes["ApproximateReceiveCount"] != fmt.Sprint(count[m.MessageId]) {
			t.Errorf("delivery %d of %s has the receive count %s", count[m.MessageId], m.MessageId, m.Attributes["ApproximateReceiveCount"])
		}
	}
	for id, n := range count {
		if want := map[bool]int{true: 2, false: 1}[bad[id]]; n != want {
			t.Errorf("message %s, failing: %v, was delivered %d times, want %d", id, bad[id], n, want)
		}
	}
	if s := p.Stats(); len(count) != 6 || s.Deleted != 4 || s.Left != 4 {
		t.Errorf("%d messages came, stats %+v: want 4 deleted, and 2 left twice", len(count), s)
	}
	got, err := q.DLQ.Receive(t.Context(), time.Second)
	for _, m := range got {
		if !bad[*m.MessageId] {
			t.Errorf("the dead-letter queue has %s, which had not failed", *m.MessageId)
		}
	}
	if err != nil || len(got) != 2 || depth(t, q) != 0 {
		t.Errorf("the dead-letter queue has %d messages (%v), the queue %d", len(got), err, depth(t, q))
	}
}

// A function that fails, and an answer that names no message of the batch,
// leave all messages there.
func TestWholeBatchFails(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"error":   `{"Do":"fail-batch"}`,
		"exit":    `{"Do":"exit"}`,
		"foreign": `{"Do":"give","Give":{"batchItemFailures":[{"itemIdentifier":"nobody"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, q, p, _ := mapped(t, Function{Concurrency: 1}, sqslocal.QueueOptions{Visibility: time.Second, MaxReceives: 2},
				Mapping{ReportBatchItemFailures: true, BatchSize: 2, Window: time.Minute})
			send(t, q, body, 0)
			send(t, q, body, 0)
			until(t, func() bool { return depth(t, q.DLQ) == 2 })
			if s := p.Stats(); s.Deleted != 0 || s.Left != 4 || s.Batches != 2 {
				t.Errorf("stats are %+v, want two batches of two that were left", s)
			}
		})
	}
}

func TestItemFailures(t *testing.T) {
	t.Parallel()
	id := func(s string) types.Message { return types.Message{MessageId: &s} }
	batch := []types.Message{id("a"), id("b"), id("c")}
	for response, want := range map[string]string{
		``:                           "abc",
		`null`:                       "abc",
		`{}`:                         "abc",
		`{"batchItemFailures":null}`: "abc",
		`{"batchItemFailures":[]}`:   "abc",
		`{"batchItemFailures":[{"itemIdentifier":"b"}]}`:                         "ac",
		`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}`:  "ac",
		`{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"c"}]}`:  "b",
		`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"zz"}]}`: "",
		`{"batchItemFailures":[{"itemIdentifier":""}]}`:                          "",
		`{"batchItemFailures":[{"itemIdentifier":null}]}`:                        "",
		`{"batchItemFailures":[{"messageId":"b"}]}`:                              "",
		`{"batchItemFailures":"b"}`:                                              "",
		`{"failures":[]}`:                                                        "",
		`[1]`:                                                                    "",
		`"ok"`:                                                                   "",
	} {
		p := &Poller{mapping: Mapping{ReportBatchItemFailures: true}}
		got := ""
		for _, m := range p.taken(batch, &Result{Payload: []byte(response)}) {
			got += *m.MessageId
		}
		if got != want {
			t.Errorf("%s: %q are done with, want %q", response, got, want)
		}
	}
	silent := &Poller{}
	if n := len(silent.taken(batch, &Result{Payload: []byte(`"ok"`)})); n != 3 {
		t.Errorf("without reports %d of 3 messages are done with", n)
	}
	if n := len(silent.taken(batch, &Result{FunctionError: "Unhandled"})); n != 0 {
		t.Errorf("of a function that failed %d messages are done with", n)
	}
}

func TestMessageDelay(t *testing.T) {
	t.Parallel()
	_, q, p, file := mapped(t, Function{}, sqslocal.QueueOptions{}, Mapping{})
	start := time.Now()
	send(t, q, `{}`, 2*time.Second)
	until(t, func() bool { return p.Stats().Deleted == 1 })
	if waited := time.Since(start); waited < 2*time.Second || len(lines(file)) != 1 {
		t.Errorf("a message with a delay of 2 s came after %v", waited)
	}
}

func TestMessageDuplicates(t *testing.T) {
	t.Parallel()
	l, q, p, file := mapped(t, Function{Chaos: Chaos{Duplicate: 1}}, sqslocal.QueueOptions{}, Mapping{})
	for range 5 {
		send(t, q, `{}`, 0)
	}
	until(t, func() bool { return len(lines(file)) == 10 })
	p.Stop()
	count := map[string]int{}
	for _, m := range messages(t, file) {
		count[m.MessageId]++
	}
	for id, n := range count {
		if n != 2 {
			t.Errorf("message %s came %d times, want twice", id, n)
		}
	}
	if n := l.Stats("pay").Duplicates; n != 5 || len(count) != 5 || depth(t, q) != 0 {
		t.Errorf("%d duplicates of %d messages are counted, %d are left", n, len(count), depth(t, q))
	}
}

// A batch waits for a sandbox as long as its visibility timeout; then it is
// left, and comes again.
func TestMappingThrottled(t *testing.T) {
	t.Parallel()
	l, q, p, file := mapped(t, Function{Concurrency: 1}, sqslocal.QueueOptions{Visibility: time.Second}, Mapping{})
	end := t.TempDir() + "/end"
	busy := make(chan error, 1)
	go func() {
		_, err := l.Invoke(t.Context(), "pay", []byte(`{"Do":"await","Await":"`+end+`"}`))
		busy <- err
	}()
	until(t, func() bool { return len(lines(file)) == 1 })
	send(t, q, `{}`, 0)
	until(t, func() bool { return p.Stats().Throttled >= 1 })
	if n := len(lines(file)); n != 1 {
		t.Errorf("%d events came to a function with room for one", n)
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-busy; err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return p.Stats().Deleted == 1 })
	m := decode[events.SQSMessage](t, []byte(lines(file)[1]))
	if n := m.Attributes["ApproximateReceiveCount"]; n == "1" {
		t.Error("a message that was left for lack of room came with the receive count 1")
	}
}

// No more batches than allowed at once, and no batch larger.
func TestMaxConcurrency(t *testing.T) {
	t.Parallel()
	l, q, p, file := mapped(t, Function{Concurrency: 8}, sqslocal.QueueOptions{}, Mapping{MaxConcurrency: 2, BatchSize: 1})
	end := t.TempDir() + "/end"
	for range 6 {
		send(t, q, `{"Do":"await","Await":"`+end+`"}`, 0)
	}
	until(t, func() bool { return len(lines(file)) == 2 })
	time.Sleep(300 * time.Millisecond)
	if n := len(lines(file)); n != 2 {
		t.Errorf("%d messages are worked on at once, want 2", n)
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return p.Stats().Deleted == 6 })
	if s := l.Stats("pay"); s.Invocations != 6 || s.ColdStarts > 2 {
		t.Errorf("stats are %+v, want 6 invocations in 2 sandboxes", s)
	}
}

// A function that sends each message on is stopped after 16 times, and the
// message ends in the dead-letter queue; one that allows loops goes on.
func TestQueueRecursion(t *testing.T) {
	t.Parallel()
	for loop, want := range map[RecursiveLoop]int{Terminate: 16, Allow: 21} {
		t.Run(string(loop), func(t *testing.T) {
			t.Parallel()
			l, q, p, file := mapped(t, Function{RecursiveLoop: loop}, sqslocal.QueueOptions{Visibility: time.Second, MaxReceives: 2}, Mapping{})
			send(t, q, `{"Do":"send","Queue":"`+q.URL+`","Left":20}`, 0)
			if loop == Allow {
				until(t, func() bool { return p.Stats().Deleted == want })
			} else {
				until(t, func() bool { return depth(t, q.DLQ) == 1 })
			}
			all := messages(t, file)
			if len(all) != want || depth(t, q) != 0 {
				t.Errorf("the message came %d times, want %d; %d are left", len(all), want, depth(t, q))
			}
			if header := all[0].Attributes["AWSTraceHeader"]; header != "" {
				t.Errorf("the first message has the trace %q", header)
			}
			last := parseTrace(all[len(all)-1].Attributes["AWSTraceHeader"])
			if n := last.hops(lineageHash("pay")); n != want-1 {
				t.Errorf("the last message has the lineage %v, want %d hops", last.lineage, want-1)
			}
			dropped := l.Stats("pay").RecursiveInvocationsDropped
			if s := p.Stats(); s.Dropped != dropped || (dropped > 0) != (loop == Terminate) {
				t.Errorf("%d are counted as dropped, by the mapping %d", dropped, s.Dropped)
			}
			if got, err := q.DLQ.Receive(t.Context(), 0); err != nil || (len(got) == 1) != (loop == Terminate) || len(got) > 0 && !strings.Contains(*got[0].Body, `"Left":4`) {
				t.Errorf("the dead-letter queue has %+v (%v)", got, err)
			}
		})
	}
}

// Hundreds of messages a second.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	const messages = 500
	l, q, p, file := mapped(t, Function{}, sqslocal.QueueOptions{}, Mapping{ReportBatchItemFailures: true})
	start := time.Now()
	for n := range messages {
		send(t, q, fmt.Sprintf(`{"N":%d}`, n), 0)
	}
	until(t, func() bool { return p.Stats().Deleted == messages })
	t.Logf("%d messages in %v, %d batches in %d sandboxes", messages, time.Since(start), p.Stats().Batches, l.Stats("pay").ColdStarts)
	if n := len(lines(file)); n != messages || depth(t, q) != 0 {
		t.Errorf("%d messages came, want %d; %d are left", n, messages, depth(t, q))
	}
}
