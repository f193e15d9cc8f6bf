// Package awslocal makes, for tests, what the templates of the examples make on
// AWS: a table of executions, a queue for wake-ups, and functions with their alias,
// their event source mapping and their sweep; on DynamoDB Local, ElasticMQ and the
// local Lambda.
package awslocal

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/lambdalocal"
	"github.com/clewdev/clew/internal/sqslocal"
	"github.com/clewdev/clew/store/dynamo"
)

// Options are what templates leave to who deploys them.
type Options struct {
	// Sweep is the period of the sweep.
	Sweep time.Duration
	// MaxReceives is how often a message is received before it is a dead letter.
	MaxReceives int
}

// Stack is what a template makes. It ends with its test.
type Stack struct {
	Lambda *lambdalocal.Lambda
	Queue  *sqslocal.Queue
	Store  *dynamo.Store
	Table  string

	tb      testing.TB
	sweep   time.Duration
	mapping *lambdalocal.Poller
	rule    *lambdalocal.Schedule
}

// New makes the table and the queue. Without their servers it skips the test, or
// fails it where they are required.
func New(tb testing.TB, opts Options) *Stack {
	tb.Helper()
	s := &Stack{tb: tb, sweep: opts.Sweep, Table: dynamolocal.Table(tb)}
	client, table := dynamolocal.Client(tb), dynamo.Options{Table: s.Table}
	err := dynamo.CreateTable(tb.Context(), client, table)
	if err == nil {
		tb.Cleanup(func() {
			_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &s.Table}) // the server ends with the process
		})
		s.Store, err = dynamo.Open(tb.Context(), client, table)
	}
	if err != nil {
		tb.Fatal(err)
	}
	s.Queue = sqslocal.NewQueue(tb, sqslocal.QueueOptions{Visibility: 20 * time.Second, MaxReceives: opts.MaxReceives})
	s.Lambda = lambdalocal.Start(tb, lambdalocal.Options{SQS: sqslocal.Endpoint(tb), Seed: 1})
	return s
}

// Publish publishes a version of a function, and moves its alias "live" there. It
// has the environment that package awsenv reads, and what f has besides.
func (s *Stack) Publish(f lambdalocal.Function) {
	s.tb.Helper()
	env := map[string]string{
		"CLEW_TABLE": s.Table, "CLEW_QUEUE_URL": s.Queue.URL, "CLEW_RECURSIVE_LOOP": string(lambdalocal.Allow),
		"CLEW_SWEEP_PERIOD": s.sweep.String(), "AWS_ENDPOINT_URL_DYNAMODB": dynamolocal.Endpoint(s.tb),
	}
	maps.Copy(env, f.Env)
	f.Env, f.RecursiveLoop, f.MemoryMB = env, lambdalocal.Allow, 256
	err := s.Lambda.Create(f)
	if err == nil {
		err = s.Lambda.Alias(f.Name, "live", f.Version)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

// URL gives a function a URL.
func (s *Stack) URL(function string) string {
	s.tb.Helper()
	url, err := s.Lambda.FunctionURL(function)
	if err != nil {
		s.tb.Fatal(err)
	}
	return url
}

// Connect gives a function the queue and the sweep, which no other has then.
func (s *Stack) Connect(function string) {
	s.tb.Helper()
	s.Disconnect()
	var err error
	s.mapping, err = s.Lambda.Map(s.tb.Context(), lambdalocal.Mapping{Function: function, Queue: s.Queue.URL, ReportBatchItemFailures: true})
	if err == nil {
		s.rule, err = s.Lambda.Schedule(lambdalocal.Rule{Name: "sweep", Function: function, Every: s.sweep, Input: Sweep})
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

// Sweep is the event of the sweep's rule.
var Sweep = json.RawMessage(`{"clew":"sweep"}`)

// Disconnect takes queue and sweep away, and returns when what they have begun is
// over.
func (s *Stack) Disconnect() {
	s.tb.Helper()
	if s.mapping == nil {
		return
	}
	s.rule.Stop()
	s.mapping.Stop()
	s.mapping = nil
	if err := s.Lambda.Quiet(s.tb.Context()); err != nil {
		s.tb.Fatal(err)
	}
}
