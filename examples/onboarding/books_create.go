package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// tableMaker is the part of *dynamodb.Client that makes a table.
type tableMaker interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
}

// createBooksTable makes a table for books, billed on demand, and returns when it
// is ready. One that exists and fits is left as it is; one that does not fit is an
// error.
func createBooksTable(ctx context.Context, client tableMaker, name string) error {
	text := types.ScalarAttributeTypeS
	_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(hashName), AttributeType: text}, {AttributeName: aws.String(rangeName), AttributeType: text}},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(hashName), KeyType: types.KeyTypeHash}, {AttributeName: aws.String(rangeName), KeyType: types.KeyTypeRange}},
	})
	var inUse *types.ResourceInUseException
	if err != nil && !errors.As(err, &inUse) {
		return fmt.Errorf("the books of the outside world: create table %s: %w", name, err)
	}
	ready := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, 2*time.Second
	})
	out, err := ready.WaitForOutput(ctx, &dynamodb.DescribeTableInput{TableName: &name}, time.Minute)
	if err != nil {
		return fmt.Errorf("the books of the outside world: create table %s: %w", name, err)
	}
	var keys []string
	for _, k := range out.Table.KeySchema {
		keys = append(keys, *k.AttributeName)
	}
	if got := strings.Join(keys, ", "); got != hashName+", "+rangeName {
		return fmt.Errorf("the books of the outside world: table %s exists, and its keys are %s, not %s and %s: choose another name", name, got, hashName, rangeName)
	}
	return nil
}
