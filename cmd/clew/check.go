package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/saga"
)

func (t *tool) check() *cobra.Command {
	var manifest string
	var sagas []string
	var strict bool
	cmd := &cobra.Command{
		Use: "check --manifest FILE", Short: "Say which sagas in flight a new build can continue, can only unwind, or cannot run", Args: cobra.NoArgs,
		Long: "Say which sagas in flight a new build can continue, can only unwind, or cannot run. The manifest is what the build\n" +
			"wrote with saga.WriteManifest. The exit code is 1 when something cannot run, for CI. It only reads.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			build, err := readManifest(manifest)
			if err != nil {
				return err
			}
			r, err := saga.Check(cmd.Context(), t.store, build, sagas...)
			if err != nil {
				return err
			}
			if err := t.listChecked(r); err != nil {
				return err
			}
			return verdict(r, strict)
		},
	}
	manifestFlag(cmd, &manifest)
	cmd.Flags().StringSliceVar(&sagas, "saga", nil, "only sagas of this name, where others share the store")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 also when something can only unwind")
	return cmd
}

func manifestFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "manifest", "", "what the build wrote with saga.WriteManifest; - is the standard input (required)")
	_ = cmd.MarkFlagRequired("manifest") // fails only for a flag that is not there
}

func readManifest(path string) ([]saga.Shape, error) {
	if path == "-" {
		return saga.ReadManifest(os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	shapes, err := saga.ReadManifest(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return shapes, nil
}

// verdict is what CI goes by.
func verdict(r *saga.Report, strict bool) error {
	cannot, unwind := r.Count(saga.FitNone), r.Count(saga.FitUnwind)
	switch {
	case cannot > 0:
		return fmt.Errorf("this build cannot run %d of the sagas in flight: keep their versions registered", cannot)
	case strict && unwind > 0:
		return fmt.Errorf("this build can only unwind %d of the sagas in flight: keep their versions registered", unwind)
	}
	return nil
}

func (t *tool) listChecked(r *saga.Report) error {
	if t.json {
		for _, c := range r.Checked {
			if err := t.print(c); err != nil {
				return err
			}
		}
		return nil
	}
	w := t.table("SAGA", "VERSION", "THE BUILD CAN", "COUNT", "IDS", "WHY")
	for _, c := range r.Checked {
		can := map[saga.Fit]string{saga.FitContinue: "continue", saga.FitUnwind: "only unwind", saga.FitNone: "neither"}[c.Fit]
		w.AppendRow([]any{c.Saga, c.Version, can, len(c.IDs), someOf(c.IDs), c.Why})
	}
	if len(r.Checked) > 0 {
		w.Render()
	}
	_, err := fmt.Fprintf(t.out, "%d can continue, %d can only unwind, %d cannot run", r.Count(saga.FitContinue), r.Count(saga.FitUnwind), r.Count(saga.FitNone))
	if err == nil && r.Others > 0 {
		_, err = fmt.Fprintf(t.out, "; %d in flight are no sagas", r.Others)
	}
	if err == nil {
		_, err = fmt.Fprintln(t.out)
	}
	return err
}

// someOf is as many IDs as a table has room for; --json has all.
func someOf(ids []string) string {
	const some = 3
	if len(ids) <= some {
		return strings.Join(ids, ", ")
	}
	return strings.Join(ids[:some], ", ") + ", …"
}
