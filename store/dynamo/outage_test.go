package dynamo

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

var outage = flag.Duration("outage", 0, "length of the outages, in TestOutage with the default lease; 5m is the long form")

// fault is what happens to all requests while it lasts: an answer, or none.
type fault struct {
	status        int
	code, message string
	remedy        string // that a person must read
}

// breaker is a line to the service that can be broken.
type breaker struct {
	line  dynamodb.HTTPClient
	fault *atomic.Pointer[fault]
}

func fixed(f *fault) *atomic.Pointer[fault] {
	p := &atomic.Pointer[fault]{}
	p.Store(f)
	return p
}

func (b *breaker) Do(r *http.Request) (*http.Response, error) {
	f := b.fault.Load()
	switch {
	case f == nil:
		return b.line.Do(r)
	case f.status == 0:
		return nil, fmt.Errorf("dial tcp: %s", f.message)
	}
	body := fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, f.code, f.message)
	return &http.Response{StatusCode: f.status, Header: http.Header{}, Request: r, Body: io.NopCloser(bytes.NewReader([]byte(body)))}, nil
}

// fleet is two workers over one breakable line.
type fleet struct {
	*breaker
	table   string
	engines [2]*durable.Engine
}

func newFleet(t *testing.T, def durable.Registrable, opts durable.Options) *fleet {
	t.Helper()
	f := &fleet{breaker: &breaker{line: http.DefaultClient, fault: fixed(nil)}}
	client := dynamolocal.Client(t, func(o *dynamodb.Options) { o.HTTPClient = f.breaker })
	table := newTable(t, client)
	f.table = table.Table
	ctx, stop := context.WithCancel(context.Background())
	defer t.Cleanup(stop) // the last one, which comes first
	for i := range f.engines {
		e, err := durable.New(open(t, client, table), opts)
		if err == nil {
			err = e.Register(def)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.engines[i] = e
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := e.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		t.Cleanup(func() { <-ended })
	}
	return f
}

// patient is a definition of three steps; the second one's body returns when
// it is told to.
func patient(bodies *atomic.Int64, inBody chan<- struct{}, goOn <-chan struct{}) *durable.Definition[string, string] {
	return durable.Define("patient", "1", func(ctx *durable.Context, _ string) (string, error) {
		for _, name := range []string{"first", "second", "third"} {
			_, err := durable.Step(ctx, name, func(context.Context) (string, error) {
				bodies.Add(1)
				if name == "second" {
					inBody <- struct{}{}
					<-goOn
				}
				return text200, nil
			}, durable.WithTimeout(10*time.Minute))
			if err != nil {
				return "", err
			}
		}
		return text200, nil
	})
}

// breaks starts executions, breaks the line while each is in its second step,
// lets the steps end meanwhile, and mends it. Each body must have run once.
func (f *fleet) breaks(t *testing.T, n int, def *durable.Definition[string, string], inBody <-chan struct{}, goOn chan<- struct{}, why *fault, long time.Duration) {
	t.Helper()
	var all []*durable.Execution[string]
	for i := range n {
		x, err := def.Start(t.Context(), f.engines[i%2], fmt.Sprintf("order-%d", i), text200)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	for range all {
		<-inBody
	}
	f.fault.Store(why)
	close(goOn)
	time.Sleep(long)
	if why.remedy != "" {
		err := f.engines[0].Health(time.Minute)
		wantSays(t, err, why.message, why.remedy)
		if action := regexp.MustCompile("table " + f.table + ": (PutItem|UpdateItem|GetItem|Query): "); err == nil || !action.MatchString(err.Error()) {
			t.Errorf("got %v, want it to name table and action", err)
		}
	}
	f.fault.Store(nil)
	for _, x := range all {
		if out, err := x.Wait(t.Context()); out != text200 || err != nil {
			t.Errorf("%s: got %q, %v, want its result", x.ID(), out, err)
		}
	}
	s := open(t, dynamolocal.Client(t), Options{Table: f.table})
	for _, x := range all {
		rec := load(t, s, x.ID())
		for _, e := range rec.Journal {
			if e.Kind == durable.EntryLost || e.Kind == durable.EntryParked {
				t.Errorf("%s: operation %d was lost or parked, and it had a result", x.ID(), e.Op)
			}
		}
	}
}

// TestOutage: a table that cannot be reached for longer than leases hold
// leads to no step in doubt that had a result, because owners go on trying to
// record what they know, and nobody takes over before they had the time. Five
// minutes are ten leases of the default; here the lease is shorter.
func TestOutage(t *testing.T) {
	t.Parallel()
	opts, long, why := durable.Options{Lease: 6 * time.Second}, 8*time.Second, &fault{message: "connection refused"}
	if *outage > 0 {
		opts, long, why.remedy = durable.Options{}, *outage, textUnreached
	}
	const n = 20
	var bodies atomic.Int64
	inBody, goOn := make(chan struct{}, 1000), make(chan struct{})
	def := patient(&bodies, inBody, goOn)
	newFleet(t, def, opts).breaks(t, n, def, inBody, goOn, why, long)
	if got := bodies.Load(); got != 3*n {
		t.Errorf("%d bodies ran, want %d", got, 3*n)
	}
}

// TestCauses: whatever the service refuses with, engines say what a person
// must do, and go on by themselves when the cause has ended. Nothing is lost,
// and nothing parks.
func TestCauses(t *testing.T) {
	for name, why := range map[string]fault{
		"no permission":       {400, "AccessDeniedException", "is not authorized to perform: dynamodb:UpdateItem", textDenied},
		"expired credentials": {400, "ExpiredTokenException", "The security token included in the request is expired", textExpired},
		"wrong region":        {400, "UnrecognizedClientException", "The security token included in the request is invalid", textCredentials},
		"no table":            {400, "ResourceNotFoundException", "Requested resource not found", textNoTable},
		"throttling":          {400, "ThrottlingException", "Rate of requests exceeds the allowed throughput", textThrottled},
		"internal error":      {500, "InternalServerError", "Internal server error", textUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bodies atomic.Int64
			inBody, goOn := make(chan struct{}, 1000), make(chan struct{})
			def := patient(&bodies, inBody, goOn)
			f := newFleet(t, def, durable.Options{StoreTimeout: 500 * time.Millisecond})
			f.breaks(t, 2, def, inBody, goOn, &why, max(2*time.Second, *outage))
			if got := bodies.Load(); got != 6 {
				t.Errorf("%d bodies ran, want 6", got)
			}
		})
	}
}
