package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// order is an event, or the body of a message.
type order struct {
	Do       string
	For      string          // a duration
	Queue    string          // to send to
	Function string          // to invoke
	Give     json.RawMessage // to return
	File     string          // to add a line to
}

func (o order) run(ctx context.Context, event json.RawMessage) (any, error) {
	fmt.Printf("doing %q\n", o.Do)
	if o.File != "" {
		if err := appendLine(o.File, event); err != nil {
			return nil, err
		}
	}
	switch o.Do {
	case "fail", "fail-batch":
		return nil, errors.New("told to fail")
	case "exit":
		os.Exit(1)
	case "sleep":
		d, err := time.ParseDuration(o.For)
		if err != nil {
			return nil, err
		}
		time.Sleep(d)
	case "give":
		return o.Give, nil
	case "echo":
		return event, nil
	case "send":
		return nil, send(ctx, o.Queue, event)
	case "invoke":
		return nil, invoke(ctx, o.Function, event)
	case "stale":
		return nil, stale(ctx)
	case "describe":
		return describe(ctx), nil
	}
	return map[string]int{"invocations": invocations}, nil
}

func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(line, '\n'))
	return err
}

// send sends the order on to a queue, as a loop does.
func send(ctx context.Context, queue string, event json.RawMessage) error {
	var m struct{ Body string }
	if err := json.Unmarshal(event, &m); err != nil {
		return err
	}
	body := string(event)
	if m.Body != "" {
		body = m.Body
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	_, err = sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body})
	return err
}

// invoke invokes a function asynchronously with the same event.
func invoke(ctx context.Context, function string, event json.RawMessage) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	_, err = lambda.NewFromConfig(cfg).Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: event,
		InvocationType: types.InvocationTypeEvent})
	return err
}

// stale answers an invocation that is not the one that runs.
func stale(ctx context.Context) error {
	url := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/an-old-one/response"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`"late"`))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// describe tells what the process knows of itself.
func describe(ctx context.Context) map[string]any {
	out := map[string]any{"args": os.Args[1:]}
	for _, name := range []string{"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
		"AWS_REGION", "_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_INITIALIZATION_TYPE", "_X_AMZN_TRACE_ID", "OWN"} {
		out[name] = os.Getenv(name)
	}
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		out["arn"], out["id"], out["client"] = lc.InvokedFunctionArn, lc.AwsRequestID, lc.ClientContext.Custom["k"]
	}
	if deadline, ok := ctx.Deadline(); ok {
		out["left"] = time.Until(deadline).Milliseconds()
	}
	return out
}
