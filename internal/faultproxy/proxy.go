// Package faultproxy stands between a client of DynamoDB and the server, and
// does to requests what networks and busy services do: it loses answers,
// never sends requests, sends them late or twice, throttles, fails, and resets
// connections. What it does it counts.
package faultproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is what happens to a request.
type Fault string

// The faults. A request that is delayed or repeated arrives whole.
const (
	None       Fault = "none"
	LostAnswer Fault = "lost-answer" // it takes effect, and the connection ends without an answer
	Unsent     Fault = "unsent"      // the connection ends before it takes effect
	Repeated   Fault = "repeated"    // it takes effect, is answered, and arrives again, late
	Stalled    Fault = "stalled"     // it arrives late; the client may have given up by then
	Throttled  Fault = "throttled"   // the service asks to slow down
	Failed     Fault = "failed"      // an internal error, of which nobody knows whether it took effect
	Reset      Fault = "reset"       // the connection is reset while the answer is on its way
)

// Plan says how often each fault happens, as a share of requests, and how
// late is late.
type Plan struct {
	Rates map[Fault]float64
	// Late bounds the delay of what is stalled or repeated.
	Late [2]time.Duration
	// Target, if it is set, is asked first for each request: the fault that
	// it returns happens, unless it is "".
	Target func(action string, body []byte) Fault
}

// Proxy is a running proxy.
type Proxy struct {
	plan    Plan
	backend string
	server  *http.Server
	client  *http.Client
	url     string
	late    sync.WaitGroup

	mu     sync.Mutex
	counts map[Fault]int
}

// Start starts a proxy on a free loopback port in front of a server's URL.
func Start(backend string, plan Plan) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		plan: plan, backend: strings.TrimSuffix(backend, "/"), url: "http://" + l.Addr().String(), counts: map[Fault]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return p, nil
}

// URL is where the proxy listens.
func (p *Proxy) URL() string { return p.url }

// Counts returns how often each fault has happened.
func (p *Proxy) Counts() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := map[Fault]int{}
	for f, n := range p.counts {
		counts[f] = n
	}
	return counts
}

// Close stops taking requests, and returns when all that were late have
// arrived.
func (p *Proxy) Close() error {
	err := p.server.Close()
	p.late.Wait()
	p.client.CloseIdleConnections()
	return err
}

// pick chooses what happens to a request.
func (p *Proxy) pick(action string, body []byte) (f Fault) {
	if p.plan.Target != nil {
		f = p.plan.Target(action, body)
	}
	if f == "" {
		f = None
		n := rand.Float64()
		for _, fault := range []Fault{LostAnswer, Unsent, Repeated, Stalled, Throttled, Failed, Reset} {
			if n -= p.plan.Rates[fault]; n < 0 {
				f = fault
				break
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[f]++
	return f
}

func (p *Proxy) lateness() time.Duration {
	return p.plan.Late[0] + rand.N(p.plan.Late[1]-p.plan.Late[0]+1)
}

// ServeHTTP passes a request on, or does not.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f := p.pick(action, body)
	switch f {
	case Unsent:
		hangUp(w, false)
		return
	case Throttled:
		refuse(w, http.StatusBadRequest, throttles[rand.N(len(throttles))])
		return
	case Failed:
		if rand.N(2) == 0 {
			_, _ = p.forward(r, body) // its answer is not told
		}
		refuse(w, http.StatusInternalServerError, "InternalServerError")
		return
	case Stalled:
		p.late.Add(1)
		defer p.late.Done()
		time.Sleep(p.lateness())
	case Repeated:
		again := r.Clone(context.WithoutCancel(r.Context()))
		p.late.Go(func() {
			time.Sleep(p.lateness())
			_, _ = p.forward(again, body) // nobody waits for it
		})
	}
	answer, err := p.forward(r, body)
	switch {
	case err != nil:
		hangUp(w, false)
	case f == LostAnswer:
		hangUp(w, false)
	case f == Reset:
		hangUp(w, true)
	default:
		answer.copyTo(w)
	}
}

var throttles = []string{"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) copyTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may have gone
}

// forward sends a request to the server, whatever its client does meanwhile.
func (p *Proxy) forward(r *http.Request, body []byte) (*answer, error) {
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.backend+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	resp, err := p.client.Do(out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	return a, err
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter, reset bool) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // the peer sees a reset
	}
	_ = c.Close()
}

// refuse answers as the service does.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"injected"}`, code) // the client may have gone
}
