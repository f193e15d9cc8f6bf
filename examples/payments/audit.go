package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/clewdev/clew/examples/payments/participant"
)

// auditArg is the first argument of an audit alone.
const auditArg = "audit"

// audit reads the books and runs no orders. Its error is what makes the exit
// code 1.
func audit(ctx context.Context, args []string) error {
	started := time.Now()
	var url, db string
	var orders int
	var asJSON bool
	f := flag.NewFlagSet("payments audit", flag.ContinueOnError)
	f.StringVar(&url, "books", "", "books of deployed participants: dynamodb:TABLE?region=…&endpoint=…")
	f.StringVar(&db, "db", "payments.db", "database of the sagas, beside which the books lie, if not in -books")
	f.IntVar(&orders, "orders", 0, "how many orders there should be (0: those that had an effect)")
	f.BoolVar(&asJSON, "json", false, "print the result as one JSON object on one line")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || orders < 0 {
		return errors.New("audit takes -books or -db, -orders and -json: see audit -help")
	}
	books := participant.Files(db)
	if url != "" {
		var err error
		if books, err = openBooks(ctx, url); err != nil {
			return err
		}
	}
	r, err := participant.Audit(ctx, books, orders)
	if err != nil {
		return err
	}
	if err := show(asJSON, r, time.Since(started)); err != nil {
		return err
	}
	return judge(r)
}

// judge returns an error unless every order has ended, and rightly. It sees
// the books alone.
func judge(r participant.Report) error {
	switch {
	case r.DuplicateEffects > 0:
		return errors.New("the audit found effects that should not be: see above")
	case r.Held > 0:
		return fmt.Errorf("%d delayed calls have not been done yet: audit again in a moment", r.Held)
	case r.Parked > 0 || r.MissingUndos > 0 || r.LedgerImbalanceCents != 0:
		return fmt.Errorf("%d orders are open: their sagas run still, or wait for a person: see `clew ls`", r.Parked)
	}
	return nil
}
