package participant

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Headers of a call.
const (
	headerKey     = "Idempotency-Key"
	headerAttempt = "Attempt"
)

// server answers the calls of one participant.
type server struct {
	writer *writer
	role   Role
	// hurry is closed when delayed calls may wait no longer.
	hurry chan struct{}

	mu      sync.Mutex
	closing bool
	inHand  sync.WaitGroup // calls that were received and not yet done
}

func newServer(w *writer, role Role) *server {
	return &server{writer: w, role: role, hurry: make(chan struct{})}
}

// ServeHTTP does one call. It never looks at the request's context: a call that
// was received is done, whether or not the caller still listens.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		drop(w)
		return
	}
	defer s.inHand.Done()
	c, err := s.read(r)
	if err != nil {
		drop(w) // the request did not come through whole
		return
	}
	a := s.writer.do(c)
	if a.hold > 0 {
		s.wait(a.hold)
		a = s.writer.do(c)
	}
	if c.fault == lostReply {
		drop(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(a.body) // an error here is the caller's to notice
}

// enter counts a call in, unless the server is closing: then the call might
// come too late to be waited for.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.inHand.Add(1)
	return true
}

func (s *server) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.hurry:
	}
}

// drain refuses new calls and waits for those in hand. Delayed ones that have
// more than limit to go are done then, early rather than never. It reports
// whether all were done.
func (s *server) drain(limit time.Duration) bool {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.inHand.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
	}
	close(s.hurry)
	select {
	case <-done:
		return true
	case <-time.After(drainGrace):
		return false
	}
}

// read takes a call off the wire. What is wrong with its content becomes part
// of it, to be logged and answered; an error means that there is no call.
func (s *server) read(r *http.Request) (*call, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	c := &call{
		key:  r.Header.Get(headerKey),
		kind: strings.TrimPrefix(r.URL.Path, "/"),
		at:   time.Now(),
	}
	if err := s.parse(c, r, body); err != nil {
		c.bad = err.Error()
	}
	return c, nil
}

func (s *server) parse(c *call, r *http.Request, body []byte) error {
	var known bool
	c.service, known = services[c.kind]
	if !known || c.service.role != s.role {
		return errors.New("this participant has no such call")
	}
	if r.Method != http.MethodPost {
		return errors.New("calls are POST")
	}
	if c.key == "" {
		return errors.New("the call has no " + headerKey)
	}
	// The attempt is only for the reader of the log.
	c.attempt, _ = strconv.Atoi(r.Header.Get(headerAttempt))
	if err := json.Unmarshal(body, &c.input); err != nil {
		return err
	}
	if c.service.valid != nil && !c.service.valid(&c.input) {
		return errors.New("the input is incomplete")
	}
	return nil
}

// drop closes the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the other way to the same end
	}
	conn.Close()
}
