package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

func (t *tool) cancel() *cobra.Command {
	return t.verbFor(durable.VerbCancel, "Ask an execution to stop; a saga unwinds unless its pivot has started", false, nil)
}

func (t *tool) retry() *cobra.Command {
	return t.verbFor(durable.VerbRetry, "Give the operation that a parked execution stands at new attempts, under the same key", true, func(cmd *cobra.Command, d *durable.Decision) {
		cmd.Flags().BoolVar(&d.Force, "force", false, "also under an idempotency key that participants honour no more")
	})
}

func (t *tool) resume() *cobra.Command {
	return t.verbFor(durable.VerbResume, "Let an execution that was parked for a bug go on, after a deploy", true, nil)
}

func (t *tool) skip() *cobra.Command {
	return t.verbFor(durable.VerbSkip, "Count the undo that a saga is parked at as done, and go on with the others", true, nil)
}

func (t *tool) unwind() *cobra.Command {
	return t.verbFor(durable.VerbUnwind, "Let a saga that is parked before its pivot unwind", true, nil)
}

func (t *tool) abandon() *cobra.Command {
	return t.verbFor(durable.VerbAbandon, "End a parked execution as it stands, with all effects left", true, nil)
}

func (t *tool) terminate() *cobra.Command {
	return t.verbFor(durable.VerbTerminate, "End an execution without a word to its code: nothing is undone (mostly you want cancel)", false, nil)
}

func (t *tool) rerun() *cobra.Command {
	var a act
	var from string
	cmd := &cobra.Command{
		Use: "rerun ID --from STEP", Short: "Run an execution that failed again, from one of its operations on, as a new execution", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := t.e.Rerun(cmd.Context(), args[0], from, a.actor, a.reason)
			if err != nil {
				return err
			}
			if t.json {
				return t.print(map[string]string{"id": id, "origin": args[0], "from": from, "actor": a.actor, "reason": a.reason})
			}
			_, err = fmt.Fprintf(t.out, "%s runs again from %q as %s.\n", args[0], from, id)
			return err
		},
	}
	a.flags(cmd, false)
	cmd.Flags().StringVar(&from, "from", "", "name of the operation, or its number as history shows it (required)")
	_ = cmd.MarkFlagRequired("from") // fails only for a flag that is not there
	return cmd
}

func (t *tool) signal() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "signal ID NAME [JSON]", Short: "Send a signal to an execution", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			value := json.RawMessage("null")
			if len(args) == 3 {
				if value = json.RawMessage(args[2]); !json.Valid(value) {
					return fmt.Errorf("%w: the value is not JSON: %s (a text needs quotes of its own: '\"text\"')", durable.ErrInvalid, args[2])
				}
			}
			if err := t.e.Signal(cmd.Context(), args[0], args[1], value, id); err != nil {
				return err
			}
			if t.json {
				return t.print(map[string]string{"id": args[0], "signal": args[1], "accepted": "true"})
			}
			_, err := fmt.Fprintf(t.out, "signal %q to %s is accepted and durable.\n", args[1], args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "tells this signal from others: one that was sent under the same name and id before is not sent again")
	return cmd
}
