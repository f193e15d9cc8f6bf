// Package localserver starts, for tests, the servers that stand in for AWS:
// each is the one that a variable names, or one of the test process's own, on
// a free loopback port. It ends with that process, however that ends.
package localserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const startTimeout = 60 * time.Second

var errMissing = errors.New("is not here")

// Server is one that can be started. It is started at most once.
type Server struct {
	Name     string
	Variable string // names a running one to use instead
	Required string // a variable that makes tests fail, not skip, without one
	File     string // below .tools of the module's root; its directory is the server's
	Program  string // that runs it
	// Args are the program's for a port.
	Args   func(port string) []string
	Remedy string // how to get it
	// Answers says whether it is ready.
	Answers func(endpoint string) bool

	once     sync.Once
	endpoint string
	err      error
	input    io.WriteCloser // never closed, and kept from the garbage collector
}

// Endpoint returns the server's URL. Without one it skips the test and says
// how to get it, or fails it where servers are required.
func (s *Server) Endpoint(tb testing.TB) string {
	tb.Helper()
	s.once.Do(func() { s.endpoint, s.err = s.open() })
	switch {
	case errors.Is(s.err, errMissing) && os.Getenv(s.Required) == "":
		tb.Skip(s.err)
	case s.err != nil:
		tb.Fatal(s.err)
	}
	return s.endpoint
}

func (s *Server) open() (string, error) {
	if endpoint := os.Getenv(s.Variable); endpoint != "" {
		return endpoint, nil
	}
	dir, err := s.find()
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	return s.start(dir, strconv.Itoa(port))
}

func (s *Server) missing(why string) error {
	return fmt.Errorf("%s %w (%s): %s, or set %s", s.Name, errMissing, why, s.Remedy, s.Variable)
}

// find looks for the server in .tools of the module's root, or of that of the
// module that it is nested in.
func (s *Server) find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	file, why := "", "there is no module here"
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			file = filepath.Join(dir, ".tools", filepath.FromSlash(s.File))
			if _, err := os.Stat(file); err == nil {
				break
			}
			why = "there is no " + file
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", s.missing(why)
		}
		dir = up
	}
	if _, err := exec.LookPath(s.Program); err != nil {
		return "", s.missing("there is no " + s.Program + " in the path")
	}
	return filepath.Dir(file), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// script runs the server until its own input ends, which it does with the
// process at the other end, killed or not.
const script = `"$@" & cat >/dev/null; kill -9 $!; wait`

func (s *Server) start(dir, port string) (string, error) {
	cmd := exec.Command("sh", slices.Concat([]string{"-c", script, "sh", s.Program}, s.Args(port))...)
	cmd.Dir = dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	var err error
	if s.input, err = cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	endpoint := "http://127.0.0.1:" + port
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s.Answers(endpoint) {
			return endpoint, nil
		}
	}
	_ = s.input.Close() // ends the server
	_ = cmd.Wait()      // and what it said is complete
	return "", fmt.Errorf("%s did not answer within %v:\n%s", s.Name, startTimeout, output.String())
}
