package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestReadEnv: what the environment says, and what is wrong with it.
func TestReadEnv(t *testing.T) {
	env := func(url, day string) func(string) string {
		return func(name string) string { return map[string]string{urlVar: url, dayVar: day}[name] }
	}
	day, base, err := readEnv(env("", ""))
	if day != 24*time.Hour || base != "" || err != nil {
		t.Errorf("got %v, %q, %v", day, base, err)
	}
	day, base, err = readEnv(env("https://x.lambda-url.eu-west-1.on.aws/", "20s"))
	if day != 20*time.Second || base != "https://x.lambda-url.eu-west-1.on.aws" || err != nil {
		t.Errorf("got %v, %q, %v", day, base, err)
	}
	for _, bad := range [][3]string{
		{"example.com", "", urlVar}, {"ftp://example.com", "", urlVar}, {"https://example.com/?a=b", "", urlVar}, {"https://%zz", "", urlVar},
		{"", "soon", dayVar}, {"", "0s", dayVar}, {"", "-24h", dayVar}, {"", "2000h", dayVar},
	} {
		if _, _, err := readEnv(env(bad[0], bad[1])); err == nil || !strings.Contains(err.Error(), bad[2]) || !strings.Contains(err.Error(), bad[0]+bad[1]) {
			t.Errorf("%q, %q: got %v", bad[0], bad[1], err)
		}
	}
}

// TestFunctionBegins: a function that cannot begin says why and ends.
func TestFunctionBegins(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]string{
		roleVar + "=cashier":     `ONBOARDING_ROLE is "cashier": known are pages and sagas`,
		roleVar + "=sagas":       "ONBOARDING_BOOKS_TABLE is not set",
		booksVar + "=books":      "CLEW_TABLE is not set",
		roleVar + "=pages":       "CLEW_TABLE is not set",
		urlVar + "=example.com":  "https://",
		dayVar + "=never":        `ONBOARDING_DAY is "never"`,
		"OTEL_TRACES_EXPORTER=x": "OTEL_TRACES_EXPORTER",
	} {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), runtimeVar+"=127.0.0.1:1", "AWS_REGION=us-east-1", env)
		if strings.HasPrefix(env, "OTEL") {
			cmd.Env = append(cmd.Env, booksVar+"=books")
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: got %v, %s, want %q", env, err, out, want)
		}
	}
}

// handler notes what it is handed.
type handler struct{ got []byte }

func (h *handler) Invoke(_ context.Context, payload []byte) ([]byte, error) {
	h.got = payload
	return []byte("{}"), nil
}

// TestPagesTakeNoEvents: the function with the public URL is handed requests of
// HTTP, and nothing that comes along with them.
func TestPagesTakeNoEvents(t *testing.T) {
	for _, event := range []string{
		`{"clew": "start", "definition": "onboarding", "id": "x", "input": {}}`, `{"clew": "sweep"}`, `[]`, `"x"`, `{}`,
		`{"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}`, `{"version": "1.0", "requestContext": {"http": {"method": "GET"}}}`,
	} {
		var h handler
		if _, err := (pagesHandler{&h}).Invoke(t.Context(), []byte(event)); err == nil || h.got != nil {
			t.Errorf("%s: got %v, and it is handed %s", event, err, h.got)
		}
	}
	var h handler
	event := `{"clew": "sweep", "version": "2.0", "rawPath": "/x", "requestContext": {"http": {"method": "GET"}}}`
	if _, err := (pagesHandler{&h}).Invoke(t.Context(), []byte(event)); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(h.got, &got); err != nil || got["clew"] != nil || got["rawPath"] != "/x" {
		t.Errorf("it is handed %s, %v", h.got, err)
	}
}
