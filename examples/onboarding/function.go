package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/internal/booktable"
	"github.com/clewdev/clew/internal/otelenv"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/lambdahost/awsenv"
)

// runtimeVar is set on Lambda: then this program is the function that roleVar
// names.
const runtimeVar = "AWS_LAMBDA_RUNTIME_API"

// The environment of the functions, besides that of package awsenv.
const (
	roleVar  = "ONBOARDING_ROLE"        // sagas, pages, or none, which is both
	booksVar = "ONBOARDING_BOOKS_TABLE" // table of the outside world's books; not for pages
	urlVar   = "ONBOARDING_URL"         // with what the links of mails begin
	dayVar   = "ONBOARDING_DAY"         // as -day
)

// functions make what answers the events of a role.
var functions = map[string]func(context.Context) (lambda.Handler, error){
	"": sagasFunction, "sagas": sagasFunction, "pages": pagesFunction,
}

// runFunction is the process of a function; it returns the exit code.
func runFunction() int {
	ctx, role := context.Background(), os.Getenv(roleVar)
	build, known := functions[role]
	err := fmt.Errorf("%s is %q: known are %s, and none for both", roleVar, role, strings.Join(slices.Sorted(maps.Keys(functions))[1:], " and "))
	if known {
		var h lambda.Handler
		if h, err = build(ctx); err == nil {
			serveFunction(h)
			err = errors.New("the runtime ended") // it does not, but with the process
		}
	}
	fmt.Fprintln(os.Stderr, "onboarding:", err)
	return 1
}

func serveFunction(h lambda.Handler) {
	if host, ok := h.(*lambdahost.Host); ok {
		host.Start() // which hands over on SIGTERM
		return
	}
	lambda.Start(h)
}

// sagasFunction runs onboardings: the same saga as everywhere. It answers
// questions too, to whoever gives it a URL, and shows nothing else there: the page
// with everybody's mails is for who sits at the machine, and Lambda has no login.
func sagasFunction(ctx context.Context) (lambda.Handler, error) {
	day, base, err := readEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	b := &tableBooks{name: os.Getenv(booksVar)}
	if b.name == "" {
		return nil, fmt.Errorf("%s is not set: it names the DynamoDB table of the outside world's books", booksVar)
	}
	if b.client, err = booktable.FunctionClient(ctx); err != nil {
		return nil, err
	}
	opts, err := hostOptions(ctx, deps{outside: b, day: day})
	if err != nil {
		return nil, err
	}
	open, log := opts.Open, opts.Engine.Logger
	opts.Open = func(ctx context.Context) (durable.Store, error) {
		if err := b.sayPage(ctx, base, log); err != nil {
			return nil, err
		}
		return open(ctx)
	}
	return lambdahost.New(opts)
}

// sayPage tells the books where links lead. It is the first call to their table.
func (b *tableBooks) sayPage(ctx context.Context, base string, log *slog.Logger) error {
	if base != "" {
		return b.setPage(ctx, base)
	}
	page, err := b.page(ctx)
	if err == nil && page == "" {
		log.Warn("nobody has said where the links of mails lead: set " + urlVar + " to the URL of this function, or of the one with the pages")
	}
	return err
}

// readEnv reads how long a day is and where links lead, "" for nowhere yet.
func readEnv(env func(string) string) (day time.Duration, base string, err error) {
	cfg := config{day: 24 * time.Hour, url: env(urlVar)}
	if text := env(dayVar); text != "" {
		if cfg.day, err = time.ParseDuration(text); err == nil {
			err = checkDay(cfg.day)
		}
		if err != nil {
			return 0, "", fmt.Errorf("%s is %q: want a duration between 1ms and 1000h, such as 24h", dayVar, text)
		}
	}
	if base, err = baseOf(cfg.url); err != nil {
		return 0, "", fmt.Errorf("%s: %w", urlVar, err)
	}
	return cfg.day, base, nil
}

// hostOptions are those of a host of onboardings.
func hostOptions(ctx context.Context, d deps) (lambdahost.Options, error) {
	s, err := onboard(d)
	if err != nil {
		return lambdahost.Options{}, err
	}
	env, err := otelenv.Start(ctx, service)
	if err != nil {
		return lambdahost.Options{}, err
	}
	opts, err := awsenv.Options(ctx, s)
	opts.HTTP, opts.Flush = callbacks, env.ForceFlush
	opts.Engine = durable.Options{Observer: env.Observer(), Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	return opts, err
}

// pagesFunction answers questions and runs nothing: for a public URL whose function
// may do little.
func pagesFunction(ctx context.Context) (lambda.Handler, error) {
	day, _, err := readEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	opts, err := hostOptions(ctx, deps{outside: nowhere{}, day: day})
	if err != nil {
		return nil, err
	}
	opts.Unpinned = true // it makes nothing that could be pinned to it
	host, err := lambdahost.New(opts)
	if err != nil {
		return nil, err
	}
	return pagesHandler{host}, nil
}

// pagesHandler takes requests of HTTP, and no other events.
type pagesHandler struct{ next lambda.Handler }

// Invoke implements lambda.Handler.
func (h pagesHandler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var e events.LambdaFunctionURLRequest
	if err := json.Unmarshal(payload, &e); err != nil || e.Version != "2.0" || e.RequestContext.HTTP.Method == "" {
		return nil, errors.New("the event is no request to a function URL (payload format 2.0): call this function by its URL; sagas are started and resumed by the other one")
	}
	request, err := json.Marshal(&e) // and nothing that may have come along
	if err != nil {
		return nil, err
	}
	return h.next.Invoke(ctx, request)
}

// nowhere is no outside world.
type nowhere struct{}

var errNowhere = errors.New("this function has no books: it answers questions, and runs nothing")

func (nowhere) Do(context.Context, string, Effect) (string, error)   { return "", errNowhere }
func (nowhere) Undo(context.Context, string) error                   { return errNowhere }
func (nowhere) Settle(context.Context, string) (string, bool, error) { return "", false, errNowhere }
