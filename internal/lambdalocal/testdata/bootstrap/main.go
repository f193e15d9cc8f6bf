// Command bootstrap is a function for the tests of lambdalocal: it does what
// its events say.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
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
	case "exit-once":
		exitOnce(os.Getenv("ONCE_FILE"))
	}
	fmt.Println("the sandbox has started")
	handler := lambda.NewHandler(handle)
	if path := os.Getenv("TERM_FILE"); path != "" {
		lambda.StartWithOptions(handler, lambda.WithEnableSIGTERM(func() {
			_ = os.WriteFile(path, []byte("terminated"), 0o600) // the test looks
			os.Exit(0)
		}))
	}
	lambda.Start(handler)
}

// tick counts for as long as the process is not frozen.
func tick(path string) {
	for n := 1; ; n++ {
		_ = os.WriteFile(path, []byte(strconv.Itoa(n)), 0o600) // the test looks
		time.Sleep(2 * time.Millisecond)
	}
}

func exitOnce(path string) {
	if _, err := os.Stat(path); err != nil {
		_ = os.WriteFile(path, nil, 0o600) // the test looks
		os.Exit(3)
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
	var o order
	_ = json.Unmarshal(event, &o) // a request of a function URL has other fields
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
