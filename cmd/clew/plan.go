package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

func (t *tool) plan() *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use: "plan [ID]", Short: "Show what would be undone if a saga unwound as it is, and what would not; does nothing", Args: cobra.MaximumNArgs(1),
		Long: "Show what would be undone if a saga unwound as it is, in which order, with which results and keys, and what would\n" +
			"not, and why; from its journal alone. Without an ID, all sagas in flight that the filters find. It does nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := noFilter(cmd); err != nil {
					return err
				}
				return t.planOne(cmd.Context(), args[0])
			}
			return t.planAll(cmd.Context(), &f)
		},
	}
	f.flags(cmd)
	return cmd
}

func (t *tool) planOne(ctx context.Context, id string) error {
	rec, err := t.store.Load(ctx, id, durable.LoadAll)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if !isSaga(&rec.Head) {
		return fmt.Errorf("%s: %s@%s is no saga that is declared: there is no plan, and if its code keeps undos on a saga.Stack, only the code knows them", id, rec.Definition, rec.Version)
	}
	return t.printPlan(saga.PlanOf(rec))
}

func isSaga(h *durable.Head) bool { return strings.HasPrefix(h.Fingerprint, durable.SagaFingerprint) }

// planAll prints the plans of all that a filter finds.
func (t *tool) planAll(ctx context.Context, f *filter) error {
	q, err := f.query(durable.StatusPending, durable.StatusRunning, durable.StatusSuspended, durable.StatusParked)
	if err != nil {
		return err
	}
	sagas, undos, doubts := 0, 0, 0
	err = t.each(ctx, &q, func(h *durable.Head) error {
		if !isSaga(h) || !f.matches(h) {
			return nil
		}
		rec, err := t.store.Load(ctx, h.ID, durable.LoadAll)
		if errors.Is(err, durable.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.ID, err)
		}
		p := saga.PlanOf(rec)
		sagas++
		undos += len(p.Undo)
		for i := range p.Undo {
			if p.Undo[i].InDoubt {
				doubts++
			}
		}
		return t.printPlan(p)
	})
	if err != nil {
		return err
	}
	return t.say("%d sagas, %d steps to undo, of which %d are in doubt; nothing was done", sagas, undos, doubts)
}

// printPlan prints one plan.
func (t *tool) printPlan(p saga.Plan) error {
	if t.json {
		return t.print(p)
	}
	state := p.Execution
	if p.Park != nil {
		state += " (" + string(p.Park.Reason) + ")"
	}
	fmt.Fprintf(t.out, "%s, %s@%s: %s, %s / %s, revision %d. The pivot: %s.\n",
		p.ID, p.Definition, p.Version, state, p.Status.Forward, p.Status.Unwind, p.Revision, p.Pivot)
	w := t.table("", "STEP", "UNWINDING WOULD", "RESULT", "KEY", "KEY'S AGE")
	for i := range p.Undo {
		w.AppendRow([]any{i + 1, p.Undo[i].Name, wouldUndo(&p.Undo[i]), resultOf(&p.Undo[i]), p.Undo[i].Key, ageOf(&p, &p.Undo[i])})
	}
	if len(p.Undo) == 0 {
		w.AppendRow([]any{"", "", "undo nothing", "", "", ""})
	}
	for i := range p.Stays {
		w.AppendRow([]any{"", p.Stays[i].Name, "leave it: " + p.Stays[i].Why, resultOf(&p.Stays[i]), p.Stays[i].Key, ageOf(&p, &p.Stays[i])})
	}
	w.Render()
	if len(p.Verbs) > 0 {
		fmt.Fprintf(t.out, "possible: %s\n", strings.Trim(fmt.Sprint(p.Verbs), "[]"))
	}
	return nil
}

func wouldUndo(s *saga.Planned) string {
	what := "undo it"
	if s.InDoubt {
		what = "undo it, in doubt"
	}
	switch s.Undo {
	case "running":
		what += " (its undo has begun)"
	case "failed":
		what += " (its undo has failed)"
	}
	return what
}

func resultOf(s *saga.Planned) string {
	switch {
	case s.InDoubt:
		return "unknown"
	case !json.Valid(s.Result):
		return ""
	}
	return cut(string(s.Result))
}

// ageOf is the age of a step's key. How long participants honour it is known of
// the one that the saga is parked over.
func ageOf(p *saga.Plan, s *saga.Planned) string {
	if s.KeySince.IsZero() {
		return ""
	}
	age := s.KeyAge(time.Now()).Round(time.Second).String()
	if p.Park != nil && p.Park.Key == s.Key && p.Park.Expired(time.Now()) {
		age += ", EXPIRED"
	}
	return age
}
