package saga

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clewdev/clew/durable"
)

// Fit is what a build can do with a saga in flight.
type Fit string

// The fits.
const (
	// FitContinue: the build has what it started with: its name, its version, the
	// same shape. It may have other Verifies, and other rules to unwind by, as long as
	// the saga has not come to where those decide.
	FitContinue Fit = "continue"
	// FitUnwind: the build does not have what it started with, but has an undo for
	// every step that would have to be undone now. A definition of the old version
	// that is made of them can unwind it; it never goes further.
	FitUnwind Fit = "unwind"
	// FitNone: the build can neither go on with it nor undo it.
	FitNone Fit = "cannot-run"
)

// Checked are the sagas in flight of one name, version and shape that a build can
// do the same with, for the same reason.
type Checked struct {
	Saga        string   `json:"saga"`
	Version     string   `json:"version"`
	Fingerprint string   `json:"fingerprint"`
	Fit         Fit      `json:"fit"`
	Why         string   `json:"why,omitempty"` // not FitContinue
	IDs         []string `json:"ids"`
}

// Report is what Check has found, ordered by saga, version and fit.
type Report struct {
	Checked []Checked `json:"checked"`
	// Others counts what is in flight and is no saga.
	Others int `json:"others"`
}

// Count counts the sagas of a fit.
func (r *Report) Count(f Fit) int {
	n := 0
	for _, c := range r.Checked {
		if c.Fit == f {
			n += len(c.IDs)
		}
	}
	return n
}

// Check tells what a build, given by the shapes of its sagas (ReadManifest, or
// Shape of each), can do with the sagas in a store that have not ended. With names
// it looks only at sagas of those names.
//
// It reads a list, and the journals of those that cannot continue; it writes
// nothing. Each answer is of the moment in which its saga was read: one that still
// runs elsewhere may pass its pivot the moment after, so check again, or look only
// after the old build has stopped, where FitUnwind matters.
func Check(ctx context.Context, store durable.Store, build []Shape, names ...string) (*Report, error) {
	c := &check{store: store, build: map[string][]Shape{}, found: map[kind]*Checked{}}
	for _, s := range build {
		c.build[s.Name] = append(c.build[s.Name], s)
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if err := c.all(ctx, name); err != nil {
			return nil, fmt.Errorf("saga: check: %w", err)
		}
	}
	for _, found := range c.found {
		c.report.Checked = append(c.report.Checked, *found)
	}
	slices.SortFunc(c.report.Checked, func(a, b Checked) int {
		return cmp.Or(cmp.Compare(a.Saga, b.Saga), cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Fit, b.Fit), cmp.Compare(a.Why, b.Why), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return &c.report, nil
}

// check is a Check on its way.
type check struct {
	store  durable.Store
	build  map[string][]Shape // by name
	found  map[kind]*Checked
	report Report
}

// kind is what Checked is about.
type kind struct {
	saga, version, fingerprint string
	fit                        Fit
	why                        string
}

// all looks at what is in flight of a definition; "" is every one.
func (c *check) all(ctx context.Context, definition string) error {
	q := &durable.ListQuery{Definition: definition, Limit: 500, Statuses: []durable.Status{
		durable.StatusPending, durable.StatusRunning, durable.StatusSuspended, durable.StatusParked}}
	for {
		page, err := c.store.List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Heads {
			if err := c.one(ctx, &page.Heads[i]); err != nil {
				return fmt.Errorf("%s: %w", page.Heads[i].ID, err)
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Cursor = page.Next
	}
}

// one looks at one execution.
func (c *check) one(ctx context.Context, h *durable.Head) error {
	if !strings.HasPrefix(h.Fingerprint, durable.SagaFingerprint) {
		c.report.Others++
		return nil
	}
	missing, wayOut := c.missing(h)
	if missing == "" {
		c.add(h, FitContinue, "")
		return nil
	}
	rec, err := c.store.Load(ctx, h.ID, durable.LoadAll)
	switch {
	case errors.Is(err, durable.ErrNotFound) || err == nil && rec.Status.Ended():
		return nil // it has ended since it was listed
	case err != nil:
		return err
	case wayOut && onItsWayOut(rec):
		c.add(h, FitNone, missing+", and it has come to where that matters")
		return nil
	case wayOut:
		c.add(h, FitContinue, "")
		return nil
	}
	if stands := pastReturn(rec); stands != "" {
		c.add(h, FitNone, fmt.Sprintf("%s, and it can only go forward since %q", missing, stands))
		return nil
	}
	if lacking := c.lacking(rec); lacking != "" {
		c.add(h, FitNone, missing+", and "+lacking)
		return nil
	}
	c.add(h, FitUnwind, missing)
	return nil
}

// missing says what of the saga that h started with is not in the build; "" is
// nothing. wayOut says that it is only what decides where the way forward ends.
func (c *check) missing(h *durable.Head) (what string, wayOut bool) {
	for _, s := range c.build[h.Definition] {
		switch {
		case s.Version != h.Version:
		case !sameShape(s.Fingerprint, h.Fingerprint):
			return "version " + h.Version + " has another shape in this build", false
		case s.Fingerprint != h.Fingerprint:
			return "version " + h.Version + " has other Verifies, or unwinds by other rules, in this build", true
		default:
			return "", false
		}
	}
	return "version " + h.Version + " is not in this build", false
}

// onItsWayOut tells whether an execution has come to where a Verify, or how it
// unwinds, has decided something: a replay has to decide it so again.
func onItsWayOut(rec *durable.Record) bool {
	if StatusOf(&rec.Head).Unwind != UnwindNone {
		return true
	}
	for i := range rec.Journal {
		e := &rec.Journal[i]
		if e.First && (e.Type == durable.OpPark || e.Subtype == durable.SubtypeVerify) {
			return true
		}
	}
	for _, e := range Effects(rec) {
		if e.End != "" && e.End != "succeeded" {
			return true
		}
	}
	return false
}

// pastReturn is the step after whose start nothing is undone, if it may have had
// an effect; else "".
func pastReturn(rec *durable.Record) string {
	for _, e := range Effects(rec) {
		if e.Stands() && (e.Class == pivot.String() || e.Class == retriable.String()) {
			return e.Name
		}
	}
	return ""
}

// lacking says which undos no version of the saga in the build has; "" is none.
// One version must have them all.
func (c *check) lacking(rec *durable.Record) string {
	shapes := c.build[rec.Definition]
	if len(shapes) == 0 {
		return "the build has no saga of that name"
	}
	var fewest []string
	for i, s := range shapes {
		lacks := s.lacks(rec)
		if len(lacks) == 0 {
			return ""
		}
		if i == 0 || len(lacks) < len(fewest) {
			fewest = lacks
		}
	}
	return "the build has no undo for " + strings.Join(fewest, ", ")
}

// lacks are the names of the steps that have yet to be undone and are no undoable
// ones of the shape.
func (s *Shape) lacks(rec *durable.Record) []string {
	has := map[string]bool{}
	for name, n := range steps(s.Nodes, "") {
		has[name] = n.undoable()
	}
	var lacks []string
	for _, e := range Effects(rec) {
		if e.ToUndo() && !has[e.Name] {
			lacks = append(lacks, fmt.Sprintf("%q", e.Name))
		}
	}
	return lacks
}

func (c *check) add(h *durable.Head, f Fit, why string) {
	k := kind{h.Definition, h.Version, h.Fingerprint, f, why}
	if c.found[k] == nil {
		c.found[k] = &Checked{Saga: h.Definition, Version: h.Version, Fingerprint: h.Fingerprint, Fit: f, Why: why}
	}
	c.found[k].IDs = append(c.found[k].IDs, h.ID)
}
