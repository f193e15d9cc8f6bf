package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/otelenv"
	"github.com/clewdev/clew/telemetry"
)

var errNoExport = errors.New("no OTEL_* variable asks for an export of traces: set OTEL_EXPORTER_OTLP_ENDPOINT, for example to http://localhost:4318, and OTEL_SERVICE_NAME to that of the workers; OTEL_TRACES_EXPORTER=none and OTEL_SDK_DISABLED=true prevent it")

func (t *tool) trace() *cobra.Command {
	var f filter
	var endedSince string
	cmd := &cobra.Command{
		Use: "trace (ID... | --ended-since AGO)", Short: "Export the traces of executions that have ended again, as the OTEL_* variables say",
		Long: "Export the traces of executions that have ended again: those that are named, or all that the filters find.\n" +
			"For what a process that was killed, or a collector that was away, has left incomplete. Spans of attempts and\n" +
			"activations are not among them: nobody knows of those but the process that had them. Spans that a backend has\n" +
			"already have the same IDs. Where to, and as which service, the OTEL_* variables say, as for the workers. The\n" +
			"exit code is 1 when something was not delivered. On DynamoDB filters read the whole table.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := oneOrMany(cmd, ids); err != nil {
				return err
			}
			q, err := f.query()
			if err != nil {
				return err
			}
			if q.EndedFrom, err = moment(endedSince); err != nil {
				return err
			}
			q.Limit = 0 // as TellEnded finds best
			env, err := otelenv.StartTelling(cmd.Context(), "clew")
			if err != nil {
				return err
			}
			if env.Telemetry() == nil {
				return errNoExport
			}
			defer func() { _ = env.Shutdown(context.WithoutCancel(cmd.Context())) }() // of nothing: all is delivered, or that it is not is said
			return t.retell(cmd.Context(), env, q, ids)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&endedSince, "ended-since", "", "only ended since then: a time, as 2026-11-24T08:00:00Z, or so long ago, as 10m")
	return cmd
}

// oneOrMany refuses IDs with filters, and neither: a store may hold millions.
func oneOrMany(cmd *cobra.Command, ids []string) error {
	many := cmd.Flags().Changed("ended-since")
	if len(ids) > 0 {
		if many {
			return errors.New("--ended-since is for many, not with IDs")
		}
		return noFilter(cmd)
	}
	if !many && !slices.ContainsFunc(filterFlags, cmd.Flags().Changed) {
		return errors.New("trace what? name IDs, or pass a filter, for example --ended-since 10m")
	}
	return nil
}

// retold is what --json prints.
type retold struct {
	Executions int `json:"executions"`
	Spans      int `json:"spans"`
	Unsampled  int `json:"unsampled,omitempty"` // that the filters found
}

// retell exports, and says what. What could not be told is an error beside that; what
// was not delivered is nothing but an error.
func (t *tool) retell(ctx context.Context, env *otelenv.Env, q durable.ListQuery, ids []string) error {
	var told telemetry.Told
	var err error
	if len(ids) > 0 {
		told.Executions, err = t.tellNamed(ctx, env.Telemetry(), ids)
	} else if told, err = env.Telemetry().TellEnded(ctx, t.store, q); errors.Is(err, telemetry.ErrNotEnded) {
		return errors.New("only what has ended can be exported again: leave --parked-for out, and all of --status but succeeded, failed, cancelled, timed-out, terminated")
	}
	spans, failed := env.Delivered(ctx)
	if failed != nil {
		return errors.Join(fmt.Errorf("the exporter has taken %d spans, and not the others: %w", spans, failed), err)
	}
	if t.json {
		return errors.Join(t.print(retold{told.Executions, spans, told.Unsampled}), err)
	}
	line := fmt.Sprintf("exported %d executions, %d spans", told.Executions, spans)
	if told.Unsampled > 0 {
		line += fmt.Sprintf("; %d were not sampled when they were created, and are not exported", told.Unsampled)
	}
	return errors.Join(t.say("%s", line), err)
}

// tellNamed tells executions, those that can be told.
func (t *tool) tellNamed(ctx context.Context, tele *telemetry.Telemetry, ids []string) (n int, failed error) {
	for _, id := range ids {
		rec, err := t.store.Load(ctx, id, durable.LoadAll)
		if err == nil {
			err = tele.Tell(ctx, rec)
		}
		switch {
		case err == nil:
			n++
			continue
		case errors.Is(err, telemetry.ErrNotEnded):
			err = fmt.Errorf("%w; it is exported when it has ended, and clew show has what it has done", &durable.VerbError{ID: id, Verb: "trace", State: rec.Status.String(), Possible: rec.Verbs()})
		case errors.Is(err, telemetry.ErrNotSampled):
			err = errors.New("it was not sampled when it was created, and is not exported; clew history has what it did")
		case errors.Is(err, durable.ErrNotFound):
			err = fmt.Errorf("%w: clew ls shows what there is", err)
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", id, err))
	}
	return n, failed
}
