package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// newBookTable makes a table for books, and returns its name and its URL for -books.
func newBookTable(t *testing.T) (*dynamodb.Client, string, string) {
	t.Helper()
	client, table := dynamolocal.Client(t), dynamolocal.Table(t)
	if err := participant.CreateTable(t.Context(), client, table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "local")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "local")
	return client, table, dynamolocal.URL(t, table)
}

// invoke runs a function on an event of a function URL.
type invoke func(context.Context, *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLResponse, error)

// inProcess is the participants' function without a process of its own.
func inProcess(t *testing.T, client *dynamodb.Client, table string) invoke {
	t.Helper()
	h, err := participant.NewHandler(participant.TableConfig{Client: client, Name: table})
	if err != nil {
		t.Fatal(err)
	}
	return serveURL(h)
}

// newFunctionURL serves a function at a URL as Lambda does: requests become
// events, here with bodies in base64 as it sends those that are no text.
func newFunctionURL(t *testing.T, f invoke) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e := &events.LambdaFunctionURLRequest{Version: "2.0", RawPath: r.URL.EscapedPath(), Headers: map[string]string{},
			Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true}
		for name, values := range r.Header {
			e.Headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
		e.RequestContext.DomainName = r.Host
		e.RequestContext.HTTP.Method, e.RequestContext.HTTP.Path = r.Method, r.URL.Path
		out, err := f(context.WithoutCancel(r.Context()), e) // nobody tells a function that its caller has gone
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "Internal Server Error")
			return
		}
		for name, value := range out.Headers {
			w.Header().Set(name, value)
		}
		w.WriteHeader(out.StatusCode)
		fmt.Fprint(w, out.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestDeployedParticipants: a run against deployed participants ends as one
// against local ones does, and its books say so to whoever audits them.
func TestDeployedParticipants(t *testing.T) {
	client, table, books := newBookTable(t)
	at := newFunctionURL(t, inProcess(t, client, table))
	args := []string{"-orders", "40", "-decline", "0.2"}
	local := start(t, t.TempDir(), args...).finish(t)
	dir := t.TempDir()
	remote := start(t, dir, append(args, "-participants-url", at, "-books", books)...).finish(t)
	local.ElapsedMS, remote.ElapsedMS = 0, 0
	if fmt.Sprint(local) != fmt.Sprint(remote) {
		t.Errorf("got %+v with deployed participants, %+v with local ones", remote, local)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*gateway*")); err != nil || len(left) > 0 {
		t.Errorf("it started participants of its own: %v, %v", left, err)
	}
	audited := auditOf(t, 0, "-books", books, "-orders", "40")
	if audited.ElapsedMS = 0; fmt.Sprint(audited) != fmt.Sprint(remote) {
		t.Errorf("payments audit says %+v, the run said %+v", audited, remote)
	}
	if all := auditOf(t, 0, "-books", books); all.Committed != remote.Committed || all.Orders >= 40 {
		t.Errorf("payments audit of whatever is there says %+v", all)
	}
	// Something that no saga did.
	c, err := participant.NewClient(participant.At(at), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Capture(t.Context(), "stray", 1, participant.OrderID(1), "auth", 700); err != nil {
		t.Fatal(err)
	}
	if r := auditOf(t, 1, "-books", books, "-orders", "40"); r.DuplicateEffects+r.Parked == 0 {
		t.Errorf("payments audit missed a stray capture: %+v", r)
	}
}

// auditOf runs payments audit and returns what it printed.
func auditOf(t *testing.T, code int, args ...string) result {
	t.Helper()
	p := &payments{Cmd: exec.Command(binary, append([]string{"audit", "-json"}, args...)...)}
	p.Stdout, p.Stderr = &p.out, &p.err
	_ = p.Run()
	if got := p.ProcessState.ExitCode(); got != code {
		t.Fatalf("payments audit %v: exit code %d, want %d: %s", args, got, code, p.err.Bytes())
	}
	return p.result(t)
}

// TestDeployedParticipantsKill9: a worker beside deployed participants, killed
// again and again, leaves their books in order.
func TestDeployedParticipantsKill9(t *testing.T) {
	client, table, books := newBookTable(t)
	at := newFunctionURL(t, inProcess(t, client, table))
	dir := t.TempDir()
	args := []string{"-orders", "120", "-decline", "0.3", "-step-delay", "20ms", "-participants-url", at, "-books", books}
	for n := range 3 {
		p := start(t, dir, args...)
		time.Sleep(400 * time.Millisecond)
		_ = p.Process.Kill()
		if err := p.Wait(); err == nil && n == 0 {
			t.Error("it ended before it could be killed: raise the number of orders")
		}
	}
	start(t, dir, args...).finish(t).clean(t, 120)
}

// TestUnaudited: without -books the program says that it has not audited.
func TestUnaudited(t *testing.T) {
	client, table, _ := newBookTable(t)
	cmd := exec.Command(binary, "-orders", "5", "-participants-url", newFunctionURL(t, inProcess(t, client, table)))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "The books are not audited") || strings.Contains(string(out), "duplicate effects") {
		t.Errorf("got %v: %s", err, out)
	}
}

// runtime is as much of Lambda's Runtime API as one sandbox needs.
type runtime struct {
	events  chan []byte
	answers chan []byte
}

func (r *runtime) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	switch path := strings.TrimPrefix(q.URL.Path, "/2018-06-01/runtime/"); {
	case path == "invocation/next":
		select {
		case e := <-r.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "one")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
			_, _ = w.Write(e)
		case <-q.Context().Done():
		}
	case strings.HasPrefix(path, "invocation/one/"): // response or error
		body, _ := io.ReadAll(q.Body)
		w.WriteHeader(http.StatusAccepted)
		r.answers <- body
	default:
		http.NotFound(w, q)
	}
}

// TestParticipantsFunction runs the program as Lambda does.
func TestParticipantsFunction(t *testing.T) {
	_, table, books := newBookTable(t)
	r := &runtime{make(chan []byte), make(chan []byte, 1)}
	lambda := httptest.NewServer(r)
	defer lambda.Close()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), roleVar+"=participants", booksVar+"="+table, "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL_DYNAMODB="+dynamolocal.Endpoint(t), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(lambda.URL, "http://"))
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	ask := func(event string) (answer map[string]any) {
		t.Helper()
		select {
		case r.events <- []byte(event):
		case <-time.After(time.Minute):
			t.Fatal("it does not ask for events")
		}
		if err := json.Unmarshal(<-r.answers, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	want := func(answer map[string]any, field, text string) {
		t.Helper()
		if got := fmt.Sprint(answer[field]); !strings.Contains(got, text) {
			t.Errorf("got %v, want that its %s says %q", answer, field, text)
		}
	}
	want(ask(authorizeEvent), "statusCode", "200")
	want(ask(authorizeEvent), "body", `{"id":"auth_`)
	want(ask(captureEvent), "body", `{"id":"cap_`)
	want(ask(strings.Replace(authorizeEvent, "/gateway/", "/bank/", 1)), "statusCode", "404")
	want(ask(`{"Records":[{"messageId":"1","body":"{}"}]}`), "errorMessage", "call this function by its URL")
	want(ask(`[]`), "errorMessage", "cannot unmarshal array")
	want(ask(captureEvent), "statusCode", "200")
	if r := auditOf(t, 1, "-books", books); r.Orders != 1 || r.RepeatedCalls != 2 || r.Parked != 1 || r.DuplicateEffects != 0 {
		t.Errorf("the books say %+v; the function said %s", r, said.String())
	}
}

// TestParticipantsConfig: what the environment says, and what is wrong with it.
func TestParticipantsConfig(t *testing.T) {
	env := func(vars ...string) func(string) string {
		return func(name string) string {
			for _, v := range vars {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		}
	}
	const books = booksVar + "=books"
	cfg, err := participantsConfig(env(books))
	if err != nil || cfg.Name != "books" || cfg.FaultRate != 0 || cfg.Mended || cfg.MinDelay <= deployedTimeout {
		t.Errorf("got %+v, %v", cfg, err)
	}
	cfg, err = participantsConfig(env(books, outageVar+"=0.1", seedVar+"=7", mendedVar+"=true", delayVar+"=3s"))
	if err != nil || cfg.FaultRate != 0.1 || cfg.Seed != 7 || !cfg.Mended || cfg.MinDelay != 3*time.Second {
		t.Errorf("got %+v, %v", cfg, err)
	}
	for _, bad := range []string{booksVar + "=", outageVar + "=2", outageVar + "=NaN", outageVar + "=often", seedVar + "=-1", mendedVar + "=yes", delayVar + "=3", delayVar + "=-3s"} {
		name, value, _ := strings.Cut(bad, "=")
		_, err := participantsConfig(env(bad, books))
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

// TestFunctionBegins: a function that cannot begin says why and ends.
func TestFunctionBegins(t *testing.T) {
	for env, want := range map[string]string{
		roleVar + "=cashier":      `PAYMENTS_ROLE is "cashier": known are`,
		roleVar + "=participants": "PAYMENTS_BOOKS_TABLE is not set",
	} {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), env)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: got %v, %s, want %q", env, err, out, want)
		}
	}
}
