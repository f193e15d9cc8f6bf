package lambdalocal

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RecursiveLoop is what happens to a chain of invocations that reaches one
// function over and over.
type RecursiveLoop string

const (
	// Terminate stops the chain before its 17th invocation. It is what a
	// function has that says nothing, as on Lambda.
	Terminate RecursiveLoop = "Terminate"
	// Allow lets it go on.
	Allow RecursiveLoop = "Allow"
)

// Latest is the version of a function that was not published.
const Latest = "$LATEST"

// Function is one version of a function.
type Function struct {
	Name string
	// Version is a number, or "", which is $LATEST.
	Version string
	// Bootstrap is the path of the binary, and Args its arguments.
	Bootstrap string
	Args      []string
	// Env is added to what Lambda sets, and wins over it.
	Env map[string]string
	// Watched are variables with URLs of servers, such as
	// AWS_ENDPOINT_URL_DYNAMODB. Each sandbox gets a proxy of its own in their
	// place, which counts requests that come when no invocation runs or its
	// answer has been sent, and those of the SDK that were made in another
	// invocation, as StaleRequests.
	Watched map[string]string
	// Timeout bounds an invocation: 3 s if it is 0.
	Timeout time.Duration
	// InitTimeout bounds a sandbox's start: 10 s if it is 0. A sandbox that
	// has not asked for its first invocation by then, or has exited, is
	// started once more, within the invocation's own time.
	InitTimeout time.Duration
	// MemoryMB is told to the process, and not enforced: 128 if it is 0.
	MemoryMB int
	// Concurrency is how many sandboxes there may be: 8 if it is 0.
	Concurrency int
	// RecursiveLoop is Terminate if it is "".
	RecursiveLoop RecursiveLoop
	// Retries is how often a failed asynchronous invocation is tried again: 2
	// if it is 0, never if it is negative. A throttled one is tried again
	// until MaxEventAge has passed, which is 6 h if it is 0.
	Retries     int
	MaxEventAge time.Duration
	// DeadLetterQueue is the URL of a queue for asynchronous events that
	// failed for good; OnFailure is called with them. Without either they
	// are dropped.
	DeadLetterQueue string
	OnFailure       func(Failure)
	// Chaos is done to the invocations of this function.
	Chaos Chaos
}

// check fills in defaults.
func (f *Function) check() error {
	if f.Name == "" || strings.ContainsAny(f.Name, ":/ ") {
		return fmt.Errorf("lambdalocal: %q is no name of a function", f.Name)
	}
	if f.Version == "" {
		f.Version = Latest
	}
	if _, err := strconv.Atoi(f.Version); err != nil && f.Version != Latest {
		return fmt.Errorf("lambdalocal: function %s: version %q is neither a number nor %s", f.Name, f.Version, Latest)
	}
	path, err := filepath.Abs(f.Bootstrap)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("lambdalocal: function %s: bootstrap %s is no program: build it first", f.Name, path)
	}
	f.Bootstrap = path
	if f.RecursiveLoop == "" {
		f.RecursiveLoop = Terminate
	}
	f.Timeout = orElse(f.Timeout, 3*time.Second)
	f.InitTimeout = orElse(f.InitTimeout, 10*time.Second)
	f.MemoryMB = orElse(f.MemoryMB, 128)
	f.Concurrency = orElse(f.Concurrency, 8)
	f.MaxEventAge = orElse(f.MaxEventAge, 6*time.Hour)
	f.Retries = max(orElse(f.Retries, 2), 0)
	return f.Chaos.check()
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// environment is what a sandbox's process has: what Lambda sets, and then the
// function's own.
func (f *Function) environment(l *Lambda, s *sandbox, watched map[string]string) []string {
	env := map[string]string{
		"AWS_LAMBDA_RUNTIME_API":          s.address,
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     f.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      s.id,
		"AWS_EXECUTION_ENV":               "AWS_Lambda_provided.al2023",
		"AWS_REGION":                      l.opts.Region,
		"AWS_DEFAULT_REGION":              l.opts.Region,
		"AWS_ACCESS_KEY_ID":               "local",
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_SESSION_TOKEN":               "local",
		"AWS_ENDPOINT_URL_LAMBDA":         l.URL(),
		"_HANDLER":                        "bootstrap",
		"LAMBDA_TASK_ROOT":                filepath.Dir(f.Bootstrap),
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
		"PATH":                            os.Getenv("PATH"),
		"LANG":                            "en_US.UTF-8",
		"TZ":                              ":UTC",
	}
	if url := l.SQSURL(); url != "" {
		env["AWS_ENDPOINT_URL_SQS"] = url
	}
	maps.Copy(env, f.Env)
	maps.Copy(env, watched)
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}
