package lambdalocal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// shutdownTime is what a sandbox has between SIGTERM and SIGKILL: Lambda's
// value for one with internal extensions.
const shutdownTime = 500 * time.Millisecond

// sandbox is a process of the binary and the Runtime API that it speaks to.
type sandbox struct {
	fn       *function
	id       string
	address  string // of its Runtime API
	api      *http.Server
	watchers []*http.Server // proxies before watched servers
	cmd      *exec.Cmd
	log      string // file of its standard output and error
	started  time.Time

	deliver chan *invocation
	ready   chan struct{} // closed at the first request for an invocation
	exited  chan struct{} // closed when the process has ended and is out of the pool

	mu          sync.Mutex
	current     *invocation
	initialised bool
	readyAt     time.Time
	extension   bool
	initFailure *reply
	reaped      bool
	timedOut    bool
	state       *os.ProcessState // set before exited is closed
}

// start starts the process.
func (s *sandbox) start() error {
	s.log = filepath.Join(s.fn.logs, s.id+".log")
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has it
	if err := s.serveRuntime(); err != nil {
		return err
	}
	watched, err := s.watch()
	if err != nil {
		s.hangUp()
		return err
	}
	s.cmd = exec.Command(s.fn.Bootstrap, s.fn.Args...)
	s.cmd.Dir = filepath.Dir(s.fn.Bootstrap)
	s.cmd.Env = s.fn.environment(s.fn.lambda, s, watched)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = attributes()
	s.started = time.Now()
	if err := s.fn.lambda.spawn(s.cmd); err != nil {
		s.hangUp()
		return fmt.Errorf("lambdalocal: start %s: %w", s.fn.Bootstrap, err)
	}
	s.fn.stats.add(func(n *Stats) { n.ColdStarts++ })
	s.fn.lambda.work.Go(s.await)
	return nil
}

// await waits for the end of the process.
func (s *sandbox) await() {
	_ = s.cmd.Wait() // its state says more
	s.mu.Lock()
	s.reaped, s.state = true, s.cmd.ProcessState
	s.mu.Unlock()
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	s.fn.remove(s)
	close(s.exited)
	s.hangUp()
}

// hangUp closes what the process speaks to.
func (s *sandbox) hangUp() {
	_ = s.api.Close()
	for _, w := range s.watchers {
		_ = w.Close()
	}
}

// send sends a signal to the whole group. mu is held.
func (s *sandbox) send(sig syscall.Signal) bool {
	return !s.reaped && syscall.Kill(-s.cmd.Process.Pid, sig) == nil
}

func (s *sandbox) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(syscall.SIGKILL)
}

// freeze stops the sandbox, which has no invocation.
func (s *sandbox) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.send(syscall.SIGSTOP) {
		s.fn.stats.add(func(n *Stats) { n.Freezes++ })
	}
}

// awaitReady waits until the runtime asks for its first invocation.
func (s *sandbox) awaitReady(within time.Duration) *reply {
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-s.ready:
		return nil
	case <-s.exited:
	case <-limit.C:
		s.kill()
		<-s.exited
		rep := failed("-", TypeTimeout, "the init phase timed out after %.2f seconds", within.Seconds())
		return &rep
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initFailure != nil {
		return s.initFailure
	}
	rep := s.exitReply("-")
	return &rep
}

// exitReply says how the process has ended. mu is held.
func (s *sandbox) exitReply(id string) reply {
	if s.state.Success() {
		return failed(id, TypeExit, "Runtime exited without providing a reason")
	}
	return failed(id, TypeExit, "Runtime exited with error: %s", s.state)
}

// errGone means that the sandbox ended before it got the invocation.
var errGone = errors.New("the sandbox has ended")

// serve delivers an invocation and waits for its answer, its deadline, or the
// end of the process.
func (s *sandbox) serve(inv *invocation, timeout time.Duration) (reply, error) {
	inv.delivered = time.Now()
	inv.deadline = inv.delivered.Add(timeout)
	s.mu.Lock()
	s.current = inv
	thawed := s.send(syscall.SIGCONT)
	s.mu.Unlock()
	if !thawed {
		return reply{}, errGone
	}
	limit := time.NewTimer(time.Until(inv.deadline))
	defer limit.Stop()
	s.logf("START RequestId: %s Version: %s", inv.id, s.fn.Version)
	select {
	case s.deliver <- inv:
	case <-s.exited:
		return reply{}, errGone
	case <-limit.C:
		return s.cut(inv, timeout), nil // it asked, and is not there to take it
	}
	s.fn.stats.add(func(n *Stats) { n.Invocations++ })
	s.disturb(inv)
	select {
	case rep := <-inv.answer:
		return rep, nil
	case <-inv.over:
	case <-s.exited:
	case <-limit.C:
	}
	select {
	case rep := <-inv.answer: // it came first, or at the same time
		return rep, nil
	default:
	}
	select {
	case <-inv.over:
		return failed(inv.id, TypeNoAnswer, "the runtime asked for the next invocation without an answer to this one"), nil
	default:
	}
	return s.cut(inv, timeout), nil
}

// cut ends an invocation that has not answered: its process has ended, or has
// to.
func (s *sandbox) cut(inv *invocation, timeout time.Duration) reply {
	s.mu.Lock()
	if inv.answered {
		s.mu.Unlock()
		return <-inv.answer
	}
	inv.answered = true // too late for another
	if s.reaped {
		defer s.mu.Unlock()
		return s.exitReply(inv.id)
	}
	s.timedOut = true // it is killed as it settles
	s.mu.Unlock()
	return timedOut(inv, timeout)
}

func timedOut(inv *invocation, timeout time.Duration) reply {
	return failed(inv.id, TypeTimeout, "Task timed out after %.2f seconds", timeout.Seconds())
}

// settle waits until the invocation is over: the runtime has asked for the
// next one, or has ended. The deadline still holds.
func (s *sandbox) settle(inv *invocation) (alive bool) {
	limit := time.NewTimer(time.Until(inv.deadline))
	defer limit.Stop()
	select {
	case <-inv.over:
		return true
	case <-s.exited:
		return false
	case <-limit.C:
	}
	s.mu.Lock()
	over := s.current != inv
	first := !over && !s.timedOut
	s.mu.Unlock()
	if over {
		return true
	}
	if first { // it has answered, and gone on
		s.fn.stats.add(func(n *Stats) { n.Timeouts++ })
		s.logf("%s Task timed out: it has answered, and did not ask for the next invocation before its deadline", inv.id)
	}
	s.kill()
	<-s.exited
	return false
}

// end shuts the sandbox down: SIGTERM, and SIGKILL half a second later, if it
// has registered an extension; SIGKILL at once otherwise, as Lambda does.
func (s *sandbox) end(ctx context.Context) {
	s.mu.Lock()
	polite := s.extension && s.send(syscall.SIGTERM)
	s.send(syscall.SIGCONT) // a process that stands still handles no signal
	s.mu.Unlock()
	if polite {
		select {
		case <-s.exited:
			return
		case <-time.After(shutdownTime):
		case <-ctx.Done():
		}
	}
	s.kill()
	<-s.exited
}
