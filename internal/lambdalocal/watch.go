package lambdalocal

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// watch puts a proxy of this sandbox's own before each server that its
// function has Watched, and returns the variables that name the proxies.
func (s *sandbox) watch() (map[string]string, error) {
	env := map[string]string{}
	for name, backend := range s.fn.Watched {
		to, err := url.Parse(backend)
		if err != nil {
			return nil, fmt.Errorf("lambdalocal: watch %s: %w", name, err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		pass := &httputil.ReverseProxy{
			Transport: s.fn.lambda.transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				r.Out.Host = r.In.Host // signatures cover it
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := s.judge(r); err != nil {
				s.fn.stats.add(func(n *Stats) { n.StaleRequests++ })
				s.logf("stale request: %s %s %s: %v", r.Method, r.URL.Path, r.Header.Get("X-Amz-Target"), err)
			}
			pass.ServeHTTP(w, r)
		})}
		s.watchers = append(s.watchers, server)
		s.fn.lambda.work.Go(func() { _ = server.Serve(listener) }) // ends with the sandbox
		env[name] = "http://" + listener.Addr().String()
	}
	return env, nil
}

// judge says what is wrong with a request that comes from the sandbox now. The
// SDK puts the trace of the invocation into a request when it makes it, and
// sends it along with every attempt.
func (s *sandbox) judge(r *http.Request) error {
	header := r.Header.Get(traceHeader)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch inv := s.current; {
	case !s.initialised:
		return nil
	case inv == nil:
		return errors.New("no invocation runs")
	case inv.answered:
		return errors.New("its invocation has been answered")
	case header != "" && parseTrace(header).parent != parseTrace(inv.header).parent:
		return errors.New("it was made in an invocation before this one")
	}
	return nil
}
