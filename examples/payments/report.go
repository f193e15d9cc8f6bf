package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
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
func report(cfg config, audit participant.Report, parked []*durable.ParkedError, took time.Duration) error {
	if cfg.json {
		line, err := json.Marshal(result{audit, took.Milliseconds()})
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	} else {
		printTable(cfg, audit, parked, took)
	}
	switch {
	case audit.DuplicateEffects+audit.MissingUndos > 0 || audit.LedgerImbalanceCents != 0:
		return errors.New("the audit found effects that should not be: see above")
	case len(parked) > 0 || audit.Parked > 0:
		return fmt.Errorf("%d orders are parked and wait for a person: see `clew --store sqlite:%s ls`", max(len(parked), audit.Parked), cfg.db)
	}
	return nil
}

func printTable(cfg config, audit participant.Report, parked []*durable.ParkedError, took time.Duration) {
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
		fmt.Printf("%s (%s): %v\n", d.Order, d.Class, d.Problems)
	}
	for _, p := range parked {
		fmt.Printf("%s is parked (%s): %s\n", p.ID, p.Park.Reason, p.Park.Message)
	}
	if len(parked) > 0 {
		fmt.Printf("Look at one with `clew --store sqlite:%s show %s`.\n", cfg.db, parked[0].ID)
	}
}
