package lambdalocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Options are those of a Lambda. The zero value works.
type Options struct {
	// SQS is the URL of an SQS server, for mappings and for functions. It has
	// to keep the trace header of a request with its messages, as SQS does:
	// hops are counted by that. "" means that there is none.
	SQS string
	// Region and Account are in ARNs: us-east-1 and 123456789012 if they are
	// "".
	Region, Account string
	// Seed decides what chaos does and when.
	Seed uint64
	// RetryDelays are before the second and third attempt of asynchronous
	// invocations: 100 ms and 200 ms if they are 0.
	RetryDelays [2]time.Duration
}

// Lambda runs functions. It is safe for concurrent use.
type Lambda struct {
	opts      Options
	dir       string // logs
	dice      *dice
	sqs       *sqs.Client
	transport *http.Transport // of proxies
	api       *endpoint
	ctx       context.Context // ends with Close
	stop      context.CancelFunc
	work      sync.WaitGroup // everything that goes on
	serving   sync.WaitGroup
	starts    chan func() // run by the thread that starts processes

	mu        sync.Mutex
	functions map[string]*function // name:version
	aliases   map[string]string    // name:alias → name:version
	endpoints []*endpoint
	problems  []string
	closed    bool
}

// Start returns a Lambda that is closed when the test ends. If the test has
// failed, the end of what the sandboxes wrote is logged.
func Start(tb testing.TB, opts Options) *Lambda {
	tb.Helper()
	l, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(l.digest())
		}
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// New returns a Lambda. Its Close ends everything that it started.
func New(opts Options) (*Lambda, error) {
	opts.Region = orElse(opts.Region, "us-east-1")
	opts.Account = orElse(opts.Account, "123456789012")
	opts.RetryDelays[0] = orElse(opts.RetryDelays[0], 100*time.Millisecond)
	opts.RetryDelays[1] = orElse(opts.RetryDelays[1], 200*time.Millisecond)
	dir, err := os.MkdirTemp("", "lambdalocal-")
	if err != nil {
		return nil, err
	}
	l := &Lambda{opts: opts, dir: dir, dice: newDice(opts.Seed),
		transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}, starts: make(chan func()),
		functions: map[string]*function{}, aliases: map[string]string{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	go l.starter()
	if opts.SQS != "" {
		l.sqs = newSQS(opts)
	}
	if l.api, err = l.listen(http.HandlerFunc(l.serveAPI)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// starter starts processes. They end with the thread that started them, so it
// is one that does nothing else and ends last.
func (l *Lambda) starter() {
	runtime.LockOSThread()
	for start := range l.starts {
		start()
	}
}

func (l *Lambda) spawn(cmd *exec.Cmd) error {
	done := make(chan error)
	l.starts <- func() { done <- cmd.Start() }
	return <-done
}

// endpoint is an HTTP server on a loopback port.
type endpoint struct {
	url    string
	server *http.Server
}

func (l *Lambda) listen(h http.Handler) (*endpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &endpoint{url: "http://" + listener.Addr().String(), server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}
	l.mu.Lock()
	l.endpoints = append(l.endpoints, e)
	l.mu.Unlock()
	l.serving.Go(func() { _ = e.server.Serve(listener) }) // ends with Close
	return e, nil
}

// URL is where the Lambda API listens, for AWS_ENDPOINT_URL_LAMBDA.
func (l *Lambda) URL() string { return l.api.url }

// SQSURL is the SQS server, which functions are given as AWS_ENDPOINT_URL_SQS;
// "" if there is none.
func (l *Lambda) SQSURL() string { return l.opts.SQS }

// Create creates one version of a function. Nothing is started yet.
func (l *Lambda) Create(f Function) error {
	if err := f.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := f.Name + ":" + f.Version
	if l.functions[key] != nil {
		return fmt.Errorf("lambdalocal: there is a function %s already: choose another version", key)
	}
	fn, err := newFunction(l, f)
	if err != nil {
		return err
	}
	l.functions[key] = fn
	return nil
}

// Alias lets an alias of a function stand for a version, which may be changed
// at any time.
func (l *Lambda) Alias(name, alias, version string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.functions[name+":"+version] == nil {
		return fmt.Errorf("%w: %s:%s", ErrNotFound, name, version)
	}
	l.aliases[name+":"+alias] = name + ":" + version
	return nil
}

// ARN is that of a function as it is invoked: "pay", "pay:7" or "pay:live".
func (l *Lambda) ARN(function string) string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", l.opts.Region, l.opts.Account, function)
}

// find takes a name, a name with a version or an alias, or an ARN.
func (l *Lambda) find(ref string) (*function, string, error) {
	name := strings.TrimPrefix(ref, l.ARN(""))
	l.mu.Lock()
	defer l.mu.Unlock()
	key := name
	if !strings.Contains(name, ":") {
		key += ":" + Latest
	}
	if version, ok := l.aliases[key]; ok {
		key = version
	}
	fn := l.functions[key]
	if fn == nil {
		return nil, "", fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	return fn, l.ARN(name), nil
}

// Stats returns the counts of one version of a function.
func (l *Lambda) Stats(function string) Stats {
	fn, _, err := l.find(function)
	if err != nil {
		return Stats{}
	}
	fn.stats.mu.Lock()
	defer fn.stats.mu.Unlock()
	return fn.stats.n
}

// Records returns the deliveries of one version of a function so far, in the
// order in which they ended.
func (l *Lambda) Records(function string) []Record {
	fn, _, err := l.find(function)
	if err != nil {
		return nil
	}
	fn.stats.mu.Lock()
	defer fn.stats.mu.Unlock()
	return append([]Record(nil), fn.stats.records...)
}

// enter begins something that Close waits for, until leave is called.
func (l *Lambda) enter() (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	l.work.Add(1)
	return l.work.Done, nil
}

// begin does something that Close waits for.
func (l *Lambda) begin(do func()) error {
	leave, err := l.enter()
	if err != nil {
		return err
	}
	go func() {
		defer leave()
		do()
	}()
	return nil
}

// sleep waits, and says whether the Lambda is still open then.
func (l *Lambda) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.ctx.Done():
		return false
	}
}

// problem notes what the emulator itself could not do; Close returns it.
func (l *Lambda) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// Close ends all sandboxes, pollers, schedules and servers, and returns when
// nothing is left of them. What waits in memory is dropped. It returns what
// the emulator itself could not do.
func (l *Lambda) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	endpoints, functions := l.endpoints, l.functions
	l.mu.Unlock()
	l.stop()
	var all sync.WaitGroup
	for _, fn := range functions {
		all.Go(fn.close)
	}
	all.Wait()
	for _, e := range endpoints {
		_ = e.server.Close()
	}
	l.work.Wait()
	l.serving.Wait()
	l.transport.CloseIdleConnections()
	close(l.starts)
	err := os.RemoveAll(l.dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.problems {
		err = errors.Join(err, errors.New("lambdalocal: "+p))
	}
	return err
}
