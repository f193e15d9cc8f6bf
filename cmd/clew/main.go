// Clew looks at executions and lets an operator act on them.
//
//	clew --store sqlite:payments.db ls
//	clew --store sqlite:payments.db show order-000007
//	clew --store sqlite:payments.db retry order-000007 --reason "gateway is back"
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/storeurl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(os.Stdout).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "clew:", err)
		os.Exit(1)
	}
}

// tool is what all commands share.
type tool struct {
	out   io.Writer
	url   string
	json  bool
	store durable.Store
	e     *durable.Engine
	close io.Closer
}

func command(out io.Writer) *cobra.Command {
	t := &tool{out: out}
	root := &cobra.Command{
		Use:           "clew",
		Short:         "Look at durable executions and sagas, and act on them",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return t.open()
		},
		PersistentPostRunE: func(*cobra.Command, []string) error { return t.close.Close() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(out)
	root.PersistentFlags().StringVar(&t.url, "store", os.Getenv("CLEW_STORE"), "store of the executions: sqlite:PATH or dynamodb:TABLE?region=…&endpoint=… (default $CLEW_STORE)")
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print JSON, one object per line")
	root.AddCommand(t.ls(), t.show(), t.plan(), t.cancel(), t.retry(), t.resolve(), t.resume(), t.skip(), t.unwind(), t.abandon(), t.terminate(), t.pause(), t.resumeDefinition(),
		t.rerun(), t.signal(), t.history(), t.trace(), t.cost(), t.versions(), t.check(), t.diagram(), t.tableCommand())
	return root
}

func (t *tool) open() error {
	if t.url == "" {
		return errors.New("which store? pass --store sqlite:PATH or --store dynamodb:TABLE, or set CLEW_STORE")
	}
	var err error
	if t.store, t.close, err = storeurl.Open(t.url); err != nil {
		return err
	}
	t.e, err = durable.New(t.store, durable.Options{})
	return err
}

// act is who does something, and why: both become part of the history.
type act struct {
	actor, reason string
	revision      int64
}

func (a *act) flags(cmd *cobra.Command, parked bool) {
	actor := "unknown"
	if u, err := user.Current(); err == nil {
		actor = u.Username
	}
	cmd.Flags().StringVar(&a.actor, "actor", actor, "who acts")
	cmd.Flags().StringVar(&a.reason, "reason", "", "why (required)")
	_ = cmd.MarkFlagRequired("reason") // fails only for a flag that is not there
	if parked {
		cmd.Flags().Int64Var(&a.revision, "revision", -1, "act only if the execution is still at this revision, as show prints it (default: as it is now)")
	}
}

// verb delivers a decision to a parked execution.
func (t *tool) verb(ctx context.Context, id string, a act, d durable.Decision) error {
	rec, err := t.store.Load(ctx, id, durable.LoadHead)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if a.revision < 0 {
		a.revision = rec.Revision
	}
	if rec.Park != nil && rec.Park.Key != "" && !t.json {
		fmt.Fprintf(t.out, "%s\n", keyLine(rec.Park))
	}
	d.Actor, d.Reason = a.actor, a.reason
	if err := t.e.Act(ctx, id, a.revision, d); err != nil {
		return err
	}
	return t.done(id, string(d.Verb), a)
}

func (t *tool) resolve() *cobra.Command {
	var a act
	var output string
	var noEffect bool
	cmd := &cobra.Command{
		Use: "resolve ID", Short: "State the outcome of an operation in doubt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := durable.Decision{Verb: durable.VerbResolve, NoEffect: noEffect}
			if cmd.Flags().Changed("output") {
				d.Output = []byte(output)
			}
			return t.verb(cmd.Context(), args[0], a, d)
		},
	}
	a.flags(cmd, true)
	cmd.Flags().StringVar(&output, "output", "", "it happened, and this is its result, as JSON")
	cmd.Flags().BoolVar(&noEffect, "no-effect", false, "it had no effect and never will")
	return cmd
}
