// Onboarding hires people: an account, an identity check by a provider, the
// manager's approval, mailbox, directory and laptop, and a welcome; or all of it
// undone. It takes up to three weeks, during which no process need run.
//
//	go run ./examples/onboarding -day 20s
//
// and then the page that it names. Kill it at any moment and run it again: it
// goes on.
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
)

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
}

// command is what the first words on the command line name.
type command struct {
	name, args, about string
	flags             []string // besides -db
	needs             int      // arguments
	run               func(ctx context.Context, cfg config, args []string) error
}

var commands = []command{
	{"serve", "", "run the onboardings, and show the page; this is what it does without a command", []string{"day", "slow", "listen"}, 0, serve},
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
	return cmd.run(ctx, cfg, args)
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
		if fl.Name != "db" && !slices.Contains(cmd.flags, fl.Name) {
			err = fmt.Errorf("-%s means nothing to %s: see onboarding -h", fl.Name, cmd.name)
		}
	})
	return cmd, args, errors.Join(err, cfg.check())
}

func (cfg *config) check() error {
	switch {
	case cfg.day < time.Millisecond || cfg.day > 1000*time.Hour:
		return fmt.Errorf("-day %v: between 1ms and 1000h", cfg.day)
	case cfg.slow < 0 || cfg.slow > 20*time.Second:
		return fmt.Errorf("-slow %v: between 0s and 20s", cfg.slow)
	case cfg.db == "":
		return errors.New("-db needs the path of a file")
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
