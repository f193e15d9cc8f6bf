package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// line is an execution as --json prints it.
type line struct {
	ID         string            `json:"id"`
	Definition string            `json:"definition"`
	Version    string            `json:"version"`
	Status     string            `json:"status"`
	Forward    saga.Forwards     `json:"forward,omitempty"`
	Unwind     saga.Unwind       `json:"unwind,omitempty"`
	Revision   int64             `json:"revision"`
	Created    time.Time         `json:"created"`
	Tags       map[string]string `json:"tags,omitempty"`
	Origin     string            `json:"origin,omitempty"` // of a re-run
	Parent     string            `json:"parent,omitempty"` // that invoked it
	Ended      time.Time         `json:"ended,omitzero"`
	Due        time.Time         `json:"due,omitzero"`
	Park       *durable.Park     `json:"park,omitempty"`
	Verbs      []durable.Verb    `json:"verbs,omitempty"` // possible now
	Left       []string          `json:"left,omitempty"`  // by a saga that was ended from outside
	Input      json.RawMessage   `json:"input,omitempty"`
	Result     json.RawMessage   `json:"result,omitempty"`
	Error      *durable.Error    `json:"error,omitempty"`
	Journal    []event           `json:"journal,omitempty"`
}

// event is an entry of the journal as people and --json see it.
type event struct {
	N         int             `json:"n"`
	At        time.Time       `json:"at"`
	Operation string          `json:"operation"`
	What      string          `json:"what"`
	Attempt   int             `json:"attempt,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
}

func lineOf(h *durable.Head) line {
	l := line{ID: h.ID, Definition: h.Definition, Version: h.Version, Status: h.Status.String(), Revision: h.Revision,
		Created: h.Created, Tags: h.Tags, Origin: h.Origin, Parent: h.Parent.ID, Ended: h.Ended, Due: h.Due, Park: h.Park, Verbs: h.Verbs(), Result: h.Result, Error: h.Error}
	if strings.Contains(h.Detail, "/") {
		st := saga.StatusOf(h)
		l.Forward, l.Unwind = st.Forward, st.Unwind
	}
	return l
}

func (t *tool) ls() *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use: "ls", Short: "List executions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query()
			if err != nil {
				return err
			}
			return t.list(cmd, &q, f.matches)
		},
	}
	f.flags(cmd)
	return cmd
}

func (t *tool) list(cmd *cobra.Command, q *durable.ListQuery, matches func(*durable.Head) bool) error {
	w := t.table("ID", "DEFINITION", "STATUS", "FORWARD", "UNWIND", "WHY PARKED", "CREATED")
	n := 0
	err := t.each(cmd.Context(), q, func(h *durable.Head) error {
		if !matches(h) {
			return nil
		}
		n++
		l := lineOf(h)
		if t.json {
			return t.print(l)
		}
		why := ""
		if l.Park != nil && l.Status == durable.StatusParked.String() {
			why = string(l.Park.Reason)
		}
		w.AppendRow(table.Row{l.ID, l.Definition + "@" + l.Version, l.Status, l.Forward, l.Unwind, why, stamp(l.Created)})
		return nil
	})
	if err != nil {
		return err
	}
	if !t.json {
		w.Render()
		fmt.Fprintf(t.out, "%d executions\n", n)
	}
	return nil
}

func (t *tool) show() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one execution: its state, what it waits for, and its journal", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := t.store.Load(cmd.Context(), args[0], durable.LoadAll)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			l := lineOf(&rec.Head)
			l.Input, l.Journal, l.Left = rec.Input, events(rec.Journal), left(rec)
			if t.json {
				return t.print(l)
			}
			t.describe(l)
			return nil
		},
	}
}

// left is what a saga left that was ended from outside.
func left(rec *durable.Record) (names []string) {
	for e := range durable.History(rec) {
		names = append(names, e.Details.Left...)
	}
	return names
}

func (t *tool) describe(l line) {
	w := t.table("EXECUTION", l.ID)
	w.AppendRow(table.Row{"definition", l.Definition + "@" + l.Version})
	w.AppendRow(table.Row{"status", l.Status})
	if l.Forward != "" {
		w.AppendRow(table.Row{"forward / unwind", string(l.Forward) + " / " + string(l.Unwind)})
	}
	w.AppendRow(table.Row{"revision", l.Revision})
	w.AppendRow(table.Row{"created", stamp(l.Created)})
	for name, v := range map[string]string{"re-run of": l.Origin, "invoked by": l.Parent} {
		if v != "" {
			w.AppendRow(table.Row{name, v})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Tags)) {
		w.AppendRow(table.Row{"tag " + name, l.Tags[name]})
	}
	w.AppendRow(table.Row{"input", string(l.Input)})
	if !l.Due.IsZero() {
		w.AppendRow(table.Row{"due", stamp(l.Due)})
	}
	if !l.Ended.IsZero() {
		w.AppendRow(table.Row{"ended", stamp(l.Ended)})
	}
	if l.Result != nil {
		w.AppendRow(table.Row{"result", string(l.Result)})
	}
	if l.Error != nil {
		w.AppendRow(table.Row{"error", l.Error.Message})
	}
	if len(l.Left) > 0 {
		w.AppendRow(table.Row{"left, not undone", strings.Join(l.Left, ", ")})
	}
	w.Render()
	w = t.table("#", "AT", "OPERATION", "WHAT", "ATTEMPT", "DETAIL")
	for _, e := range l.Journal {
		attempt := ""
		if e.Attempt > 0 {
			attempt = fmt.Sprint(e.Attempt)
		}
		w.AppendRow(table.Row{e.N, stamp(e.At), e.Operation, e.What, attempt, e.Detail})
	}
	w.Render()
	if l.Park != nil && l.Status == durable.StatusParked.String() {
		t.advise(l)
	}
}

// advise says what ends the parking.
func (t *tool) advise(l line) {
	fmt.Fprintf(t.out, "Parked since %s (%s)", stamp(l.Park.At), l.Park.Reason)
	if l.Park.Operation != "" {
		fmt.Fprintf(t.out, " at %q", l.Park.Operation)
	}
	first, _, _ := strings.Cut(l.Park.Message, "\n")
	fmt.Fprintf(t.out, ": %s\n", first)
	if l.Park.Key != "" {
		fmt.Fprintln(t.out, keyLine(l.Park))
	}
	fmt.Fprintln(t.out, "What you can do:")
	for _, v := range l.Verbs {
		extra := ""
		if v == durable.VerbResolve {
			extra = " (--output JSON | --no-effect)"
		}
		fmt.Fprintf(t.out, "  clew --store %s %s %s%s --revision %d --reason WHY\n", t.url, v, l.ID, extra, l.Revision)
	}
}

func keyLine(p *durable.Park) string {
	age := p.KeyAge(time.Now()).Round(time.Second)
	if p.KeyLifetime == 0 {
		return fmt.Sprintf("Key %q is %v old; how long participants honour it is not declared.", p.Key, age)
	}
	state := "still honoured"
	if p.Expired(time.Now()) {
		state = "EXPIRED"
	}
	return fmt.Sprintf("Key %q is %v old, participants honour it for %v: %s.", p.Key, age, p.KeyLifetime, state)
}

// events puts the journal into words.
func events(journal []durable.Entry) []event {
	names := map[int64]string{0: "execution"}
	kinds := map[durable.EntryKind]string{
		durable.EntryStart: "started", durable.EntryResult: "succeeded", durable.EntryFailure: "failed", durable.EntryTimeout: "timed out",
		durable.EntryCancel: "cancelled", durable.EntryLost: "lost in a crash", durable.EntrySuspended: "suspended",
		durable.EntryParked: "parked", durable.EntryVerb: "operator acted", durable.EntryProgress: "heartbeat", durable.EntrySignal: "signal",
		durable.EntryTerminate: "to be terminated", durable.EntryContinued: "continued as new", durable.EntryOutcome: "outcome decided",
	}
	var out []event
	for i := range journal {
		e := &journal[i]
		if e.First {
			kind := e.Subtype
			if kind == "" {
				kind = e.Type.String()
			}
			names[e.Op] = strings.ToLower(kind) + " " + e.Name
			if e.Scope == durable.ScopeUnwind && e.Subtype == "" {
				names[e.Op] += " (unwinding)"
			}
		}
		ev := event{N: i + 1, At: e.At, Operation: names[e.Op], What: kinds[e.Kind], Attempt: e.Attempt}
		var detail []string
		if e.Error != nil {
			detail = append(detail, e.Error.Message)
		}
		if e.Retry {
			detail = append(detail, fmt.Sprintf("next attempt in %v", e.Delay.Round(time.Millisecond)))
		}
		if e.Actor != "" || e.Reason != "" {
			detail = append(detail, fmt.Sprintf("by %s: %s", e.Actor, e.Reason))
		}
		if e.Kind == durable.EntrySignal {
			ev.Operation = "signal " + e.Subtype
		}
		if json.Valid(e.Payload) {
			ev.Payload = e.Payload
			detail = append(detail, clip(string(e.Payload)))
		}
		ev.Detail = strings.Join(detail, "; ")
		out = append(out, ev)
	}
	return out
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "…"
	}
	return s
}

func (t *tool) table(header ...any) table.Writer {
	w := table.NewWriter()
	w.SetOutputMirror(t.out)
	w.SetStyle(table.StyleLight)
	w.AppendHeader(table.Row(header))
	w.Style().Format.Header = 0
	return w
}

func (t *tool) print(v any) error { return json.NewEncoder(t.out).Encode(v) }

func (t *tool) done(id, verb string, a act) error {
	if t.json {
		return t.print(map[string]string{"id": id, "verb": verb, "actor": a.actor, "reason": a.reason, "accepted": "true"})
	}
	_, err := fmt.Fprintf(t.out, "%s of %s is accepted and durable; a worker will see to it.\n", verb, id)
	return err
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
