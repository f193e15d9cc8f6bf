package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

func (t *tool) history() *cobra.Command {
	return &cobra.Command{
		Use: "history ID", Short: "Show the events of an execution, in the vocabulary of AWS's durable execution history", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := t.store.Load(cmd.Context(), args[0], durable.LoadAll)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			w := t.table("N", "TIME", "EVENT", "OPERATION", "DETAILS")
			for e := range durable.History(rec) {
				if t.json {
					if err := t.print(e); err != nil {
						return err
					}
					continue
				}
				w.AppendRow([]any{e.ID, e.At.Local().Format("2006-01-02 15:04:05.000"), e.Type, operationOf(&e), detailsOf(&e.Details)})
			}
			if !t.json {
				w.Render()
			}
			return nil
		},
	}
}

// operationOf names the operation of an event; #3 is the number of one.
func operationOf(e *durable.Event) string {
	var words []string
	if e.Operation != "" {
		words = append(words, "#"+e.Operation)
	}
	if e.Name != "" {
		words = append(words, e.Name)
	}
	if e.Parent != "" {
		words = append(words, "in #"+e.Parent)
	}
	if e.SubType != "" && e.SubType != e.Type[:min(len(e.SubType), len(e.Type))] {
		words = append(words, "("+e.SubType+")")
	}
	return strings.Join(words, " ")
}

// longest is how much of a payload a table shows.
const longest = 60

func detailsOf(d *durable.EventDetails) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	for _, p := range []*durable.EventPayload{d.Input, d.Result} {
		if p != nil {
			add("%s", cut(p.Payload))
		}
	}
	if d.Error != nil {
		add("%s: %s", d.Error.Payload.ErrorType, cut(d.Error.Payload.ErrorMessage))
	}
	if r := d.RetryDetails; r != nil && (r.CurrentAttempt > 1 || r.NextAttemptDelaySeconds != nil) {
		add("attempt %d", r.CurrentAttempt)
		if r.NextAttemptDelaySeconds != nil {
			add("next in %d s", *r.NextAttemptDelaySeconds)
		}
	}
	if d.Duration != nil {
		add("%g s", *d.Duration)
	}
	if d.Timeout > 0 {
		add("timeout %g s", d.Timeout)
	}
	if d.Undoes != "" {
		add("of #%s", d.Undoes)
	}
	if d.FunctionName != "" {
		add("%s@%s as %s", d.FunctionName, d.ExecutedVersion, d.DurableExecutionArn)
	}
	if d.InDoubt {
		add("in doubt")
	}
	if d.Verb != "" {
		add("%s", d.Verb)
	}
	if d.Actor != "" {
		add("by %s", d.Actor)
	}
	if d.Reason != "" {
		add("%s", d.Reason)
	}
	if d.Message != "" {
		add("%s", cut(d.Message))
	}
	if len(d.Left) > 0 {
		add("left: %s", strings.Join(d.Left, ", "))
	}
	return strings.Join(words, ", ")
}

func cut(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > longest {
		return string(r[:longest-1]) + "…"
	}
	return s
}
