package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/user"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/clewdev/clew/durable"
)

// at opens sagas and books for a command that does its work beside whoever serves.
func at(ctx context.Context, cfg config, use func(d *desk) error) error {
	d, closer, err := openDesk(ctx, cfg, false)
	if err != nil {
		return err
	}
	return errors.Join(use(d), closer.Close())
}

func hireCommand(ctx context.Context, cfg config, args []string) error {
	return at(ctx, cfg, func(d *desk) error {
		h, err := d.hire(ctx, Hire{Name: args[0], Manager: cfg.manager, Laptop: cfg.laptop})
		if errors.Is(err, durable.ErrExists) {
			return fmt.Errorf("%s is there already, with another manager or laptop", h.ID)
		}
		if err == nil {
			fmt.Printf("%s is being hired; the identity provider is asked first: onboarding identity pass %[1]s\n", h.ID)
		}
		return err
	})
}

func hiresCommand(ctx context.Context, cfg config, _ []string) error {
	return at(ctx, cfg, func(d *desk) error {
		t := newTable("who", "forward", "unwind", "waits for")
		for next, more := "", true; more; more = next != "" {
			rows, after, err := d.rows(ctx, next)
			if err != nil {
				return err
			}
			for _, r := range rows {
				waits := r.Waits.Step
				if r.Parked {
					waits = "a person: it is parked"
				}
				t.AppendRow(table.Row{r.Hire.ID, r.Status.Forward, r.Status.Unwind, waits})
			}
			next = after
		}
		t.Render()
		return nil
	})
}

func mailsCommand(ctx context.Context, cfg config, _ []string) error {
	return at(ctx, cfg, func(d *desk) error {
		entries, err := d.books.all(ctx)
		page, err2 := d.books.page(ctx)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if page == "" {
			fmt.Printf("Nobody has said with what the links begin: set %s of the function, or serve with -url.\n", urlVar)
		}
		for _, e := range entries {
			if e.To == "" {
				continue
			}
			fmt.Printf("to %s: %s\n", e.To, e.Text)
			switch {
			case e.State != stands:
				fmt.Println("  withdrawn")
			case e.Callback != "":
				path := url.URL{Path: linkOf(stepApproval, e.Hire, e.Callback)}
				fmt.Println("  " + page + path.String())
			}
		}
		return nil
	})
}

func identityCommand(ctx context.Context, cfg config, args []string) error {
	return answerCommand(ctx, cfg, args[1], stepCheck, args[0])
}

func approvalCommand(answer string) func(context.Context, config, []string) error {
	return func(ctx context.Context, cfg config, args []string) error {
		return answerCommand(ctx, cfg, args[0], stepApproval, answer)
	}
}

// answerCommand answers the question that a hire waits at, as its link would.
func answerCommand(ctx context.Context, cfg config, hireID, step, answer string) error {
	return at(ctx, cfg, func(d *desk) error {
		h, rec, err := load(ctx, d.engine, hireID)
		if err != nil {
			return unknown(hireID, err)
		}
		var last question
		for _, q := range questions(rec) {
			if q.Step == step {
				last = q
			}
		}
		r := reply{Answer: answer, By: cfg.by, Reason: cfg.reason}
		switch {
		case last.Step == "":
			return fmt.Errorf("nobody was asked for the %s of %s so far: see onboarding hires", step, hireID)
		case last.State == isOpen:
			err = deliver(ctx, d.engine, h, last, r)
		}
		if err != nil || last.State != isOpen {
			p := outcome(h, last, err)
			return fmt.Errorf("%s: %s", strings.ToLower(p.Title), p.Text)
		}
		fmt.Println(r.done(h))
		return nil
	})
}

func cancelCommand(ctx context.Context, cfg config, args []string) error {
	return at(ctx, cfg, func(d *desk) error {
		if _, _, err := load(ctx, d.engine, args[0]); err != nil {
			return unknown(args[0], err)
		}
		err := d.engine.Cancel(ctx, args[0], cmp.Or(cfg.by, whoami()), cmp.Or(cfg.reason, "stopped on the command line"))
		if err == nil {
			fmt.Println(args[0] + " is asked to stop; what was done is undone, unless the welcome may have been sent.")
		}
		return err
	})
}

func auditCommand(ctx context.Context, cfg config, _ []string) error {
	return at(ctx, cfg, func(d *desk) error {
		findings, err := audit(ctx, d)
		if err != nil {
			return err
		}
		return report(os.Stdout, findings)
	})
}

func unknown(hireID string, err error) error {
	if errors.Is(err, durable.ErrNotFound) {
		return fmt.Errorf("nobody called %q is being hired: see onboarding hires", hireID)
	}
	return err
}

func whoami() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "somebody"
}

func newTable(header ...any) table.Writer { return tableOn(os.Stdout, header...) }

func tableOn(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(header)
	return t
}
