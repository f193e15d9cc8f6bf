package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// TestOnLambda: the saga and the handler of its links need no other host than a
// function that is started, swept, and asked over its URL.
func TestOnLambda(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newWorld(24*time.Hour), mem.New()
		host, err := lambdahost.New(lambdahost.Options{
			Open:        func(context.Context) (durable.Store, error) { return store, nil },
			Definitions: []durable.Registrable{build(t, w)}, HTTP: callbacks,
			Function: "onboarding", Version: "1", HotWait: -1, Metrics: io.Discard,
			Engine: durable.Options{Logger: slog.New(slog.DiscardHandler)},
		})
		if err != nil {
			t.Fatal(err)
		}
		invoke := func(event any) []byte {
			t.Helper()
			payload, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := host.Invoke(ctx, payload)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		answer := func(path, answer string, want int) {
			t.Helper()
			ev := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: path, Body: "answer=" + answer, Headers: map[string]string{"content-type": "application/x-www-form-urlencoded"}}
			ev.RequestContext.HTTP.Method = http.MethodPost
			var got events.LambdaFunctionURLResponse
			if err := json.Unmarshal(invoke(ev), &got); err != nil || got.StatusCode != want || !strings.HasPrefix(got.Headers["Content-Type"], "text/html") {
				t.Errorf("%s %s: status %d, %v, want %d: %s", path, answer, got.StatusCode, err, want, got.Body)
			}
		}
		sweep := func(days int) {
			t.Helper()
			for range days * 24 {
				time.Sleep(time.Hour) // every minute in earnest
				invoke(map[string]string{"clew": "sweep"})
			}
		}
		invoke(map[string]any{"clew": "start", "definition": definition, "id": ada.ID, "input": ada})
		sweep(1)
		answer(linkOf(stepCheck, ada.ID, w.callback(kindCheck)), "pass", http.StatusOK)
		sweep(8)
		answer(linkOf(stepApproval, ada.ID, w.callback(kindRequest)), "approve", http.StatusOK)
		answer(linkOf(stepApproval, ada.ID, w.callback(kindRequest)), "approve", http.StatusConflict)
		sweep(1)
		rec, err := store.Load(t.Context(), ada.ID, durable.LoadHead)
		if err != nil {
			t.Fatal(err)
		}
		if got := saga.StatusOf(&rec.Head).String(); got != "committed/none" {
			t.Errorf("it is %s: %v", got, rec.Error)
		}
		if err := w.whole(ada.ID, true); err != nil {
			t.Error(err)
		}
		if got := len(w.when(kindReminder)); got != 2 {
			t.Errorf("reminded %d times, want on day 1 and on day 8", got)
		}
	})
}
