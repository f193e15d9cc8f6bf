// Package awsenv makes the options of a lambdahost.Host over a DynamoDB table
// from a function's environment:
//
//	CLEW_TABLE            the table; needed
//	CLEW_QUEUE_URL        the queue for wake-ups; without it the sweep runs what is due
//	CLEW_RECURSIVE_LOOP   Allow, if that is the function's RecursiveLoop
//	CLEW_SWEEP_PERIOD     how often the function gets a tick, as in 1m
//	CLEW_UNPINNED         true lets executions go on in any version, also $LATEST
//
// Region and credentials are those of the function; the SDK's own variables,
// such as AWS_ENDPOINT_URL_DYNAMODB, hold too.
package awsenv

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/store/dynamo"
)

// Options returns the options of a host that runs these definitions. The error
// names the variable that is wrong. Nothing is sent: what is wrong with the
// table, the first invocation says.
func Options(ctx context.Context, defs ...durable.Registrable) (lambdahost.Options, error) {
	opts := lambdahost.Options{Definitions: defs, Queue: os.Getenv("CLEW_QUEUE_URL")}
	table := os.Getenv("CLEW_TABLE")
	if table == "" {
		return opts, fmt.Errorf("awsenv: CLEW_TABLE is not set: it names the table of the executions")
	}
	switch loop := os.Getenv("CLEW_RECURSIVE_LOOP"); loop {
	case "Allow":
		opts.RecursiveLoop = true
	case "", "Terminate":
	default:
		return opts, fmt.Errorf("awsenv: CLEW_RECURSIVE_LOOP is %q: want Allow or Terminate, as the function's RecursiveLoop", loop)
	}
	if period := os.Getenv("CLEW_SWEEP_PERIOD"); period != "" {
		d, err := time.ParseDuration(period)
		if err != nil || d <= 0 {
			return opts, fmt.Errorf("awsenv: CLEW_SWEEP_PERIOD is %q: want a duration such as 1m", period)
		}
		opts.SweepPeriod = d
	}
	if unpinned := os.Getenv("CLEW_UNPINNED"); unpinned != "" {
		var err error
		if opts.Unpinned, err = strconv.ParseBool(unpinned); err != nil {
			return opts, fmt.Errorf("awsenv: CLEW_UNPINNED is %q: want true or false", unpinned)
		}
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return opts, fmt.Errorf("awsenv: %w", err)
	}
	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		// A server that stands in for AWS sends no checksums, which the client
		// would warn of at each response.
		o.DisableValidateResponseChecksum = os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") != "" || os.Getenv("AWS_ENDPOINT_URL") != ""
	})
	opts.Open = func(ctx context.Context) (durable.Store, error) {
		return dynamo.Open(ctx, client, dynamo.Options{Table: table})
	}
	opts.SQS, opts.Lambda = sqs.NewFromConfig(cfg), lambda.NewFromConfig(cfg)
	return opts, nil
}
