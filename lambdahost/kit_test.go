package lambdahost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// cloud stands for a function with its queue in virtual time: what the real
// things do is tested with them elsewhere.
type cloud struct {
	t       *testing.T
	store   durable.Store
	timeout time.Duration
	logs    *bytes.Buffer
	metrics *bytes.Buffer
	exits   int

	mu      sync.Mutex
	queue   []message
	refuse  int               // sends that fail from now on
	invoked map[string]string // payloads handed to other versions, by version
	gone    bool              // there are no other versions
}

type message struct {
	body string
	at   time.Time
	hops int
}

func newCloud(t *testing.T) *cloud {
	return &cloud{t: t, store: mem.New(), timeout: time.Minute, logs: &bytes.Buffer{}, metrics: &bytes.Buffer{}, invoked: map[string]string{}}
}

// host is a version of the function.
func (c *cloud) host(version string, change func(*Options), defs ...durable.Registrable) *Host {
	c.t.Helper()
	opts := Options{
		Open:        func(context.Context) (durable.Store, error) { return c.store, nil },
		Definitions: defs, Queue: "q", SQS: c, Lambda: c, Function: "fn", Version: version, HotWait: -1, Metrics: c.metrics,
		Engine: durable.Options{Logger: slog.New(slog.NewTextHandler(c.logs, nil))},
	}
	if change != nil {
		change(&opts)
	}
	h, err := New(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	h.exit = func(int) { c.exits++ }
	return h
}

// event has a host answer an event, with the function's timeout.
func (c *cloud) event(h *Host, payload string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), c.timeout)
	defer cancel()
	out, err := h.Invoke(ctx, []byte(payload))
	return string(out), err
}

// must is event for what succeeds.
func (c *cloud) must(h *Host, payload string) string {
	c.t.Helper()
	out, err := c.event(h, payload)
	if err != nil {
		c.t.Fatalf("%s: %v", payload, err)
	}
	return out
}

// status is that of an outcome.
func status(t *testing.T, outcome string) string {
	t.Helper()
	var o Outcome
	if err := json.Unmarshal([]byte(outcome), &o); err != nil {
		t.Fatalf("%s: %v", outcome, err)
	}
	return o.Status
}

func (c *cloud) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		if c.refuse > 0 {
			c.refuse--
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("Throttled"), Message: aws.String("slow down")})
			continue
		}
		var r resume
		if err := json.Unmarshal([]byte(*e.MessageBody), &r); err != nil {
			return nil, err
		}
		c.queue = append(c.queue, message{*e.MessageBody, time.Now().Add(time.Duration(e.DelaySeconds) * time.Second), r.Hops})
	}
	return out, nil
}

func (c *cloud) Invoke(_ context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil, fmt.Errorf("invoke: %w", &lambdatypes.ResourceNotFoundException{})
	}
	if *in.FunctionName != "fn" || in.InvocationType != lambdatypes.InvocationTypeEvent {
		return nil, errors.New("no such invocation")
	}
	c.invoked[*in.Qualifier] = string(in.Payload)
	return &lambda.InvokeOutput{StatusCode: 202}, nil
}

// next takes the message that is due first off the queue, once it is.
func (c *cloud) next() (message, bool) {
	c.mu.Lock()
	if len(c.queue) == 0 {
		c.mu.Unlock()
		return message{}, false
	}
	slices.SortStableFunc(c.queue, func(a, b message) int { return a.at.Compare(b.at) })
	m := c.queue[0]
	c.queue = c.queue[1:]
	c.mu.Unlock()
	time.Sleep(time.Until(m.at))
	return m, true
}

func (c *cloud) queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// batchOf is the event of messages with these bodies.
func batchOf(bodies ...string) string {
	ev := events.SQSEvent{Records: []events.SQSMessage{}}
	for i, body := range bodies {
		ev.Records = append(ev.Records, events.SQSMessage{MessageId: fmt.Sprint("m", i), Body: body, EventSource: "aws:sqs", Attributes: map[string]string{"ApproximateReceiveCount": "1"}})
	}
	b, err := json.Marshal(ev)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// failures are the messages of a batch that failed.
func failures(t *testing.T, answer string) []string {
	t.Helper()
	var out events.SQSEventResponse
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	ids := []string{}
	for _, f := range out.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

// waits waits n times, each so long, and returns how often.
func waits(d time.Duration) *durable.Definition[int, int] {
	return durable.Define("waits", "1", func(ctx *durable.Context, n int) (int, error) {
		for i := range n {
			if err := durable.Wait(ctx, fmt.Sprint("w", i), d); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
}

// deaf has a body that heeds nothing until it is released.
func deaf(release <-chan struct{}) *durable.Definition[int, int] {
	return durable.Define("deaf", "1", func(ctx *durable.Context, _ int) (int, error) {
		return durable.Step(ctx, "deaf", func(context.Context) (int, error) { <-release; return 0, nil }, durable.WithTimeout(time.Second))
	})
}

func (c *cloud) load(id string) *durable.Record {
	c.t.Helper()
	rec, err := c.store.Load(context.Background(), id, durable.LoadAll)
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}
