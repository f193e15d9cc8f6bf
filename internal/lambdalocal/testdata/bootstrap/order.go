package main

import (
	"cmp"
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
	Back     string          // the function that is invoked in the round after
	Left     int             // rounds of sending or invoking
	Give     json.RawMessage // to return
	File     string          // to add a line to
	Await    string          // a file that is waited for
}

func (o order) run(ctx context.Context, event json.RawMessage) (any, error) {
	fmt.Printf("doing %q\n", o.Do)
	if file := cmp.Or(o.File, os.Getenv("FILE")); file != "" {
		if err := appendLine(file, event); err != nil {
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
	case "await":
		for _, err := os.Stat(o.Await); err != nil; _, err = os.Stat(o.Await) {
			time.Sleep(2 * time.Millisecond)
		}
	case "give":
		return o.Give, nil
	case "echo":
		return event, nil
	case "send":
		return nil, o.send(ctx)
	case "invoke":
		return nil, o.invoke(ctx)
	case "stale":
		return nil, stale(ctx)
	case "call", "call-late":
		return call(ctx, o.Do == "call-late")
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
func (o order) send(ctx context.Context) error {
	body, err := o.next()
	if err != nil || body == nil {
		return err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	text := string(body)
	_, err = sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &o.Queue, MessageBody: &text})
	return err
}

// invoke invokes a function asynchronously with the order.
func (o order) invoke(ctx context.Context) error {
	function := o.Function
	payload, err := o.next()
	if err != nil || payload == nil {
		return err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	_, err = lambda.NewFromConfig(cfg).Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload,
		InvocationType: types.InvocationTypeEvent})
	return err
}

// next is the order for the next round, or nothing after the last one.
func (o order) next() ([]byte, error) {
	if o.Left--; o.Left < 0 {
		return nil, nil
	}
	if o.Back != "" {
		o.Function, o.Back = o.Back, o.Function
	}
	return json.Marshal(o)
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

var firstTrace string

// call sends a request to a watched server: as the SDK does, or late, with the
// trace of the first invocation that called.
func call(ctx context.Context, late bool) (int, error) {
	trace := os.Getenv("_X_AMZN_TRACE_ID")
	firstTrace = cmp.Or(firstTrace, trace)
	if late {
		trace = firstTrace
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("CALL"), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Amzn-Trace-Id", trace)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// describe tells what the process knows of itself.
func describe(ctx context.Context) map[string]any {
	out := map[string]any{"args": os.Args[1:], "pid": os.Getpid()}
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
