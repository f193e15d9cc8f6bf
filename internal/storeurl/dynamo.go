package storeurl

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/dynamo"
)

// openTimeout bounds how long a person waits to hear that a table cannot be
// reached.
const openTimeout = 15 * time.Second

// openDynamo opens TABLE?region=…&endpoint=…. What the URL does not say, the
// SDK's usual configuration does: environment, profiles, the machine's role.
func openDynamo(rest string) (durable.Store, io.Closer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	client, table, err := DynamoClient(ctx, rest)
	if err != nil {
		return nil, nil, err
	}
	s, err := dynamo.Open(ctx, client, dynamo.Options{Table: table})
	if err != nil {
		return nil, nil, err
	}
	return s, noCloser{}, nil
}

type noCloser struct{}

func (noCloser) Close() error { return nil }

// DynamoClient returns the client and the table that the part of a URL after
// dynamodb: names.
func DynamoClient(ctx context.Context, rest string) (*dynamodb.Client, string, error) {
	table, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, "", fmt.Errorf("store %q: %w", "dynamodb:"+rest, err)
	}
	var load []func(*config.LoadOptions) error
	var set []func(*dynamodb.Options)
	for name, v := range values {
		switch name {
		case "region":
			load = append(load, config.WithRegion(v[0]))
		case "endpoint":
			if e, err := url.Parse(v[0]); err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" {
				return nil, "", fmt.Errorf("store %q: endpoint %q is no URL: want it as in http://127.0.0.1:8000", "dynamodb:"+rest, v[0])
			}
			set = append(set, func(o *dynamodb.Options) {
				// What stands in for AWS sends no checksums, of which the
				// client would warn at each response.
				o.BaseEndpoint, o.DisableValidateResponseChecksum = &v[0], true
			})
		default:
			return nil, "", fmt.Errorf("store %q: unknown parameter %q: known are region and endpoint", "dynamodb:"+rest, name)
		}
	}
	if table == "" {
		return nil, "", fmt.Errorf("store %q: it names no table: dynamodb:TABLE?region=…&endpoint=…", "dynamodb:"+rest)
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, "", fmt.Errorf("store %q: %w", "dynamodb:"+rest, err)
	}
	return dynamodb.NewFromConfig(cfg, set...), table, nil
}
