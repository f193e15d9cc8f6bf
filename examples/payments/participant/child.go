package participant

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Arg is the first argument of a process that is to be a participant.
const Arg = "participant"

// drainGrace is how long a closing participant waits for its database beyond
// the limit for delayed calls.
const drainGrace = 3 * time.Second

// The first line on a participant's standard output.
const (
	lineReady  = "ready "  // and the URL
	lineFailed = "failed " // and the reason
)

// options are what a parent tells a participant.
type options struct {
	role   Role
	path   string
	drain  time.Duration
	mended bool
	faults faults
}

func (o options) args() []string {
	return []string{
		"-role=" + string(o.role),
		"-path=" + o.path,
		"-drain=" + o.drain.String(),
		"-mended=" + strconv.FormatBool(o.mended),
		"-fault-rate=" + strconv.FormatFloat(o.faults.rate, 'g', -1, 64),
		"-seed=" + strconv.FormatUint(o.faults.seed, 10),
		"-min-delay=" + o.faults.minDelay.String(),
		"-max-delay=" + o.faults.maxDelay.String(),
	}
}

func parseOptions(args []string) (o options, err error) {
	fs := flag.NewFlagSet(Arg, flag.ContinueOnError)
	fs.StringVar((*string)(&o.role), "role", "", "gateway, warehouse, screening or ledger")
	fs.StringVar(&o.path, "path", "", "file of this participant")
	fs.DurationVar(&o.drain, "drain", 5*time.Second, "longest wait for delayed calls at the end")
	fs.BoolVar(&o.mended, "mended", false, "release what is jammed else")
	fs.Float64Var(&o.faults.rate, "fault-rate", 0, "share of calls that meet a fault")
	fs.Uint64Var(&o.faults.seed, "seed", 0, "seed of the faults")
	fs.DurationVar(&o.faults.minDelay, "min-delay", time.Second, "shortest delay")
	fs.DurationVar(&o.faults.maxDelay, "max-delay", 2*time.Second, "longest delay")
	return o, fs.Parse(args)
}

// Main is a participant's process. It serves until its standard input ends,
// which is when its parent closes it or dies, however it dies. Then it finishes
// the calls in hand and returns the exit code.
func Main(args []string) int {
	// A terminal's interrupt reaches the whole process group; how to end on it
	// is the parent's decision. And when the parent is dead, a write to its
	// pipes must not kill this process before its calls are done.
	signal.Ignore(os.Interrupt, syscall.SIGPIPE)
	o, err := parseOptions(args)
	if err != nil {
		return 2
	}
	book, err := openBook(o.path)
	if err != nil {
		fmt.Printf("%s%v\n", lineFailed, err)
		return 1
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Printf("%s%v\n", lineFailed, err)
		return 1
	}
	if err := serve(o, book, listener); err != nil {
		log.Printf("%s %s: %v", Arg, o.role, err)
		return 1
	}
	return 0
}

// serve returns after standard input has ended and the calls in hand are done.
func serve(o options, b *sqliteBook, listener net.Listener) error {
	writer := startWriter(rules{faults: o.faults, mended: o.mended}, b)
	s := newServer(map[Role]clerk{o.role: writer})
	// No timeouts: connections idle as long as their owner lives, and a server
	// that closes one just as it is used again adds a fault nobody asked for.
	web := &http.Server{Handler: traced(s), ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	fmt.Printf("%shttp://%s\n", lineReady, listener.Addr())

	io.Copy(io.Discard, os.Stdin)
	drained := s.drain(o.drain)
	web.Close()
	<-served // always ErrServerClosed: the listener has no other way to fail
	if !drained {
		// The goroutines still waiting for the database end with the process,
		// and their calls with them.
		return errors.New("gave up on calls in hand")
	}
	return writer.close()
}
