package sqslocal

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Queue is a queue of a test.
type Queue struct {
	Name, URL, ARN string
	// DLQ is where messages go that were received too often. It may be nil.
	DLQ *Queue

	client *sqs.Client
}

// QueueOptions are a queue's properties. Durations are whole seconds, as SQS
// wants them.
type QueueOptions struct {
	// Visibility is how long a message that was received stays hidden: 30 s
	// if it is 0.
	Visibility time.Duration
	// Delay hides each new message for so long.
	Delay time.Duration
	// MaxReceives is how often a message is received before it moves to the
	// DLQ. 0 means that there is none.
	MaxReceives int
}

var queues atomic.Int64

// NewQueue makes a queue that no other test has, and its DLQ. They are deleted
// when the test has ended.
func NewQueue(tb testing.TB, opts QueueOptions) *Queue {
	tb.Helper()
	c := Client(tb, "")
	name := fmt.Sprintf("clew-%d-%d-%d", os.Getpid(), time.Now().UnixMilli(), queues.Add(1))
	attributes := map[string]string{}
	if opts.Visibility > 0 {
		attributes["VisibilityTimeout"] = seconds(tb, opts.Visibility)
	}
	if opts.Delay > 0 {
		attributes["DelaySeconds"] = seconds(tb, opts.Delay)
	}
	var dlq *Queue
	if opts.MaxReceives > 0 {
		dlq = create(tb, c, name+"-dlq", nil)
		attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, dlq.ARN, opts.MaxReceives)
	}
	q := create(tb, c, name, attributes)
	q.DLQ = dlq
	return q
}

func seconds(tb testing.TB, d time.Duration) string {
	tb.Helper()
	if d%time.Second != 0 {
		tb.Fatalf("SQS counts in whole seconds, and this is %v", d)
	}
	return strconv.Itoa(int(d / time.Second))
}

func create(tb testing.TB, c *sqs.Client, name string, attributes map[string]string) *Queue {
	tb.Helper()
	made, err := c.CreateQueue(tb.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_, _ = c.DeleteQueue(context.Background(), &sqs.DeleteQueueInput{QueueUrl: made.QueueUrl}) // the server ends with the process
	})
	got, err := c.GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl,
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		tb.Fatal(err)
	}
	return &Queue{Name: name, URL: *made.QueueUrl, ARN: got.Attributes["QueueArn"], client: c}
}

// Send sends a message that is hidden for delay, in whole seconds, and returns
// its ID.
func (q *Queue) Send(ctx context.Context, body string, delay time.Duration) (string, error) {
	sent, err := q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body,
		DelaySeconds: int32(delay / time.Second)})
	if err != nil {
		return "", fmt.Errorf("send to %s: %w", q.Name, err)
	}
	return *sent.MessageId, nil
}

// Receive returns up to ten messages with all their attributes, after waiting
// for up to wait, in whole seconds. They stay hidden for the queue's
// visibility timeout.
func (q *Queue) Receive(ctx context.Context, wait time.Duration) ([]types.Message, error) {
	got, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q.URL, MaxNumberOfMessages: 10,
		WaitTimeSeconds: int32(wait / time.Second), MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", q.Name, err)
	}
	return got.Messages, nil
}

// Delete deletes a message that was received.
func (q *Queue) Delete(ctx context.Context, m types.Message) error {
	_, err := q.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.URL, ReceiptHandle: m.ReceiptHandle})
	if err != nil {
		return fmt.Errorf("delete from %s: %w", q.Name, err)
	}
	return nil
}

// Depth is how many messages a queue has.
type Depth struct{ Visible, Hidden, Delayed int }

// Total is the sum.
func (d Depth) Total() int { return d.Visible + d.Hidden + d.Delayed }

// Depth counts the messages: those that may be received, those that were
// received and are hidden, and those that are delayed.
func (q *Queue) Depth(ctx context.Context) (Depth, error) {
	names := []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible, types.QueueAttributeNameApproximateNumberOfMessagesDelayed}
	got, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: aws.String(q.URL), AttributeNames: names})
	if err != nil {
		return Depth{}, fmt.Errorf("depth of %s: %w", q.Name, err)
	}
	var n [3]int
	for i, name := range names {
		if n[i], err = strconv.Atoi(got.Attributes[string(name)]); err != nil {
			return Depth{}, fmt.Errorf("depth of %s: %w", q.Name, err)
		}
	}
	return Depth{Visible: n[0], Hidden: n[1], Delayed: n[2]}, nil
}
