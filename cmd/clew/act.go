package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

func (t *tool) skip() *cobra.Command {
	var a act
	cmd := &cobra.Command{
		Use: "skip ID", Short: "Count the undo that a saga is parked at as done, and go on with the others", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.verb(cmd.Context(), args[0], a, durable.Decision{Verb: durable.VerbSkip})
		},
	}
	a.flags(cmd, true)
	return cmd
}

func (t *tool) unwind() *cobra.Command {
	var a act
	cmd := &cobra.Command{
		Use: "unwind ID", Short: "Let a saga that is parked before its pivot unwind", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.verb(cmd.Context(), args[0], a, durable.Decision{Verb: durable.VerbUnwind})
		},
	}
	a.flags(cmd, true)
	return cmd
}

func (t *tool) abandon() *cobra.Command {
	var a act
	cmd := &cobra.Command{
		Use: "abandon ID", Short: "End a parked execution as it stands, with all effects left", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.verb(cmd.Context(), args[0], a, durable.Decision{Verb: durable.VerbAbandon})
		},
	}
	a.flags(cmd, true)
	return cmd
}

func (t *tool) terminate() *cobra.Command {
	var a act
	cmd := &cobra.Command{
		Use: "terminate ID", Short: "End an execution without a word to its code: nothing is undone (mostly you want cancel)", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.e.Terminate(cmd.Context(), args[0], a.actor, a.reason); err != nil {
				return err
			}
			return t.done(args[0], "terminate", a)
		},
	}
	a.flags(cmd, false)
	return cmd
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
