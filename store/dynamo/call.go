package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// API is the part of *dynamodb.Client that a Store uses.
type API interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
}

var _ API = (*dynamodb.Client)(nil)

// Pauses between the attempts of one call: full jitter up to firstPause × 2^n,
// at most maxPause.
const (
	firstPause = 25 * time.Millisecond
	maxPause   = time.Second
)

// caller repeats requests until they have an answer or their context ends.
//
// The SDK's own retryer is switched off. It gives up after three attempts, it
// shares one budget of retries among all calls of a client, which a brown-out
// uses up within seconds, and it sets no limit of time to an attempt: after a
// frozen process thaws, a dead connection would be waited on for minutes. A
// journal wants to be told what became of its write.
type caller struct {
	table   string
	attempt time.Duration // limit of one attempt
}

func call[In, Out any](ctx context.Context, c *caller, action string, in *In, do func(context.Context, *In, ...func(*dynamodb.Options)) (*Out, error)) (*Out, error) {
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil && n == 0 {
			return nil, err
		}
		try, cancel := context.WithTimeout(ctx, c.attempt)
		out, err := do(try, in, noRetries)
		cancel()
		count(ctx, in, out, err)
		if err == nil || !passes(err) {
			return out, explain(c.table, action, err)
		}
		select {
		case <-time.After(rand.N(min(firstPause<<min(n, 10), maxPause))):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: given up: %w", explain(c.table, action, err), context.Cause(ctx))
		}
	}
}

func noRetries(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// passes tells whether a failure may be over at the next attempt: what the
// network did, what the service says of itself, and throttling. What it says
// of the request stays.
func passes(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return !isSigning(err) // no answer, or none that can be read
	}
	if throttles[api.ErrorCode()] {
		return true
	}
	switch api.ErrorCode() {
	case "InternalServerError", "InternalFailure", "ServiceUnavailable", "RequestTimeout",
		"ReplicatedWriteConflictException", "TransactionConflictException":
		return true
	}
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError
}

// throttles are the ways in which the service asks to slow down.
var throttles = map[string]bool{
	"ProvisionedThroughputExceededException": true, "ThrottlingException": true, "Throttling": true,
	"RequestLimitExceeded": true, "TooManyRequestsException": true, "SlowDown": true, "LimitExceededException": true,
}

// refused returns the item that failed a condition; found is false when err is
// something else. Some servers return no item, and none is returned when there
// is none, so an empty one says nothing.
func refused(err error) (old item, is bool) {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return nil, false
	}
	return failed.Item, true
}
