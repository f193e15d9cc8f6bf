// Package sqslocal gives tests a server that speaks the protocol of SQS:
// ElasticMQ, which keeps what SQS promises on delays, visibility timeouts,
// receive counts and dead-letter queues (its tests hold it to each). It is the
// one that CLEW_SQS_ENDPOINT names, or one of the test process's own, with all
// its messages in memory.
package sqslocal

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/internal/localserver"
)

const (
	// EndpointVar names a server to use instead of starting one.
	EndpointVar = "CLEW_SQS_ENDPOINT"
	// RequiredVar makes tests fail, not skip, where there is no server.
	RequiredVar = "CLEW_SQS_REQUIRED"
	// Region and Account are those of every queue.
	Region  = "us-east-1"
	Account = "123456789012"
)

var elasticmq = &localserver.Server{
	Name: "ElasticMQ", Variable: EndpointVar, Required: RequiredVar,
	File: "elasticmq/elasticmq-server_2.13-1.7.1.jar", Program: "java",
	Args: func(port string) []string {
		return []string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port=" + port, "-Drest-sqs.sqs-limits=strict",
			"-Dnode-address.host=127.0.0.1", "-Dnode-address.port=" + port, "-Drest-stats.enabled=false",
			"-Daws.region=" + Region, "-Daws.accountId=" + Account,
			"-cp", "*", "org.elasticmq.server.Main"}
	},
	Remedy:  "run 'make elasticmq' once (it needs Maven, and Java 11 or later to run)",
	Answers: answers,
}

// Endpoint returns the server's URL. Without one it skips the test and says
// how to get it.
func Endpoint(tb testing.TB) string {
	tb.Helper()
	return elasticmq.Endpoint(tb)
}

// Client returns a client of the server, or of a proxy before it, if endpoint
// is not "".
func Client(tb testing.TB, endpoint string) *sqs.Client {
	tb.Helper()
	if endpoint == "" {
		endpoint = Endpoint(tb)
	}
	return newClient(endpoint)
}

func newClient(endpoint string, opts ...func(*sqs.Options)) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: &endpoint, Region: Region,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	}, opts...)
}

func answers(endpoint string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := newClient(endpoint, func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }).ListQueues(ctx, &sqs.ListQueuesInput{})
	return err == nil
}
