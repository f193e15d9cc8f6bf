package lambdahost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/clewdev/clew/durable"
)

// asks opens a callback and fails or succeeds with what it gets.
func asks(ids chan<- string) *durable.Definition[int, string] {
	return durable.Define("asks", "1", func(ctx *durable.Context, _ int) (string, error) {
		cb, err := durable.CreateCallback[string](ctx, "cb", durable.WithCallbackTimeout(time.Hour), durable.WithHeartbeatTimeout(time.Minute))
		if err != nil {
			return "", err
		}
		select {
		case ids <- cb.ID():
		default:
		}
		return cb.Result(ctx)
	})
}

func requestOf(method, path, body string) string {
	ev := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: path, Body: body}
	ev.RequestContext.HTTP.Method = method
	b, err := json.Marshal(ev)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestCallbacks: the routes complete, fail and keep alive, and say what is wrong.
func TestCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		ids := make(chan string, 1)
		h := c.host("7", func(o *Options) {
			o.HTTP = func(e *durable.Engine) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "own ", r.URL.Path) })
			}
		}, asks(ids))
		call := func(method, path, body string, want int, says string) {
			t.Helper()
			var out events.LambdaFunctionURLResponse
			if err := json.Unmarshal([]byte(c.must(h, requestOf(method, path, body))), &out); err != nil {
				t.Fatal(err)
			}
			if out.StatusCode != want || !strings.Contains(out.Body, says) {
				t.Errorf("%s %s: got %d %s, want %d and %q", method, path, out.StatusCode, out.Body, want, says)
			}
		}
		open := func(id string) string {
			c.must(h, `{"clew": "start", "definition": "asks", "id": "`+id+`", "input": 0}`)
			c.queue = nil // of the heartbeat that is due
			return "/callbacks/" + <-ids
		}
		a, b, d := open("a"), open("b"), open("d")
		call("POST", a+"/heartbeat", "", 204, "")
		call("POST", a+"/complete", "{", 400, "no JSON")
		call("GET", a+"/complete", "", 405, "")
		call("POST", a+"/explode", "", 404, "")
		call("POST", "/callbacks/nonsense/complete", `1`, 404, "not a callback ID")
		call("POST", a+"/complete", `"yes"`, 204, "")
		call("POST", a+"/complete", `"yes"`, 409, "already delivered")
		call("POST", b+"/fail", `{"message": "no way"}`, 204, "")
		call("POST", d+"/complete", ``, 204, "")
		call("GET", "/page", "", 200, "own /page")
		for c.queued() > 0 {
			m, _ := c.next()
			if got := failures(t, c.must(h, batchOf(m.body))); len(got) > 0 {
				t.Errorf("got failures: %s", c.logs)
			}
		}
		if rec := c.load("a"); rec.Status != durable.StatusSucceeded || string(rec.Result) != `"yes"` {
			t.Errorf("a: got %v %s", rec.Status, rec.Result)
		}
		if rec := c.load("b"); rec.Status != durable.StatusFailed || !strings.Contains(rec.Error.Message, "no way") {
			t.Errorf("b: got %v %v", rec.Status, rec.Error)
		}
		if rec := c.load("d"); rec.Status != durable.StatusSucceeded {
			t.Errorf("d: got %v %v", rec.Status, rec.Error)
		}
		call("POST", a+"/heartbeat", "", 410, "ended")
	})
}

// TestCallbackEvents: the same by invocations and in batches.
func TestCallbackEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		ids := make(chan string, 1)
		h := c.host("7", nil, asks(ids))
		for i, with := range []string{`"result": "yes"`, `"error": {"message": "no"}`} {
			id := fmt.Sprint("x", i)
			c.must(h, `{"clew": "start", "definition": "asks", "id": "`+id+`", "input": 0}`)
			cb := <-ids
			c.queue = nil
			c.must(h, `{"clew": "callback", "id": "`+cb+`", "heartbeat": true}`)
			if got := failures(t, c.must(h, batchOf(`{"clew": "callback", "id": "`+cb+`", `+with+`}`))); len(got) > 0 {
				t.Errorf("got failures: %s", c.logs)
			}
			m, _ := c.next()
			c.must(h, m.body)
			<-ids // the replay's
			if got := c.load(id).Status; got != []durable.Status{durable.StatusSucceeded, durable.StatusFailed}[i] {
				t.Errorf("%s: got %v", with, got)
			}
		}
	})
}

// TestHTTPThatIsNone: a request that cannot be read is answered, not failed.
func TestHTTPThatIsNone(t *testing.T) {
	c := newCloud(t)
	h := c.host("7", nil, waits(time.Hour))
	out := c.must(h, `{"rawPath": "/", "body": "%%", "isBase64Encoded": true, "requestContext": {"http": {"method": "GET"}}}`)
	if !strings.Contains(out, `"statusCode":400`) || !strings.Contains(out, "base64") {
		t.Errorf("got %s, want 400", out)
	}
	if out := c.must(h, requestOf("GET", "/", "")); !strings.Contains(out, `"statusCode":404`) {
		t.Errorf("without a handler: got %s, want 404", out)
	}
}

// TestStages: an HTTP API with a stage of its own has it in front of the path.
func TestStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		h := c.host("7", func(o *Options) {
			o.HTTP = func(*durable.Engine) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "got ", r.URL.Path) })
			}
		}, waits(time.Hour))
		for _, e := range []struct{ stage, path, want string }{
			{"prod", "/prod/page", "got /page"},
			{"prod", "/prod", "got /"},
			{"prod", "/products", "got /products"},
			{"prod", "/page", "got /page"}, // by a domain of its own
			{"prod", "/prod/callbacks/x/heartbeat", "not a callback ID"},
			{"$default", "/prod/page", "got /prod/page"},
		} {
			got := c.must(h, `{"rawPath": "`+e.path+`", "requestContext": {"stage": "`+e.stage+`", "http": {"method": "POST"}}}`)
			if !strings.Contains(got, e.want) {
				t.Errorf("stage %s, path %s: got %s, want %q", e.stage, e.path, got, e.want)
			}
		}
	})
}
