package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/examples/payments/participant"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(cfg config) progress {
	if cfg.json || !term.IsTerminal(int(os.Stderr.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions(cfg.orders, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription("orders"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

func (p progress) add() {
	if p.bar != nil {
		_ = p.bar.Add(1) // a bar that cannot be drawn is no reason to stop
	}
}

func (p progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// result is what -json prints. All of it but the time is the audit's: it
// comes from the participants' books and not from the engine.
type result struct {
	participant.Report
	ElapsedMS int64 `json:"elapsed_ms"`
}

// report prints the result and returns an error unless all is well.
func report(cfg config, audit participant.Report, parked []durable.Head, took time.Duration) error {
	if err := show(cfg.json, audit, took); err != nil {
		return err
	}
	if !cfg.json {
		printWayOut(cfg, parked)
	}
	if audit.DuplicateEffects > 0 || unexplained(audit, parked) {
		return errors.New("the audit found effects that should not be: see above")
	}
	return waiting(cfg, parked)
}

// reportUnaudited says what can be said without the books.
func reportUnaudited(cfg config, parked []durable.Head, took time.Duration) error {
	printWayOut(cfg, parked)
	fmt.Printf("All orders have ended or are parked, after %v. The books are not audited: see payments audit -help.\n", took.Round(time.Millisecond))
	return waiting(cfg, parked)
}

// waiting returns an error if orders wait for a person.
func waiting(cfg config, parked []durable.Head) error {
	if len(parked) == 0 {
		return nil
	}
	return fmt.Errorf("%d orders are parked and wait for a person: see `clew --store %s ls --status parked`", len(parked), storeURL(cfg))
}

// show prints an audit.
func show(asJSON bool, audit participant.Report, took time.Duration) error {
	if !asJSON {
		printTable(audit, took)
		return nil
	}
	line, err := json.Marshal(result{audit, took.Milliseconds()})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

// unexplained tells whether the books have something open that no parked order
// accounts for.
func unexplained(audit participant.Report, parked []durable.Head) bool {
	for _, d := range audit.Details {
		waits := slices.ContainsFunc(parked, func(h durable.Head) bool { return h.ID == d.Order })
		if d.Class == "parked" && !waits {
			return true
		}
	}
	return len(parked) == 0 && (audit.MissingUndos > 0 || audit.LedgerImbalanceCents != 0)
}

// storeURL is what the sagas' store is to clew, ready for a shell.
func storeURL(cfg config) string {
	url := cmp.Or(cfg.store, "sqlite:"+cfg.db)
	if strings.ContainsAny(url, "?& ") {
		return "'" + url + "'"
	}
	return url
}

// printWayOut says which orders wait for a person, and what the person can do.
func printWayOut(cfg config, parked []durable.Head) {
	if len(parked) == 0 {
		return
	}
	for _, h := range parked {
		fmt.Printf("%s is parked (%s at %q): %s\n", h.ID, h.Park.Reason, h.Park.Operation, h.Park.Message)
	}
	first, clew := parked[0], "  clew --store "+storeURL(cfg)
	fmt.Printf("\n%d orders are parked. The way out, with clew for go run ./cmd/clew:\n\n", len(parked))
	fmt.Printf("%s ls --status parked\n%[1]s show %s\n", clew, first.ID)
	for _, v := range first.Park.Verbs {
		if about, known := wayOut[v]; known {
			fmt.Printf("\n%s:\n%s %s %s --reason \"…\"\n", about, clew, v, first.ID)
		}
	}
	again := "Then run payments again, with the same flags"
	switch {
	case cfg.deployed.url != "":
		again = "A deployed warehouse is mended by " + mendedVar + "=true in the environment of the participants' function. " + again
	case cfg.stuck > 0 && !cfg.mended:
		again += " and -mended, which is what mends the warehouse"
	}
	fmt.Printf("\n%s: it finishes what you have decided.\n", again)
}

// wayOut says when which verb is right.
var wayOut = map[durable.Verb]string{
	durable.VerbRetry:  "once what refused is mended, so that it is asked again, under the same key",
	durable.VerbSkip:   "if it has been undone by hand, or never will be",
	durable.VerbUnwind: "if the order is not to go on",
	durable.VerbResume: "after the bug is mended",
}

func printTable(audit participant.Report, took time.Duration) {
	t := table.NewWriter()
	t.SetOutputMirror(os.Stdout)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"audit of the participants' books", ""})
	t.AppendRows([]table.Row{
		{"orders", audit.Orders},
		{"paid, shipped and receipted", audit.Committed},
		{"undone without a trace", audit.Undone},
		{"parked: wait for a person", audit.Parked},
		{"duplicate effects", audit.DuplicateEffects},
		{"missing undos", audit.MissingUndos},
		{"ledger imbalance, cents", audit.LedgerImbalanceCents},
		{"repeated calls", audit.RepeatedCalls},
		{"injected outages", audit.Faults},
		{"elapsed", took.Round(time.Millisecond)},
	})
	t.Render()
	for _, d := range audit.Details {
		fmt.Printf("%s (%s): %s\n", d.Order, d.Class, strings.Join(d.Problems, "; "))
	}
}
