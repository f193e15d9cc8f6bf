package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/clewdev/clew/examples/payments/participant"
	"github.com/clewdev/clew/internal/storeurl"
)

// deployed is what the flags say about participants that are deployed.
type deployed struct{ url, auth, books string }

func (d *deployed) declare(f *flag.FlagSet) {
	f.StringVar(&d.url, "participants-url", "", "base URL of deployed participants, instead of processes of this program")
	f.StringVar(&d.auth, "participants-auth", "", "how requests to -participants-url are authenticated, "+authIAM+" or "+authNone+": by default the first for a function URL")
	f.StringVar(&d.books, "books", "", "books of the participants at -participants-url, for the audit: dynamodb:TABLE?region=…&endpoint=…")
}

// check refuses what makes no sense.
func (d *deployed) check(cfg *config) error {
	switch {
	case d.url == "" && (d.books != "" || d.auth != ""):
		return errors.New("-books and -participants-auth are about the participants at -participants-url: name it, or leave them out")
	case d.url == "":
		return nil
	case d.auth != "" && d.auth != authIAM && d.auth != authNone:
		return fmt.Errorf("-participants-auth %q: known are %s and %s", d.auth, authIAM, authNone)
	case cfg.outage > 0 || cfg.mended:
		return fmt.Errorf("-outage and -mended are for participants of this program: where those of -participants-url run, set %s and %s", outageVar, mendedVar)
	case cfg.json && d.books == "":
		return errors.New("-json prints an audit: name the books of the participants at -participants-url with -books")
	}
	return nil
}

// outside is the four participants.
type outside struct {
	client *participant.Client
	// timeout is how long one call may take.
	timeout time.Duration
	// books are nil where nobody said which they are.
	books participant.Books
	// close ends what this process has started, after the calls in hand.
	close func() error
}

// openOutside starts the participants as processes, or connects to deployed
// ones.
func openOutside(ctx context.Context, cfg config) (*outside, error) {
	if cfg.deployed.url == "" {
		running, err := participant.Start(ctx, participant.Config{Path: cfg.db, FaultRate: cfg.outage, Seed: cfg.seed,
			Mended: cfg.mended, MinDelay: attemptTimeout + attemptTimeout/4})
		if err != nil {
			return nil, err
		}
		return &outside{client: running.Client(), timeout: attemptTimeout, books: participant.Files(cfg.db), close: running.Close}, nil
	}
	o := &outside{timeout: deployedTimeout, close: func() error { return nil }}
	var err error
	if o.client, err = deployedParticipants(ctx, cfg.deployed.url, cfg.deployed.auth); err != nil {
		return nil, fmt.Errorf("-participants-url: %w", err)
	}
	if cfg.deployed.books != "" {
		o.books, err = openBooks(ctx, cfg.deployed.books)
	}
	return o, err
}

// openBooks returns the books that -books names.
func openBooks(ctx context.Context, url string) (participant.Books, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	if scheme != "dynamodb" || rest == "" {
		return nil, fmt.Errorf("-books %q: want dynamodb:TABLE?region=…&endpoint=…", url)
	}
	client, table, err := storeurl.DynamoClient(ctx, rest)
	if err != nil {
		return nil, fmt.Errorf("-books: %w", err)
	}
	return participant.Table(client, table), nil
}

// audit waits until nobody works on the books and reads them.
func (o *outside) audit(ctx context.Context, orders int) (participant.Report, error) {
	// Participants of a run that was killed may still be finishing.
	if err := participant.WaitIdle(ctx, o.books); err != nil {
		return participant.Report{}, err
	}
	return participant.Audit(ctx, o.books, orders)
}
