// Onboarding hires people: an account, an identity check by a provider, the
// manager's approval, mailbox, directory and laptop, and a welcome; or all of it
// undone. It takes up to three weeks, during which no process need run.
//
//	go run ./examples/onboarding -day 20s
//
// and then the page that it names. Kill it at any moment and run it again: it
// goes on. With -store and -books everything is in DynamoDB, and the same program
// runs the same onboardings on Lambda.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clewdev/clew/internal/otelenv"
)

// service is what this program is called in traces and metrics, unless
// OTEL_SERVICE_NAME says otherwise.
const service = "onboarding"

// config is what the flags say.
type config struct {
	db      string
	day     time.Duration
	slow    time.Duration
	listen  string
	manager string
	laptop  string
	by      string
	reason  string
	store   string // instead of db
	books   string // beside store
	url     string
	lease   time.Duration

	env *otelenv.Env // what the environment asks for
}

// command is what the first words on the command line name.
type command struct {
	name, args, about string
	flags             []string // besides those that say where everything is
	needs             int      // arguments
	run               func(ctx context.Context, cfg config, args []string) error
}

var commands = []command{
	{"serve", "", "run the onboardings, and show the page; this is what it does without a command", []string{"day", "slow", "listen", "url", "lease"}, 0, serve},
	{"hire", "NAME", "begin to onboard somebody", []string{"manager", "laptop"}, 1, hireCommand},
	{"hires", "", "list all, and what they wait for", nil, 0, hiresCommand},
	{"mails", "", "print the outbox, with the links", nil, 0, mailsCommand},
	{"identity", "pass|fail|working HIRE", "answer as the identity provider does; working is a heartbeat", []string{"by", "reason"}, 2, identityCommand},
	{"approve", "HIRE", "approve as the manager does", []string{"by"}, 1, approvalCommand("approve")},
	{"refuse", "HIRE", "refuse as the manager does", []string{"by", "reason"}, 1, approvalCommand("refuse")},
	{"cancel", "HIRE", "stop an onboarding: it unwinds, unless the welcome was sent", []string{"by", "reason"}, 1, cancelCommand},
	{"audit", "", "hold the books of the outside world against the sagas", nil, 0, auditCommand},
}

const examples = `
A visit, with days of twenty seconds:
  onboarding -day 20s                       (and leave it running)
  onboarding hire "Ada Lovelace"
  onboarding identity pass ada-lovelace
  onboarding approve ada-lovelace
  onboarding audit
`

func main() {
	if os.Getenv(runtimeVar) != "" {
		os.Exit(runFunction())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "onboarding:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string) error {
	var cfg config
	cmd, args, err := parse(words, &cfg)
	if err != nil {
		return err
	}
	env, err := otelenv.Start(ctx, service)
	if err != nil {
		return err
	}
	cfg.env = env
	err = cmd.run(ctx, cfg, args)
	if e := env.Shutdown(context.Background()); e != nil { // which changes nothing else
		fmt.Fprintln(os.Stderr, "onboarding: traces and metrics:", e)
	}
	return err
}

// parse reads flags wherever they stand among the other words.
func parse(words []string, cfg *config) (cmd command, args []string, err error) {
	f := flag.NewFlagSet("onboarding", flag.ContinueOnError)
	f.SetOutput(io.Discard) // what is wrong is said once, and the rest with -h
	f.StringVar(&cfg.db, "db", "onboarding.db", "`file` of the sagas; the books of the outside world lie beside it")
	f.DurationVar(&cfg.day, "day", 24*time.Hour, "how long a day of the story is; the same for all processes on one -db")
	f.DurationVar(&cfg.slow, "slow", 0, "how long each call to the outside world takes, up to 20s")
	f.StringVar(&cfg.listen, "listen", "127.0.0.1:8080", "`address` of the page")
	f.StringVar(&cfg.manager, "manager", "grace@example.com", "mail `address` of who approves")
	f.StringVar(&cfg.laptop, "laptop", laptops[0], "`model`: "+strings.Join(laptops, "; ")+" (which the shop refuses)")
	f.StringVar(&cfg.by, "by", "", "`who` answers")
	f.StringVar(&cfg.reason, "reason", "", "`why`")
	f.StringVar(&cfg.store, "store", "", "`where` the sagas are, if not in -db: sqlite:PATH or dynamodb:TABLE?region=…&endpoint=…")
	f.StringVar(&cfg.books, "books", "", "`where` the books of the outside world are, with -store, likewise")
	f.StringVar(&cfg.url, "url", "", "with what the links of mails begin, if not with the `address` of this page")
	f.DurationVar(&cfg.lease, "lease", 30*time.Second, "after how long others go on with what a process had that was killed; in files they do at once")
	for len(words) > 0 {
		if err := f.Parse(words); errors.Is(err, flag.ErrHelp) {
			usage(f)
			return cmd, nil, err
		} else if err != nil {
			return cmd, nil, fmt.Errorf("%w: see onboarding -h", err)
		}
		if words = f.Args(); len(words) > 0 {
			args, words = append(args, words[0]), words[1:]
		}
	}
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	if i < 0 {
		return cmd, nil, fmt.Errorf("there is no command %q: see onboarding -h", name)
	}
	cmd = commands[i]
	if len(args) != cmd.needs {
		return cmd, nil, fmt.Errorf("%d arguments, and the use is: onboarding %s %s", len(args), cmd.name, cmd.args)
	}
	f.Visit(func(fl *flag.Flag) {
		if fl.Name == "db" && cfg.store != "" {
			err = errors.New("-db and -store: the sagas are in one of them")
		}
		if !slices.Contains(places, fl.Name) && !slices.Contains(cmd.flags, fl.Name) {
			err = fmt.Errorf("-%s means nothing to %s: see onboarding -h", fl.Name, cmd.name)
		}
	})
	return cmd, args, errors.Join(err, cfg.check())
}

// places are the flags that say where everything is.
var places = []string{"db", "store", "books"}

func (cfg *config) check() (err error) {
	if cfg.url, err = baseOf(cfg.url); err != nil {
		return fmt.Errorf("-url: %w", err)
	}
	switch {
	case (cfg.store == "") != (cfg.books == ""):
		return errors.New("-store and -books go together: pass both, or neither and -db")
	case cfg.lease < time.Second || cfg.lease > 5*time.Minute:
		return fmt.Errorf("-lease %v: between 1s and 5m", cfg.lease)
	case cfg.slow < 0 || cfg.slow > 20*time.Second:
		return fmt.Errorf("-slow %v: between 0s and 20s", cfg.slow)
	case cfg.db == "":
		return errors.New("-db needs the path of a file")
	}
	if err := checkDay(cfg.day); err != nil {
		return fmt.Errorf("-day %w", err)
	}
	return nil
}

func checkDay(day time.Duration) error {
	if day < time.Millisecond || day > 1000*time.Hour {
		return fmt.Errorf("%v: between 1ms and 1000h", day)
	}
	return nil
}

func usage(f *flag.FlagSet) {
	w := os.Stdout
	f.SetOutput(w)
	fmt.Fprintln(w, "onboarding [COMMAND] [FLAGS]")
	fmt.Fprintln(w, "\nCommands:")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-32s %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
		if len(c.flags) > 0 {
			fmt.Fprintf(w, "  %-32s -%s\n", "", strings.Join(c.flags, " -"))
		}
	}
	fmt.Fprintln(w, "\nFlags:")
	f.PrintDefaults()
	fmt.Fprint(w, examples)
}
