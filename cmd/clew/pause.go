package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

func (t *tool) pause() *cobra.Command {
	var a act
	var p durable.Pause
	cmd := &cobra.Command{
		Use: "pause NAME", Short: "Let a definition start nothing, or unwind nothing, while a participant is down", Args: cobra.ExactArgs(1),
		Long: "Let a definition start nothing, or begin no undo, or neither (without a flag), while a participant is down. What runs\n" +
			"goes on forward. It is in force everywhere within 10 s, until continue, and versions shows it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Definition, p.Actor, p.Reason = args[0], a.actor, a.reason
			if !p.Starts && !p.Unwinding {
				p.Starts, p.Unwinding = true, true
			}
			if err := t.e.Pause(cmd.Context(), p); err != nil {
				return err
			}
			if t.json {
				return t.print(p)
			}
			if err := t.say("%s is paused: %s. In force everywhere within 10 s.", p.Definition, pausedWhat(&p)); err != nil {
				return err
			}
			return t.hintUnknown(cmd.Context(), p.Definition)
		},
	}
	a.flags(cmd, false)
	cmd.Flags().BoolVar(&p.Starts, "starts", false, "no new executions")
	cmd.Flags().BoolVar(&p.Unwinding, "unwinding", false, "no undo of its sagas begins")
	return cmd
}

// hintUnknown says if a definition has never run here: a slip of the pen pauses
// nothing.
func (t *tool) hintUnknown(ctx context.Context, definition string) error {
	page, err := t.store.List(ctx, &durable.ListQuery{Definition: definition, Limit: 1})
	if err != nil || len(page.Heads) > 0 || page.Next != "" {
		return err
	}
	return t.say("No execution of %q is in this store: is that its name? clew versions shows names.", definition)
}

func (t *tool) resumeDefinition() *cobra.Command {
	var a act
	cmd := &cobra.Command{
		Use: "continue NAME", Short: "End the pause of a definition", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.e.Continue(cmd.Context(), args[0], a.actor, a.reason); err != nil {
				return err
			}
			if t.json {
				return t.print(map[string]string{"definition": args[0], "verb": "continue", "actor": a.actor, "reason": a.reason})
			}
			return t.say("%s goes on: starts within 10 s, unwinding within 5 minutes at most.", args[0])
		},
	}
	a.flags(cmd, false)
	return cmd
}

func pausedWhat(p *durable.Pause) string {
	var what []string
	if p.Starts {
		what = append(what, "no new starts")
	}
	if p.Unwinding {
		what = append(what, "no unwinding")
	}
	return strings.Join(what, ", ")
}

// listPauses prints what is paused.
func (t *tool) listPauses(all []durable.Pause) error {
	for i := range all {
		p := &all[i]
		_, err := fmt.Fprintf(t.out, "%s is PAUSED: %s, since %s, by %s: %s\n", p.Definition, pausedWhat(p), p.At.Local().Format(time.DateTime), p.Actor, p.Reason)
		if err != nil {
			return err
		}
	}
	return nil
}
