package lambdalocal

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

func open(t *testing.T, l *Lambda, f Function) string {
	t.Helper()
	pay(t, l, f)
	url, err := l.FunctionURL("pay")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func do(t *testing.T, method, url, kind string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Own", "One")
	r.AddCookie(&http.Cookie{Name: "a", Value: "1"})
	r.AddCookie(&http.Cookie{Name: "b", Value: "2"})
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

func TestURLEvent(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	url := open(t, l, Function{Env: map[string]string{"DO": "echo"}})
	resp, body := do(t, "POST", url+"/callbacks/a%2Fb?x=1&x=2&y=z", "application/json", []byte(`{"ok":true}`))
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("an answer without a status code is a %d of type %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	e := decode[events.LambdaFunctionURLRequest](t, body)
	if e.Version != "2.0" || e.RawPath != "/callbacks/a%2Fb" || e.RawQueryString != "x=1&x=2&y=z" || e.QueryStringParameters["x"] != "1,2" ||
		e.Headers["x-own"] != "One" || e.Headers["content-type"] != "application/json" || e.Headers["host"] == "" || e.Headers["cookie"] != "" ||
		strings.Join(e.Cookies, ";") != "a=1;b=2" || e.Body != `{"ok":true}` || e.IsBase64Encoded {
		t.Errorf("the event is %s", body)
	}
	if c := e.RequestContext; c.HTTP.Method != "POST" || c.HTTP.Path != "/callbacks/a/b" || c.HTTP.SourceIP != "127.0.0.1" || c.RequestID == "" || c.TimeEpoch == 0 {
		t.Errorf("its context is %+v", c)
	}
	binary := []byte{0, 1, 0xff}
	_, body = do(t, "POST", url, "application/octet-stream", binary)
	if e := decode[events.LambdaFunctionURLRequest](t, body); !e.IsBase64Encoded || e.Body != base64.StdEncoding.EncodeToString(binary) || e.RawPath != "/" {
		t.Errorf("the event of a binary body is %s", body)
	}
}

func TestURLAnswer(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	url := open(t, l, Function{})
	for _, test := range []struct {
		name, order, body string
		status            int
	}{
		{"whole", `{"Do":"give","Give":{"statusCode":201,"headers":{"X-Their":"h","content-type":"text/plain"},"cookies":["c=1; Secure","d=2"],"body":"made"}}`, "made", 201},
		{"binary", `{"Do":"give","Give":{"statusCode":200,"body":"AAH/","isBase64Encoded":true}}`, "\x00\x01\xff", 200},
		{"plain", `{"Do":"give","Give":{"approved":true}}`, `{"approved":true}`, 200},
		{"text", `{"Do":"give","Give":"hello"}`, `"hello"`, 200},
		{"failed", `{"Do":"fail"}`, `{"message":"Internal Server Error"}` + "\n", 502},
		{"no status", `{"Do":"give","Give":{"statusCode":7}}`, `{"message":"Internal Server Error"}` + "\n", 502},
	} {
		resp, body := do(t, "PUT", url, "application/json", []byte(test.order))
		if resp.StatusCode != test.status || string(body) != test.body {
			t.Errorf("%s: the answer is %d %q, want %d %q", test.name, resp.StatusCode, body, test.status, test.body)
		}
		if test.name == "whole" && (resp.Header.Get("X-Their") != "h" || resp.Header.Get("Content-Type") != "text/plain" ||
			strings.Join(resp.Header["Set-Cookie"], "|") != "c=1; Secure|d=2") {
			t.Errorf("the headers are %v", resp.Header)
		}
	}
}
