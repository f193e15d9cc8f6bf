// Package storeurl opens the store that a URL on a command line names.
package storeurl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/sqlite"
)

// Open opens an existing store: sqlite:PATH or
// dynamodb:TABLE?region=…&endpoint=…. It creates nothing, because a tool that
// looks at a mistyped name should say so.
func Open(url string) (durable.Store, io.Closer, error) {
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case !ok || rest == "":
		return nil, nil, fmt.Errorf("store %q: name it as sqlite:PATH or dynamodb:TABLE, for example sqlite:payments.db", url)
	case scheme == "dynamodb":
		return openDynamo(rest)
	case scheme != "sqlite":
		return nil, nil, fmt.Errorf("store %q: unknown kind %q: known are sqlite:PATH and dynamodb:TABLE?region=…&endpoint=…", url, scheme)
	}
	if _, err := os.Stat(rest); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("store %q: there is no file %s: check the path, or start the program that makes it", url, rest)
	}
	s, err := sqlite.Open(rest, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return s, s, nil
}
