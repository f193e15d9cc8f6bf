package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// Events as function URLs send them, AuthType AWS_IAM: with a body that is
// text, and with one in base64.
const (
	authorizeEvent = `{
  "version": "2.0", "routeKey": "$default", "rawPath": "/gateway/authorize", "rawQueryString": "",
  "headers": {
    "accept-encoding": "identity", "attempt": "2", "content-length": "66",
    "host": "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws",
    "idempotency-key": "order-000001/1/fraud score, first",
    "user-agent": "Go-http-client/2.0", "x-amz-date": "20261125T101500Z", "x-amzn-tls-version": "TLSv1.3",
    "x-amzn-trace-id": "Root=1-67ab1234-0123456789abcdef01234567", "x-forwarded-for": "192.0.2.1",
    "x-forwarded-port": "443", "x-forwarded-proto": "https"
  },
  "requestContext": {
    "accountId": "123456789012", "apiId": "abcdefghijklmnopqrstuvwxyz012345",
    "authorizer": {"iam": {"accessKey": "AKIAIOSFODNN7EXAMPLE", "accountId": "123456789012", "callerId": "AROAEXAMPLE:sagas",
      "cognitoIdentity": null, "principalOrgId": "o-example", "userArn": "arn:aws:sts::123456789012:assumed-role/sagas/sagas", "userId": "AROAEXAMPLE:sagas"}},
    "domainName": "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws", "domainPrefix": "abcdefghijklmnopqrstuvwxyz012345",
    "http": {"method": "POST", "path": "/gateway/authorize", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "Go-http-client/2.0"},
    "requestId": "1b2c3d4e-0000-1111-2222-333344445555", "routeKey": "$default", "stage": "$default",
    "time": "25/Nov/2026:10:15:00 +0000", "timeEpoch": 1795601700000
  },
  "body": "{\"order\":\"order-000001\",\"card\":\"tok_visa\",\"amount_cents\":1999}",
  "isBase64Encoded": false
}`
	captureEvent = `{
  "version": "2.0", "routeKey": "$default", "rawPath": "/gateway/capture", "rawQueryString": "",
  "headers": {"attempt": "1", "idempotency-key": "order-000001/1/capture", "content-type": "application/octet-stream"},
  "requestContext": {
    "accountId": "anonymous", "apiId": "abcdefghijklmnopqrstuvwxyz012345",
    "domainName": "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws", "domainPrefix": "abcdefghijklmnopqrstuvwxyz012345",
    "http": {"method": "POST", "path": "/gateway/capture", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "Go-http-client/2.0"},
    "requestId": "1b2c3d4e-0000-1111-2222-333344445556", "routeKey": "$default", "stage": "$default",
    "time": "25/Nov/2026:10:15:01 +0000", "timeEpoch": 1795601701000
  },
  "body": "eyJvcmRlciI6Im9yZGVyLTAwMDAwMSIsImF1dGhvcml6YXRpb24iOiJhdXRoXzEiLCJhbW91bnRfY2VudHMiOjE5OTl9",
  "isBase64Encoded": true
}`
)

func eventOf(t *testing.T, text string) *events.LambdaFunctionURLRequest {
	t.Helper()
	e := &events.LambdaFunctionURLRequest{}
	if err := json.Unmarshal([]byte(text), e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestServeURL: the handler sees the request that the caller sent, and the
// caller gets what it answers.
func TestServeURL(t *testing.T) {
	serve := serveURL(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+r.Header.Get("Idempotency-Key")+" "+r.Header.Get("Attempt")+" "+string(body))
	}))
	for _, test := range []struct {
		event string
		want  string
	}{
		{authorizeEvent, `POST /gateway/authorize? order-000001/1/fraud score, first 2 {"order":"order-000001","card":"tok_visa","amount_cents":1999}`},
		{captureEvent, `POST /gateway/capture? order-000001/1/capture 1 {"order":"order-000001","authorization":"auth_1","amount_cents":1999}`},
		{strings.Replace(captureEvent, `"rawQueryString": ""`, `"rawQueryString": "a=b&c=%20"`, 1),
			`POST /gateway/capture?a=b&c=%20 order-000001/1/capture 1 {"order":"order-000001","authorization":"auth_1","amount_cents":1999}`},
	} {
		out, err := serve(t.Context(), eventOf(t, test.event))
		if err != nil {
			t.Fatal(err)
		}
		if out.Body != test.want || out.StatusCode != http.StatusTeapot {
			t.Errorf("got %+v, want the body %s", out, test.want)
		}
	}
}

// TestServeURLOtherEvents: what is no request is an error, which Lambda logs
// and tells the invoker.
func TestServeURLOtherEvents(t *testing.T) {
	serve := serveURL(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was handled") }))
	for _, event := range []string{`{}`, `{"version":"1.0","httpMethod":"POST","path":"/gateway/capture"}`, `{"version":"2.0"}`, `{"Records":[]}`,
		`{"clew":"sweep"}`} {
		if _, err := serve(context.Background(), eventOf(t, event)); err == nil || !strings.Contains(err.Error(), "by its URL") {
			t.Errorf("%s: got %v", event, err)
		}
	}
}
