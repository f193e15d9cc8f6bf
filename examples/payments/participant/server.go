package participant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Headers of a call.
const (
	headerKey     = "Idempotency-Key"
	headerAttempt = "Attempt"
)

// Ends of a request's time. Whoever is killed at the end of it, as a function
// is, answers before.
const (
	answerReserve = 500 * time.Millisecond // to say that a call was not done
	workReserve   = 2 * time.Second        // to do a delayed call
)

// maxKey is the longest key, in bytes. Keys are part of the primary key of a
// DynamoDB table, which has room for twice as much.
const maxKey = 1024

// clerk does the calls of one participant.
type clerk interface {
	// do does a call by the rules and returns when what it did is committed, or
	// was given up because ctx ended.
	do(ctx context.Context, c *call) answer
}

// server answers calls at /ROLE/CALL, such as /gateway/authorize.
type server struct {
	clerks map[Role]clerk
	// keepsConnections says that connections are not this process's to drop.
	keepsConnections bool
	// hurry is closed when delayed calls may wait no longer.
	hurry chan struct{}

	mu      sync.Mutex
	closing bool
	inHand  sync.WaitGroup // calls that were received and not yet done
}

func newServer(clerks map[Role]clerk) *server {
	return &server{clerks: clerks, hurry: make(chan struct{})}
}

// ServeHTTP does one call. A call that was received is done, whether or not the
// caller still listens; only the end of the time that the process has ends it.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		drop(w)
		return
	}
	defer s.inHand.Done()
	name, kind, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	role := Role(name)
	clerk, known := s.clerks[role]
	if !known {
		send(w, answered(http.StatusNotFound, outcomeMalformed, reply{Code: outcomeMalformed,
			Message: "no participant listens here: calls are POST to paths like /gateway/authorize"}))
		return
	}
	c, err := read(r, role, kind)
	if err != nil {
		s.refuseBroken(w, err)
		return
	}
	ctx, cancel := ownTime(r.Context())
	defer cancel()
	a := clerk.do(ctx, c)
	if a.hold > 0 {
		s.wait(ctx, a.hold)
		a = clerk.do(ctx, c)
	}
	if c.fault == lostReply {
		drop(w)
		return
	}
	send(w, a)
}

// refuseBroken ends a request that did not come through whole.
func (s *server) refuseBroken(w http.ResponseWriter, err error) {
	if !s.keepsConnections {
		drop(w)
		return
	}
	send(w, answered(http.StatusBadRequest, outcomeMalformed, reply{Code: outcomeMalformed, Message: err.Error()}))
}

func send(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(a.body) // an error here is the caller's to notice
}

// ownTime is a context that does not end when the caller goes away, but a while
// before ctx has its deadline.
func ownTime(ctx context.Context) (context.Context, context.CancelFunc) {
	own := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(own, deadline.Add(-answerReserve))
	}
	return own, func() {}
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

// wait waits for d, or less where the time that is left asks for it.
func (s *server) wait(ctx context.Context, d time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline)-workReserve)
	}
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
func read(r *http.Request, role Role, kind string) (*call, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	c := &call{key: r.Header.Get(headerKey), kind: kind, at: time.Now()}
	if err := cmp.Or(c.checkKey(), c.parse(r, role, body)); err != nil {
		c.bad = err.Error()
	}
	return c, nil
}

// checkKey refuses a key that books cannot hold, and logs such a call without
// one.
func (c *call) checkKey() error {
	key := c.key
	c.key = ""
	switch {
	case key == "":
		return errors.New("the call has no " + headerKey)
	case len(key) > maxKey:
		return fmt.Errorf("the %s is longer than %d bytes", headerKey, maxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("the %s is not UTF-8", headerKey)
	}
	c.key = key
	return nil
}

func (c *call) parse(r *http.Request, role Role, body []byte) error {
	var known bool
	c.service, known = services[c.kind]
	if !known || c.service.role != role {
		return errors.New("this participant has no such call")
	}
	if r.Method != http.MethodPost {
		return errors.New("calls are POST")
	}
	// The attempt is only for the reader of the log.
	c.attempt, _ = strconv.Atoi(r.Header.Get(headerAttempt))
	if err := json.Unmarshal(body, &c.input); err != nil {
		return err
	}
	if len(c.input.ForwardKey) > maxKey {
		return fmt.Errorf("the forward key is longer than %d bytes", maxKey)
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
