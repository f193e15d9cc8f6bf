package lambdalocal

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

const (
	runtimeVersion   = "/2018-06-01/runtime/"
	extensionVersion = "/2020-01-01/extension/"
	maxResponse      = 6 << 20 // bytes
)

// serveRuntime listens for one sandbox. What it serves is documented at
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
func (s *sandbox) serveRuntime() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.address = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimeVersion+"invocation/next", s.next)
	mux.HandleFunc("POST "+runtimeVersion+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, false) })
	mux.HandleFunc("POST "+runtimeVersion+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, true) })
	mux.HandleFunc("POST "+runtimeVersion+"init/error", s.initError)
	mux.HandleFunc("POST "+extensionVersion+"register", s.register)
	mux.HandleFunc("GET "+extensionVersion+"event/next", func(_ http.ResponseWriter, r *http.Request) {
		select { // nobody registers for events, so none ever comes
		case <-r.Context().Done():
		case <-s.exited:
		}
	})
	s.api = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.fn.lambda.work.Go(func() { _ = s.api.Serve(l) }) // ends with the sandbox
	return nil
}

// next ends the invocation before, and answers when there is another one. The
// sandbox is frozen while it waits.
func (s *sandbox) next(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if inv := s.current; inv != nil {
		s.current = nil
		close(inv.over)
	}
	if !s.initialised {
		s.initialised, s.readyAt = true, time.Now()
		close(s.ready)
	}
	s.mu.Unlock()
	var inv *invocation
	select {
	case inv = <-s.deliver:
	case <-s.exited:
		return
	case <-r.Context().Done():
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.arn)
	h.Set("Lambda-Runtime-Trace-Id", inv.header)
	if inv.clientContext != "" {
		h.Set("Lambda-Runtime-Client-Context", inv.clientContext)
	}
	_, _ = w.Write(inv.payload) // if it does not arrive, the process has ended
}

// answer takes a response or an error for the invocation that runs.
func (s *sandbox) answer(w http.ResponseWriter, r *http.Request, failure bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	if err != nil {
		return // the process ended while it wrote
	}
	rep := reply{payload: body, failed: failure}
	id := r.PathValue("id")
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" {
		rep = failed(id, kind, "the response broke off")
	}
	tooLarge := len(body) > maxResponse
	if tooLarge {
		rep = failed(id, typeTruncated, "the response is larger than %d bytes", maxResponse)
	}
	s.mu.Lock()
	inv := s.current
	current := inv != nil && inv.id == id && !inv.answered
	if current {
		inv.answered = true
		inv.answer <- rep
	}
	s.mu.Unlock()
	switch {
	case !current:
		s.fn.stats.add(func(n *Stats) { n.StaleAnswers++ })
		s.logf("refused an answer for %s, which is not the invocation that runs", id)
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
	case tooLarge:
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Exceeded maximum allowed payload size")
	default:
		accept(w)
	}
}

// initError is how a runtime says that it can't start.
func (s *sandbox) initError(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.initFailure = &reply{payload: body, failed: true}
	s.mu.Unlock()
	accept(w)
}

// register notes an extension: only a sandbox that has one gets SIGTERM.
func (s *sandbox) register(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	s.extension = true
	s.mu.Unlock()
	w.Header().Set("Lambda-Extension-Identifier", uuid.NewString())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{ // the process may have ended
		"functionName": s.fn.Name, "functionVersion": s.fn.Version, "handler": "bootstrap"})
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`) // the process may have ended
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(&FunctionError{Type: kind, Message: message}) // the process may have ended
}
