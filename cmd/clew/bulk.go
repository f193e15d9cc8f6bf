package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
)

// target is what a verb acts on: one execution, or all that a filter finds.
type target struct {
	act
	filter
	all, yes bool
}

// verbFor makes the command of a verb that needs nothing but a target.
func (t *tool) verbFor(verb durable.Verb, short string, parked bool, more func(*cobra.Command, *durable.Decision)) *cobra.Command {
	var to target
	d := durable.Decision{Verb: verb}
	cmd := &cobra.Command{
		Use: string(verb) + " (ID | --all)", Short: short, Args: cobra.MaximumNArgs(1),
		Long: short + ".\n\nWith --all it is for all that the filters find, first as a dry run: it prints what would be done to\n" +
			"which, at which revision, and acts only with --yes. What has moved on since is left alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := to.check(cmd, args); err != nil {
				return err
			}
			d.Actor, d.Reason = to.actor, to.reason
			if to.all {
				return t.bulk(cmd.Context(), &to, d, parked)
			}
			return t.one(cmd.Context(), args[0], to.act, d)
		},
	}
	to.act.flags(cmd, parked)
	to.filter.flags(cmd)
	cmd.Flags().BoolVar(&to.all, "all", false, "all that the filters find, instead of one ID; a dry run without --yes")
	cmd.Flags().BoolVar(&to.yes, "yes", false, "with --all: do it")
	if more != nil {
		more(cmd, &d)
	}
	return cmd
}

// check refuses what does not say clearly what to act on.
func (to *target) check(cmd *cobra.Command, args []string) error {
	switch {
	case to.all && len(args) > 0:
		return errors.New("either one ID or --all")
	case to.all && cmd.Flags().Changed("revision"):
		return errors.New("--revision is for one ID: with --all each is acted on at the revision that is shown")
	case to.all:
		return nil
	case len(args) == 0:
		return fmt.Errorf("%s what? name an ID, or pass --all", cmd.Name())
	}
	if to.yes {
		return errors.New("--yes goes with --all, not with one ID")
	}
	return noFilter(cmd)
}

// one acts on one execution.
func (t *tool) one(ctx context.Context, id string, a act, d durable.Decision) error {
	var err error
	switch d.Verb {
	case durable.VerbCancel:
		err = t.e.Cancel(ctx, id, a.actor, a.reason)
	case durable.VerbTerminate:
		err = t.e.Terminate(ctx, id, a.actor, a.reason)
	default:
		return t.verb(ctx, id, a, d)
	}
	if err != nil {
		return err
	}
	return t.done(id, string(d.Verb), a)
}

// bulk acts on all that a filter finds, or says what it would do.
func (t *tool) bulk(ctx context.Context, to *target, d durable.Decision, parked bool) error {
	usual := []durable.Status{durable.StatusParked}
	if !parked {
		usual = append(usual, durable.StatusPending, durable.StatusRunning, durable.StatusSuspended)
	}
	q, err := to.query(usual...)
	if err != nil {
		return err
	}
	acts, err := t.e.Decide(ctx, q, func(h *durable.Head) (durable.Decision, bool) { return d, to.matches(h) })
	if err != nil {
		return err
	}
	possible := 0
	for i := range acts {
		if acts[i].Err == nil {
			possible++
		}
	}
	if err := t.preview(acts, to.yes); err != nil {
		return err
	}
	if !to.yes {
		return t.say("would %s %d of these %d; nothing was done: add --yes to do it", d.Verb, possible, len(acts))
	}
	failed := 0
	for a := range t.e.ActAll(ctx, withoutErrors(acts)) {
		if a.Err != nil {
			failed++
		}
		if err := t.outcome(&a); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s failed for %d of %d", d.Verb, failed, possible)
	}
	return t.say("%s of %d accepted and durable; workers will see to it", d.Verb, possible)
}

func withoutErrors(acts []durable.Act) (possible []durable.Act) {
	for _, a := range acts {
		if a.Err == nil {
			possible = append(possible, a)
		}
	}
	return possible
}

// acted is an act as --json prints it.
type acted struct {
	ID         string       `json:"id"`
	Definition string       `json:"definition"`
	Version    string       `json:"version"`
	Status     string       `json:"status"`
	ParkedFor  string       `json:"parked_for,omitempty"`
	Revision   int64        `json:"revision"`
	Verb       durable.Verb `json:"verb"`
	DryRun     bool         `json:"dry_run,omitempty"`
	Accepted   bool         `json:"accepted"`
	Error      string       `json:"error,omitempty"`
}

func actedOf(a *durable.Act) acted {
	h := &a.Head
	line := acted{ID: h.ID, Definition: h.Definition, Version: h.Version, Status: h.Status.String(), Revision: h.Revision, Verb: a.Decision.Verb}
	if h.Status == durable.StatusParked && h.Park != nil {
		line.ParkedFor = string(h.Park.Reason)
	}
	if a.Err != nil {
		line.Error = strings.TrimPrefix(a.Err.Error(), "durable: ")
	}
	return line
}

// preview prints what would be done. With --json and --yes what is done is
// printed alone, one line each, apart from what is left alone.
func (t *tool) preview(acts []durable.Act, yes bool) error {
	w := t.table("ID", "DEFINITION", "STATUS", "WHY PARKED", "REVISION", "WOULD")
	for i := range acts {
		l := actedOf(&acts[i])
		if l.DryRun = !yes; t.json {
			if yes && l.Error == "" {
				continue
			}
			if err := t.print(l); err != nil {
				return err
			}
			continue
		}
		would := string(l.Verb)
		if l.Error != "" {
			would = "leave it alone: " + l.Error
		}
		w.AppendRow([]any{l.ID, l.Definition + "@" + l.Version, l.Status, l.ParkedFor, l.Revision, would})
	}
	if !t.json {
		w.Render()
	}
	return nil
}

// outcome prints what became of one act.
func (t *tool) outcome(a *durable.Act) error {
	l := actedOf(a)
	l.Accepted = a.Err == nil
	switch {
	case t.json:
		return t.print(l)
	case a.Err != nil:
		_, err := fmt.Fprintf(t.out, "%s of %s at revision %d FAILED: %s\n", l.Verb, l.ID, l.Revision, l.Error)
		return err
	}
	_, err := fmt.Fprintf(t.out, "%s of %s at revision %d: accepted\n", l.Verb, l.ID, l.Revision)
	return err
}

// say prints a line for people.
func (t *tool) say(format string, args ...any) error {
	if t.json {
		return nil
	}
	_, err := fmt.Fprintf(t.out, format+"\n", args...)
	return err
}
