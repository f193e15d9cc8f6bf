// Command bootstrap is a function for the tests of lambdalocal: it does what
// its events say.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

var invocations int // of this process

func main() {
	if path := os.Getenv("TICKER"); path != "" {
		go tick(path)
	}
	switch os.Getenv("START") {
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "silent":
		silent()
	case "exit-once":
		exitOnce(os.Getenv("ONCE_FILE"))
	}
	fmt.Println("the sandbox has started")
	if path := os.Getenv("TERM_FILE"); path != "" {
		lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() {
			_ = os.WriteFile(path, []byte("terminated"), 0o600) // the test looks
			os.Exit(0)
		}))
	}
	lambda.Start(handle)
}

// tick counts for as long as the process is not frozen.
func tick(path string) {
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	for n := 1; ; n++ {
		_, _ = fmt.Fprintf(io.NewOffsetWriter(f, 0), "%012d", n) // the test looks
		time.Sleep(2 * time.Millisecond)
	}
}

func exitOnce(path string) {
	if _, err := os.Stat(path); err != nil {
		_ = os.WriteFile(path, nil, 0o600) // the test looks
		os.Exit(3)
	}
}

// silent takes invocations and never answers.
func silent() {
	for {
		resp, err := http.Get("http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/next")
		if err != nil {
			os.Exit(1)
		}
		_ = resp.Body.Close()
	}
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	invocations++
	if bytes.Contains(event, []byte(`"aws:sqs"`)) {
		var batch events.SQSEvent
		if err := json.Unmarshal(event, &batch); err != nil {
			return nil, err
		}
		return messages(ctx, batch)
	}
	var request events.LambdaFunctionURLRequest
	if err := json.Unmarshal(event, &request); err != nil {
		return nil, err
	}
	text := event
	if request.RequestContext.HTTP.Method == "PUT" {
		text = []byte(request.Body) // an order by HTTP
	}
	var o order
	_ = json.Unmarshal(text, &o) // other requests have other fields
	if o.Do == "" {
		o.Do = os.Getenv("DO")
	}
	return o.run(ctx, event)
}

// messages reports those that fail.
func messages(ctx context.Context, batch events.SQSEvent) (any, error) {
	var out events.SQSEventResponse
	for _, m := range batch.Records {
		var o order
		if err := json.Unmarshal([]byte(m.Body), &o); err != nil {
			return nil, err
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		given, err := o.run(ctx, raw)
		switch {
		case o.Do == "give", o.Do == "fail-batch":
			return given, err
		case err != nil:
			out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return out, nil
}
