// Payments runs orders through a saga against four participants, which are
// processes of their own, and then audits the participants' books.
//
//	go run ./examples/payments
//
// Kill it at any moment and run it again: it finishes what was left. With
// -participants-url the participants are deployed ones; payments audit reads
// books and runs nothing. On Lambda the program is the function that
// PAYMENTS_ROLE names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clewdev/clew/examples/payments/participant"
)

// config is what the flags say.
type config struct {
	orders int
	shares
	mended      bool
	outage      float64
	version     string
	db          string
	store       string
	stepDelay   time.Duration
	concurrency int
	json        bool
	crashAfter  int64
	seed        uint64
	deployed    deployed
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == participant.Arg {
		os.Exit(serveParticipant(os.Args[2:]))
	}
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(runFunction(role))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == auditArg {
		return audit(ctx, args[1:])
	}
	cfg, err := parse(args)
	if err != nil {
		return err
	}
	return run(ctx, cfg)
}

func parse(args []string) (config, error) {
	var cfg config
	f := flag.NewFlagSet("payments", flag.ContinueOnError)
	f.IntVar(&cfg.orders, "orders", 200, "how many orders to run")
	f.Float64Var(&cfg.decline, "decline", 0.1, "share of cards that are declined, 0 to 1")
	f.Float64Var(&cfg.fraud, "fraud", 0.05, "share of orders that the fraud score refuses, 0 to 1")
	f.Float64Var(&cfg.nowhere, "nowhere", 0.02, "share of orders to an address that does not exist, 0 to 1")
	f.Float64Var(&cfg.stuck, "stuck", 0, "share of orders that are refused and whose stock the warehouse does not take back until it is -mended, 0 to 1: they park")
	f.BoolVar(&cfg.mended, "mended", false, "the warehouse has been mended, and takes back what it refused with -stuck")
	f.Float64Var(&cfg.outage, "outage", 0, "share of calls that meet an outage, 0 to 1: a 503, a lost reply, or a delayed request")
	f.StringVar(&cfg.version, "version", versions[len(versions)-1], "version of the saga that new orders start on, of "+strings.Join(versions, ", ")+": orders in flight end on theirs")
	f.StringVar(&cfg.db, "db", "payments.db", "database of the sagas; the participants' books lie beside it")
	f.StringVar(&cfg.store, "store", "", "where the sagas are, if not in -db: sqlite:PATH or dynamodb:TABLE?region=…&endpoint=…")
	f.DurationVar(&cfg.stepDelay, "step-delay", 0, "pause in every step before it acts")
	f.IntVar(&cfg.concurrency, "concurrency", 16, "orders in flight at once")
	f.BoolVar(&cfg.json, "json", false, "print the result as one JSON object on one line")
	f.Int64Var(&cfg.crashAfter, "crash-after", 0, "kill this process after so many writes to the database (0: never)")
	f.Uint64Var(&cfg.seed, "seed", 1, "makes the orders and the outages of a run repeatable")
	cfg.deployed.declare(f)
	if err := f.Parse(args); err != nil {
		return cfg, err
	}
	switch {
	case f.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q: see -help", f.Arg(0))
	case cfg.orders < 1:
		return cfg, fmt.Errorf("-orders %d: at least 1", cfg.orders)
	case !slices.Contains(versions, cfg.version):
		return cfg, fmt.Errorf("-version %q: there are %s", cfg.version, strings.Join(versions, ", "))
	case cfg.concurrency < 1:
		return cfg, fmt.Errorf("-concurrency %d: at least 1", cfg.concurrency)
	case slices.ContainsFunc([]float64{cfg.decline, cfg.fraud, cfg.nowhere, cfg.stuck, cfg.outage}, func(share float64) bool { return !(share >= 0 && share <= 1) }): // also NaN
		return cfg, fmt.Errorf("-decline %v, -fraud %v, -nowhere %v, -stuck %v, -outage %v: shares are between 0 and 1", cfg.decline, cfg.fraud, cfg.nowhere, cfg.stuck, cfg.outage)
	case cfg.stepDelay < 0 || cfg.crashAfter < 0:
		return cfg, fmt.Errorf("-step-delay %v, -crash-after %d: not below 0", cfg.stepDelay, cfg.crashAfter)
	case cfg.db == "" || filepath.Base(cfg.db) == ".":
		return cfg, errors.New("-db needs the path of a file")
	}
	return cfg, cfg.deployed.check(&cfg)
}
