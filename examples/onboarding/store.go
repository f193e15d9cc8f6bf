package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/internal/booktable"
	"github.com/clewdev/clew/internal/storeurl"
	"github.com/clewdev/clew/store/dynamo"
	"github.com/clewdev/clew/store/sqlite"
)

// openStore opens the store of the sagas: the file that -db names, or what -store
// does. If it is not there it is made, or it is an error without create.
func openStore(ctx context.Context, cfg config, create bool) (durable.Store, io.Closer, error) {
	scheme, rest, _ := strings.Cut(cfg.store, ":")
	switch {
	case cfg.store == "" && !create:
		if _, err := os.Stat(cfg.db); err != nil {
			return nil, nil, fmt.Errorf("%w: begin with `onboarding`, which makes the file and runs the onboardings, or name another -db", err)
		}
		return openFile(cfg.db)
	case cfg.store == "":
		return openFile(cfg.db)
	case !create:
		return storeurl.Open(cfg.store)
	case scheme == "sqlite" && rest != "":
		return openFile(rest)
	case scheme != "dynamodb":
		return nil, nil, unknownURL("-store", cfg.store)
	}
	return openTable(ctx, rest)
}

func unknownURL(flag, url string) error {
	return fmt.Errorf("%s %q: known are sqlite:PATH and dynamodb:TABLE?region=…&endpoint=…", flag, url)
}

func openFile(path string) (durable.Store, io.Closer, error) {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return s, s, nil
}

// openTable opens the table of a URL, and makes it only if it is not there: a
// worker needs no permission to make tables.
func openTable(ctx context.Context, rest string) (durable.Store, io.Closer, error) {
	client, table, err := storeurl.DynamoClient(ctx, rest)
	if err != nil {
		return nil, nil, err
	}
	opts := dynamo.Options{Table: table}
	s, err := dynamo.Open(ctx, client, opts)
	if isMissing(err) {
		if err = dynamo.CreateTable(ctx, client, opts); err == nil {
			s, err = dynamo.Open(ctx, client, opts)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return s, io.NopCloser(nil), nil // nothing to close
}

func isMissing(err error) bool {
	var missing *types.ResourceNotFoundException
	return errors.As(err, &missing)
}

// openBooks opens the books of the outside world: those beside -db, or those that
// -books names, likewise.
func openBooks(ctx context.Context, cfg config, create bool) (books, error) {
	scheme, rest, _ := strings.Cut(cfg.books, ":")
	switch {
	case cfg.books == "":
		return openFileBooks(booksPath(cfg.db))
	case scheme == "sqlite" && rest != "":
		return openFileBooks(rest)
	case scheme != "dynamodb":
		return nil, unknownURL("-books", cfg.books)
	}
	client, table, err := storeurl.DynamoClient(ctx, rest)
	if err != nil {
		return nil, err
	}
	b := &tableBooks{client, table}
	if _, err = b.page(ctx); create && isMissing(err) {
		err = booktable.Create(ctx, client, table)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// booksPath is where the outside world is, beside the sagas.
func booksPath(db string) string { return strings.TrimSuffix(db, ".db") + "-outside.db" }
