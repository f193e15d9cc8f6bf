package dynamo_test

import (
	"context"
	"log"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/dynamo"
)

// A worker on a table, which it makes if it is not there.
func Example() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client := dynamodb.NewFromConfig(cfg)
	opts := dynamo.Options{Table: "orders", PointInTimeRecovery: true, DeletionProtection: true}
	if err := dynamo.CreateTable(ctx, client, opts); err != nil {
		log.Fatal(err)
	}
	store, err := dynamo.Open(ctx, client, opts)
	if err != nil {
		log.Fatal(err) // says what is wrong with the table, and what to do
	}
	engine, err := durable.New(store, durable.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := engine.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
