package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/clewdev/clew/examples/internal/booktable"
	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/lambdahttp"
)

// roleVar says which function this program is on Lambda. Without it, it is the
// program of the command line.
const roleVar = "PAYMENTS_ROLE"

// functions run until Lambda ends the process, or return why they cannot begin.
var functions = map[string]func(context.Context) error{
	"participants": participantsFunction,
	"sagas":        sagasFunction,
}

// runFunction is the process of a function; it returns the exit code.
func runFunction(role string) int {
	run, known := functions[role]
	err := fmt.Errorf("%s is %q: known are %s", roleVar, role, strings.Join(slices.Sorted(maps.Keys(functions)), ", "))
	if known {
		err = run(context.Background())
	}
	fmt.Fprintln(os.Stderr, "payments:", err)
	return 1
}

// The environment of the participants' function.
const (
	booksVar  = "PAYMENTS_BOOKS_TABLE" // table of the books
	mendedVar = "PAYMENTS_MENDED"      // true: as -mended
	outageVar = "PAYMENTS_OUTAGE"      // as -outage, without lost replies
	seedVar   = "PAYMENTS_SEED"        // as -seed, of the outages
	delayVar  = "PAYMENTS_DELAY"       // of delayed requests, at least; twice that at most
)

// participantsFunction serves the four participants behind a function URL.
func participantsFunction(ctx context.Context) error {
	cfg, err := participantsConfig(os.Getenv)
	if err != nil {
		return err
	}
	if cfg.Client, err = booktable.FunctionClient(ctx); err != nil {
		return err
	}
	handler, err := participant.NewHandler(cfg)
	if err != nil {
		return err
	}
	lambda.StartWithOptions(serveURL(handler), lambda.WithContext(ctx))
	return errors.New("the runtime ended") // it does not, but with the process
}

// serveURL makes a handler of HTTP one of the requests to a function URL. An
// event that is no such request is an error.
func serveURL(h http.Handler) func(context.Context, *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLResponse, error) {
	return func(ctx context.Context, e *events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLResponse, error) {
		if e.Version != "2.0" || e.RequestContext.HTTP.Method == "" {
			return nil, errors.New("the event is no request to a function URL (payload format 2.0): call this function by its URL")
		}
		return lambdahttp.Serve(ctx, h, e)
	}
}

// participantsConfig reads the environment.
func participantsConfig(env func(string) string) (cfg participant.TableConfig, err error) {
	cfg = participant.TableConfig{Name: env(booksVar), Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	if cfg.Name == "" {
		return cfg, fmt.Errorf("%s is not set: it names the DynamoDB table of the participants' books", booksVar)
	}
	if cfg.Mended, err = strconv.ParseBool(cmp.Or(env(mendedVar), "false")); err != nil {
		return cfg, fmt.Errorf("%s is %q: want true or false", mendedVar, env(mendedVar))
	}
	if cfg.FaultRate, err = strconv.ParseFloat(cmp.Or(env(outageVar), "0"), 64); err != nil || !(cfg.FaultRate >= 0 && cfg.FaultRate <= 1) {
		return cfg, fmt.Errorf("%s is %q: want a share between 0 and 1", outageVar, env(outageVar))
	}
	if cfg.Seed, err = strconv.ParseUint(cmp.Or(env(seedVar), "1"), 10, 64); err != nil {
		return cfg, fmt.Errorf("%s is %q: want a number, from 0", seedVar, env(seedVar))
	}
	cfg.MinDelay = deployedTimeout + deployedTimeout/4
	if delay := env(delayVar); delay != "" {
		if cfg.MinDelay, err = time.ParseDuration(delay); err != nil || cfg.MinDelay <= 0 {
			return cfg, fmt.Errorf("%s is %q: want a duration such as 7s", delayVar, delay)
		}
	}
	return cfg, nil
}
