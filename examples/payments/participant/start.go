package participant

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Config says what participants to start. Path must be set; all else may be
// zero.
type Config struct {
	// Path is the saga database. The participants' files lie beside it.
	Path string
	// FaultRate is the share of calls, 0 to 1, that meet a fault: a 503, a lost
	// reply or a delay, each as likely.
	FaultRate float64
	// Seed makes the faults of a run repeatable.
	Seed uint64
	// MinDelay and MaxDelay bound the delays; they should exceed the time after
	// which callers give up. Default 1 s and 2 s, or MinDelay and its double.
	MinDelay, MaxDelay time.Duration
	// Drain bounds how long a participant that is told to end, or whose parent
	// died, waits for its delayed calls; then it does them at once. Default 5 s.
	Drain time.Duration
	// Mended says that somebody has mended the warehouse: what is jammed else
	// (JammedSKU) is released.
	Mended bool
	// Command is how to run a participant: a program that passes the arguments
	// after these to Main. Default: this program with the argument Arg.
	Command []string
}

// Running is a set of participants that this process has started.
type Running struct {
	children []*child
	client   *Client
	close    func() error // once
}

type child struct {
	role  Role
	cmd   *exec.Cmd
	stdin io.Closer // its end tells the child to end
	lines *bufio.Reader
	url   string
}

// Start starts a gateway, a warehouse, a screening and a ledger and returns when they
// listen. ctx bounds the starting alone; the participants end with Close or
// with this process. Another set on the same files may be running.
func Start(ctx context.Context, cfg Config) (*Running, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Running{}
	r.close = sync.OnceValue(r.end)
	for _, role := range roles {
		c, err := cfg.spawn(role)
		if err != nil {
			r.kill()
			return nil, fmt.Errorf("participant: start %s: %w", role, err)
		}
		r.children = append(r.children, c)
	}
	// A canceled start kills the children, which ends the reads below.
	stop := context.AfterFunc(ctx, r.signalKill)
	urls := make(map[Role]string)
	for _, c := range r.children {
		url, err := c.awaitReady()
		if err != nil {
			stop()
			r.kill()
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, fmt.Errorf("participant: start %s: %w", c.role, err)
		}
		c.url, urls[c.role] = url, url
	}
	if !stop() {
		r.kill()
		return nil, fmt.Errorf("participant: start: %w", ctx.Err())
	}
	client, err := NewClient(urls, nil)
	if err != nil {
		r.kill()
		return nil, err
	}
	r.client = client
	return r, nil
}

// complete fills in defaults and refuses what makes no sense.
func (cfg *Config) complete() error {
	if cfg.Path == "" {
		return errors.New("participant: Config.Path is empty")
	}
	f := faults{rate: cfg.FaultRate, seed: cfg.Seed, minDelay: cfg.MinDelay, maxDelay: cfg.MaxDelay}
	if err := f.complete(); err != nil {
		return err
	}
	cfg.MinDelay, cfg.MaxDelay = f.minDelay, f.maxDelay
	if cfg.Drain == 0 {
		cfg.Drain = 5 * time.Second
	}
	if len(cfg.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("participant: find this program: %w", err)
		}
		cfg.Command = []string{self, Arg}
	}
	return nil
}

func (cfg *Config) spawn(role Role) (*child, error) {
	path, err := filepath.Abs(Path(cfg.Path, role))
	if err != nil {
		return nil, err
	}
	o := options{role: role, path: path, drain: cfg.Drain, mended: cfg.Mended, faults: faults{
		rate: cfg.FaultRate, seed: cfg.Seed, minDelay: cfg.MinDelay, maxDelay: cfg.MaxDelay,
	}}
	// Not CommandContext: a canceled context would kill the participant with
	// calls in hand.
	cmd := exec.Command(cfg.Command[0], append(cfg.Command[1:len(cfg.Command):len(cfg.Command)], o.args()...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{role: role, cmd: cmd, stdin: stdin, lines: bufio.NewReader(stdout)}, nil
}

// awaitReady reads the URL that the child prints when it listens.
func (c *child) awaitReady() (string, error) {
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "", errors.New("it ended before it was ready")
	}
	line = strings.TrimSuffix(line, "\n")
	if url, ok := strings.CutPrefix(line, lineReady); ok {
		return url, nil
	}
	if reason, ok := strings.CutPrefix(line, lineFailed); ok {
		return "", errors.New(reason)
	}
	return "", fmt.Errorf("unexpected output %q; does main pass %q to Main?", line, Arg)
}

// Client returns the client for these participants.
func (r *Running) Client() *Client { return r.client }

// URLs returns where the participants listen, for a NewClient in another
// process.
func (r *Running) URLs() map[Role]string { return maps.Clone(r.client.urls) }

// Close ends the participants and returns when they have: after they finished
// all calls in hand, the delayed ones included. Calls made from now on fail.
// The error names the participants that could not finish. A second Close
// returns what the first did.
func (r *Running) Close() error { return r.close() }

func (r *Running) end() error {
	for _, c := range r.children {
		c.stdin.Close()
	}
	var errs []error
	for _, c := range r.children {
		if err := c.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("participant: %s: %w", c.role, err))
		}
	}
	if r.client != nil {
		r.client.http.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// kill ends the participants at once and waits until they are gone.
func (r *Running) kill() {
	r.signalKill()
	r.Close() // they were killed: the errors say nothing else
}

func (r *Running) signalKill() {
	for _, c := range r.children {
		c.cmd.Process.Kill()
	}
}
