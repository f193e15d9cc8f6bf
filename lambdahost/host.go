package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/clewdev/clew/durable"
)

// SQS is what the host needs of a queue; *sqs.Client has it.
type SQS interface {
	SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

// Lambda is what the host needs to reach other versions of its function;
// *lambda.Client has it.
type Lambda interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Options configure a Host. Open and Definitions are needed; zero fields take
// the defaults named with them.
type Options struct {
	// Open opens the store. It is called by the first invocation, and again by
	// the next one if it fails: what is wrong with the table is then said in the
	// answer and in the log, and messages stay where they are.
	Open func(ctx context.Context) (durable.Store, error)
	// Definitions are what the function can run, of each name the newest one
	// last. Keep old versions registered as long as something of them is in
	// flight.
	Definitions []durable.Registrable

	// Queue is the URL of the queue for wake-ups, from which the function gets
	// batches; SQS is its client. Without a queue the sweep itself runs what is
	// due, and what is handed over waits for it.
	Queue string
	SQS   SQS

	// Lambda hands executions to the published version that had them; Function
	// and Version are this one's name and version. Default
	// AWS_LAMBDA_FUNCTION_NAME and _VERSION. Without Lambda what is pinned to
	// another version fails, which brings its message to the DLQ.
	Lambda            Lambda
	Function, Version string
	// Unpinned lets executions go on in whichever version finds them, and allows
	// $LATEST: for development.
	Unpinned bool

	// RecursiveLoop says that the function's RecursiveLoop is Allow. Without it
	// Lambda drops a message of a chain of about 16 invocations that woke each
	// other, so that the host leaves long chains to the sweep.
	RecursiveLoop bool
	// SweepPeriod is how often the function gets a tick of the sweep. Default
	// 1 minute.
	SweepPeriod time.Duration

	// Reserve is what is left of an invocation's time when nothing may run any
	// more. Default 2 s, but at most a quarter of the invocation.
	Reserve time.Duration
	// HotWait is the longest wait that stays in memory, and is paid for. Default
	// 1 s; negative is none.
	HotWait time.Duration

	// HTTP makes the handler of HTTP events other than callbacks. None: 404.
	HTTP func(e *durable.Engine) http.Handler

	// Engine are further options of the engine: Observer, Logger, limits. What
	// the host sets itself (Until, Reserve, Host, HotWait, Concurrency) is
	// overwritten. Its Logger is the host's too; default JSON on standard error.
	Engine durable.Options
	// Flush is called at the end of each invocation, before the sandbox may
	// freeze, with a context that ends after half a second: for exporters.
	Flush func(ctx context.Context) error
	// Metrics gets the embedded metrics, a line of JSON each. Default standard
	// output, which Lambda passes on.
	Metrics io.Writer
	// Namespace is that of the metrics. Default clew.
	Namespace string
}

// Host is a handler of Lambda events. It is safe for concurrent use, though
// Lambda hands a sandbox one event at a time.
type Host struct {
	opts Options
	log  *slog.Logger
	life context.Context // ends with SIGTERM
	stop context.CancelFunc
	exit func(code int)
	emit sync.Mutex // one line of metrics at a time

	mu    sync.Mutex
	store durable.Store
}

var _ runtime.Handler = (*Host)(nil)

// New returns a host. The error names the option that is wrong.
func New(opts Options) (*Host, error) {
	switch {
	case opts.Open == nil:
		return nil, errors.New("lambdahost: Options.Open is nil: pass a func that opens the store")
	case len(opts.Definitions) == 0:
		return nil, errors.New("lambdahost: Options.Definitions is empty: there is nothing to run")
	case opts.Queue != "" && opts.SQS == nil:
		return nil, errors.New("lambdahost: Options.Queue is set and Options.SQS is nil: pass sqs.NewFromConfig(cfg)")
	case opts.SweepPeriod < 0 || opts.Reserve < 0:
		return nil, fmt.Errorf("lambdahost: Options.SweepPeriod %v and Reserve %v may not be negative", opts.SweepPeriod, opts.Reserve)
	}
	for _, f := range []struct {
		v        *string
		env, def string
	}{{&opts.Function, "AWS_LAMBDA_FUNCTION_NAME", ""}, {&opts.Version, "AWS_LAMBDA_FUNCTION_VERSION", unpublished}, {&opts.Namespace, "", "clew"}} {
		if *f.v == "" && f.env != "" {
			*f.v = os.Getenv(f.env)
		}
		if *f.v == "" {
			*f.v = f.def
		}
	}
	if opts.SweepPeriod == 0 {
		opts.SweepPeriod = time.Minute
	}
	if opts.Reserve == 0 {
		opts.Reserve = 2 * time.Second
	}
	if opts.HotWait == 0 {
		opts.HotWait = time.Second
	}
	if opts.Metrics == nil {
		opts.Metrics = os.Stdout
	}
	if opts.Engine.Logger == nil {
		opts.Engine.Logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	h := &Host{opts: opts, log: opts.Engine.Logger, exit: os.Exit}
	h.life, h.stop = context.WithCancel(context.Background())
	// Whatever is wrong with the definitions or the engine's options shows now.
	if _, err := h.engine(nil, time.Time{}, 1); err != nil {
		return nil, err
	}
	return h, nil
}

// unpublished is the version of code that may change under an execution.
const unpublished = "$LATEST"

// ErrUnpublished: the function runs as $LATEST, whose code may be another at the
// next wake-up.
var ErrUnpublished = errors.New("lambdahost: this is $LATEST, to which no execution can be pinned: publish a version and invoke it by an alias, or set Options.Unpinned for development")

// Start serves events until the sandbox is shut down. On SIGTERM running steps
// get a moment, and what is left is handed over. It does not return.
func (h *Host) Start() {
	runtime.StartWithOptions(h, runtime.WithEnableSIGTERM(h.stop))
}

// Invoke answers one event. Its error fails the invocation: Lambda repeats an
// asynchronous one twice, and SQS a batch.
func (h *Host) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	out, err := h.invoke(ctx, payload)
	if err != nil {
		h.log.ErrorContext(ctx, "invocation failed", "error", err, "version", h.opts.Version)
	}
	return out, err
}

func (h *Host) invoke(ctx context.Context, payload []byte) ([]byte, error) {
	do, err := decode(payload)
	if err != nil {
		return nil, err
	}
	if h.opts.Version == unpublished && !h.opts.Unpinned {
		return nil, ErrUnpublished
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	store, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	v := h.visit(ctx, store)
	defer v.leave()
	return do(ctx, v)
}

// open opens the store, once it works.
func (h *Host) open(ctx context.Context) (durable.Store, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.store == nil {
		s, err := h.opts.Open(ctx)
		if err != nil {
			return nil, fmt.Errorf("lambdahost: opening the store: %w", err)
		}
		h.store = s
	}
	return h.store, nil
}

// reserve is what an invocation that ends at until keeps back. It is used up from
// front to back: until seven eighths of it code may return, another half of what
// is left is for wake-ups, and the rest for telemetry and the answer.
func (h *Host) reserve(until time.Time) time.Duration {
	if until.IsZero() {
		return h.opts.Reserve
	}
	return max(min(h.opts.Reserve, time.Until(until)/4), 1)
}

// engine returns an engine for one invocation that ends at until.
func (h *Host) engine(store durable.Store, until time.Time, concurrency int) (*durable.Engine, error) {
	opts := h.opts.Engine
	opts.Until, opts.Reserve, opts.HotWait, opts.Concurrency = until, h.reserve(until), h.opts.HotWait, concurrency
	if !h.opts.Unpinned {
		opts.Host = *h.pinned()
	}
	e, err := durable.New(store, opts)
	if err == nil {
		err = e.Register(h.opts.Definitions...)
	}
	if err != nil {
		return nil, fmt.Errorf("lambdahost: %w", err)
	}
	return e, nil
}
