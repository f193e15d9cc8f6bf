// Package booktable has what the examples' outside worlds have in common where
// their books lie in a DynamoDB table: how it is made, and the client of a
// function that works on it. It knows nothing of clew.
package booktable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Hash and Range are the keys of every such table, both texts.
const Hash, Range = "pk", "sk"

// Maker is the part of *dynamodb.Client that makes a table.
type Maker interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
}

// Create makes a table, billed on demand, and returns when it is ready. One that
// exists and fits is left as it is; one that does not fit is an error.
func Create(ctx context.Context, client Maker, name string) error {
	text := types.ScalarAttributeTypeS
	_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(Hash), AttributeType: text}, {AttributeName: aws.String(Range), AttributeType: text}},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(Hash), KeyType: types.KeyTypeHash}, {AttributeName: aws.String(Range), KeyType: types.KeyTypeRange}},
	})
	var inUse *types.ResourceInUseException
	if err != nil && !errors.As(err, &inUse) {
		return fmt.Errorf("create table %s: %w", name, err)
	}
	ready := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, 2*time.Second
	})
	out, err := ready.WaitForOutput(ctx, &dynamodb.DescribeTableInput{TableName: &name}, time.Minute)
	if err != nil {
		return fmt.Errorf("create table %s: %w", name, err)
	}
	var keys []string
	for _, k := range out.Table.KeySchema {
		keys = append(keys, *k.AttributeName)
	}
	if got := strings.Join(keys, ", "); got != Hash+", "+Range {
		return fmt.Errorf("create table %s: it exists, and its keys are %s, not %s and %s: choose another name", name, got, Hash, Range)
	}
	return nil
}

// FunctionClient is a client for a function: after a freeze its connections may be
// dead, and it has to be told before the caller gives up.
func FunctionClient(ctx context.Context) (*dynamodb.Client, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(2*time.Second)),
		awsconfig.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 5, 500*time.Millisecond, ratelimit.None
			})
		}))
	if err != nil {
		return nil, err
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		// What stands in for AWS sends no checksums, of which the client would warn
		// at each response.
		o.DisableValidateResponseChecksum = os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") != "" || os.Getenv("AWS_ENDPOINT_URL") != ""
	}), nil
}
