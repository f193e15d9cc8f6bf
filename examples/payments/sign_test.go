package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/clewdev/clew/examples/payments/participant"
)

const functionURL = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws/"

// wire keeps the requests that would go out, and answers them.
type wire struct {
	requests []*http.Request
	bodies   []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.requests, w.bodies = append(w.requests, r), append(w.bodies, string(body))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"auth_1"}`))}, nil
}

// TestSigning: a signed request has the headers that AuthType AWS_IAM asks for,
// covers the key and the body, and is the request that was to be sent.
func TestSigning(t *testing.T) {
	w := &wire{}
	static := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "session")
	c, err := participant.NewClient(participant.At(functionURL), newSigning(static, "eu-central-1", w))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Authorize(t.Context(), "order-000001/1/fraud score", 3, "order-000001", "tok_visa", 1999); err != nil {
		t.Fatal(err)
	}
	if len(w.requests) != 1 {
		t.Fatalf("%d requests were sent, want 1", len(w.requests))
	}
	r, body := w.requests[0], w.bodies[0]
	if got, want := r.URL.String(), functionURL+"gateway/authorize"; got != want {
		t.Errorf("got the URL %s, want %s", got, want)
	}
	if body != `{"order":"order-000001","card":"tok_visa","amount_cents":1999}` || r.ContentLength != int64(len(body)) {
		t.Errorf("got the body %s of length %d", body, r.ContentLength)
	}
	shape := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/lambda/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$`)
	parts := shape.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil {
		t.Fatalf("got Authorization %q", r.Header.Get("Authorization"))
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-security-token", "idempotency-key", "attempt"} {
		if !strings.Contains(";"+parts[1]+";", ";"+name+";") {
			t.Errorf("%s is not signed: %s", name, parts[1])
		}
	}
	if r.Header.Get("X-Amz-Security-Token") != "session" {
		t.Errorf("got the session token %q", r.Header.Get("X-Amz-Security-Token"))
	}
	if got := signatureOf(t, r, body); got != r.Header.Get("Authorization") {
		t.Errorf("whoever knows the secret computes %s, got %s", got, r.Header.Get("Authorization"))
	}
	if got := signatureOf(t, r, body+" "); got == r.Header.Get("Authorization") {
		t.Error("another body has the same signature")
	}
	r.Header.Set("Idempotency-Key", "another")
	if got := signatureOf(t, r, body); got == r.Header.Get("Authorization") {
		t.Error("another key has the same signature")
	}
}

// signatureOf is what the receiver computes.
func signatureOf(t *testing.T, r *http.Request, body string) string {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	again := r.Clone(t.Context())
	again.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	again.Header.Del("Authorization")
	sum := sha256.Sum256([]byte(body))
	as := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}
	if err := v4.NewSigner().SignHTTP(t.Context(), as, again, hex.EncodeToString(sum[:]), "lambda", "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	return again.Header.Get("Authorization")
}

// TestSigningWithoutCredentials: nothing is sent unsigned.
func TestSigningWithoutCredentials(t *testing.T) {
	w := &wire{}
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("nobody is signed in")
	})
	c, err := participant.NewClient(participant.At(functionURL), newSigning(none, "eu-central-1", w))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Authorize(t.Context(), "k", 1, "o", "tok_visa", 1)
	if err == nil || !strings.Contains(err.Error(), "sign the request: nobody is signed in") || len(w.requests) > 0 {
		t.Errorf("got %v and %d requests", err, len(w.requests))
	}
}

func TestFunctionRegion(t *testing.T) {
	for base, want := range map[string]string{
		functionURL: "eu-central-1",
		"https://x.lambda-url.us-gov-west-1.on.aws":  "us-gov-west-1",
		"http://127.0.0.1:8080":                      "",
		"https://on.aws":                             "",
		"https://x.lambda-url.us-east-1.example.com": "",
		"%": "",
	} {
		region, isFunction := functionRegion(base)
		if isFunction != (want != "") || isFunction && region != want {
			t.Errorf("%s: got %q, %v, want %q", base, region, isFunction, want)
		}
	}
}

// TestSignedByDefault: requests to a function URL are signed unless somebody
// says otherwise, and others are if somebody says so.
func TestSignedByDefault(t *testing.T) {
	for _, test := range []struct {
		base, auth string
		want       bool
	}{
		{functionURL, "", true}, {functionURL, authIAM, true}, {functionURL, authNone, false},
		{"http://127.0.0.1:8080", "", false}, {"http://127.0.0.1:8080", authIAM, true}, {"http://127.0.0.1:8080", authNone, false},
	} {
		if got := isSigned(test.base, test.auth); got != test.want {
			t.Errorf("%s %q: got %v, want %v", test.base, test.auth, got, test.want)
		}
	}
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"id":"auth_1"}`)
	}))
	defer server.Close()
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for auth, want := range map[string]string{"": "", authNone: "", authIAM: "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"} {
		t.Setenv("AWS_REGION", "us-east-1")
		c, err := deployedParticipants(t.Context(), server.URL, auth)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Authorize(t.Context(), "k", 1, "o", "tok_visa", 1); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(seen, want) || want == "" && seen != "" {
			t.Errorf("%q: got Authorization %q, want %q", auth, seen, want)
		}
	}
	t.Setenv("AWS_REGION", "")
	if _, err := deployedParticipants(t.Context(), server.URL, authIAM); err == nil || !strings.Contains(err.Error(), "set AWS_REGION") {
		t.Errorf("without a region: got %v", err)
	}
}
