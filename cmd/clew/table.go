package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clewdev/clew/internal/storeurl"
	"github.com/clewdev/clew/store/dynamo"
)

// tableCommand has the commands about a DynamoDB table itself, which open no
// store: it may not be there yet.
func (t *tool) tableCommand() *cobra.Command {
	var opts dynamo.Options
	cmd := &cobra.Command{
		Use: "table", Short: "Make or check the DynamoDB table of --store dynamodb:TABLE",
		PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
		PersistentPostRunE: func(*cobra.Command, []string) error { return nil },
	}
	create := &cobra.Command{
		Use: "create", Short: "Make the table, billed on demand; one that exists and fits stays as it is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.onTable(cmd.Context(), opts, func(ctx context.Context, c dynamo.TableAPI, opts dynamo.Options) error {
				return dynamo.CreateTable(ctx, c, opts)
			})
		},
	}
	create.Flags().IntVar(&opts.Shards, "shards", 0, "partitions of the index of due work, per definition version: 4 in a new table; more than it has raises the number")
	create.Flags().BoolVar(&opts.PointInTimeRecovery, "pitr", false, "keep backups of every second of the last 35 days")
	create.Flags().BoolVar(&opts.DeletionProtection, "protect", false, "refuse to delete the table")
	check := &cobra.Command{
		Use: "check", Short: "Say whether the table is what this build needs, and what differs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.onTable(cmd.Context(), opts, func(ctx context.Context, c dynamo.TableAPI, opts dynamo.Options) error {
				_, err := dynamo.Open(ctx, c, opts)
				return err
			})
		},
	}
	cmd.AddCommand(create, check)
	return cmd
}

// tableTimeout bounds how long a table may take to become active.
const tableTimeout = 5 * time.Minute

func (t *tool) onTable(ctx context.Context, opts dynamo.Options, do func(context.Context, dynamo.TableAPI, dynamo.Options) error) error {
	rest, ok := strings.CutPrefix(t.url, "dynamodb:")
	if !ok {
		return errors.New("which table? pass --store dynamodb:TABLE?region=…, or set CLEW_STORE")
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	client, table, err := storeurl.DynamoClient(ctx, rest)
	if err != nil {
		return err
	}
	opts.Table = table
	if err := do(ctx, client, opts); err != nil {
		return err
	}
	if t.json {
		return t.print(map[string]string{"table": table, "state": "ready"})
	}
	_, err = fmt.Fprintf(t.out, "table %s is ready\n", table)
	return err
}
