package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/storeurl"
	"github.com/clewdev/clew/store/dynamo"
	"github.com/clewdev/clew/store/sqlite"
)

// openStore opens the store of the sagas, and makes it if it is not there: the
// file that -db names, or what -store does.
func openStore(ctx context.Context, cfg config) (durable.Store, io.Closer, error) {
	scheme, rest, _ := strings.Cut(cfg.store, ":")
	switch {
	case cfg.store == "":
		return openFile(cfg.db)
	case scheme == "sqlite" && rest != "":
		return openFile(rest)
	case scheme != "dynamodb":
		return nil, nil, fmt.Errorf("-store %q: known are sqlite:PATH and dynamodb:TABLE?region=…&endpoint=…", cfg.store)
	}
	client, table, err := storeurl.DynamoClient(ctx, rest)
	if err != nil {
		return nil, nil, err
	}
	opts := dynamo.Options{Table: table}
	if err := dynamo.CreateTable(ctx, client, opts); err != nil {
		return nil, nil, err
	}
	s, err := dynamo.Open(ctx, client, opts)
	if err != nil {
		return nil, nil, err
	}
	return s, io.NopCloser(nil), nil // nothing to close
}

func openFile(path string) (durable.Store, io.Closer, error) {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return s, s, nil
}
