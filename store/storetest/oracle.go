package storetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// oracle is what Model compares a store with: the promises once more, in the
// plainest words, for one goroutine. It shares its memory with its callers,
// knows no pages, and is no use for anything else.
type oracle map[string]*sheet

type sheet struct {
	durable.Record
	creator string
	open    map[string]bool
	winner  map[string]string
}

var _ durable.Store = oracle{}

func (o oracle) Create(_ context.Context, c *durable.Create) error {
	if s := o[c.ID]; s != nil {
		if s.creator != c.Owner {
			return durable.ErrExists
		}
		return nil
	}
	s := &sheet{creator: c.Owner, open: map[string]bool{}, winner: map[string]string{}}
	s.Identity, s.Status, s.Heartbeats = c.Identity, durable.StatusPending, map[string]time.Time{}
	o[c.ID] = s
	if c.First == nil {
		s.Due = c.Due
		return nil
	}
	s.hold(c.Owner, time.Time{})
	s.land(c.First)
	return nil
}

// hold starts a claim.
func (s *sheet) hold(owner string, lease time.Time) {
	s.Status, s.Owner, s.Lease, s.Due, s.Seq = durable.StatusRunning, owner, lease, lease, 0
	s.Epoch++
	s.Activations++
}

func (o oracle) Claim(_ context.Context, c *durable.Claim) (*durable.Record, error) {
	s := o[c.ID]
	if s == nil {
		return nil, durable.ErrNotFound
	}
	running := s.Status == durable.StatusRunning
	if running && s.Owner == c.Owner {
		return &s.Record, nil
	}
	if s.Status.Ended() {
		return nil, durable.ErrEnded
	}
	if s.Due.IsZero() || s.Due.After(c.Now) {
		return nil, durable.ErrNotDue
	}
	if running {
		s.Crashes++
	} else if s.SafeEpoch+1 >= s.Epoch {
		s.SafeEpoch = s.Epoch
	}
	s.hold(c.Owner, c.Lease)
	return &s.Record, nil
}

func (o oracle) Commit(_ context.Context, c *durable.Commit) (durable.Receipt, error) {
	s := o[c.ID]
	if s == nil {
		return durable.Receipt{}, durable.ErrNotFound
	}
	unseen := s.unseen(c.Seen)
	if c.Seq > 0 && c.Seq == s.Seq && c.Epoch == s.Epoch {
		return durable.Receipt{Unseen: unseen}, nil
	}
	if c.Epoch != s.Epoch {
		return durable.Receipt{}, durable.ErrFenced
	}
	if s.Status.Ended() {
		return durable.Receipt{}, durable.ErrEnded
	}
	if s.Status != durable.StatusRunning || c.Seq != s.Seq+1 {
		return durable.Receipt{}, durable.ErrFenced
	}
	if c.IfSeen && len(unseen) > 0 {
		return durable.Receipt{Unseen: unseen}, durable.ErrUnseen
	}
	s.land(c)
	return durable.Receipt{Unseen: unseen}, nil
}

func (s *sheet) unseen(seen int64) []durable.Delivery {
	return slices.DeleteFunc(slices.Clone(s.Inbox), func(d durable.Delivery) bool { return d.Seq <= seen })
}

// land is what an accepted commit does.
func (s *sheet) land(c *durable.Commit) {
	if c.Anew {
		s.Journal = nil
	}
	s.Journal = append(s.Journal, c.Entries...)
	s.Revision += int64(len(c.Entries))
	s.Seq, s.Status = c.Seq, c.Status
	s.Detail, s.Park, s.Result, s.Error = c.Detail, c.Park, c.Result, c.Error
	s.Seen = max(s.Seen, c.Seen)
	s.Inbox = s.unseen(s.Seen)
	for _, key := range c.Open {
		s.open[key] = true
	}
	for _, key := range c.Close {
		s.open[key] = false
	}
	if c.Progress {
		s.Crashes = 0
	}
	if c.Status.Ended() {
		s.Due, s.Ended, s.open = c.Due, c.Now, nil
		return
	}
	if c.Status == durable.StatusRunning {
		if !c.Lease.IsZero() {
			s.Lease, s.Due = c.Lease, c.Lease
		}
		return
	}
	s.Due = c.Due
	for _, d := range s.Inbox {
		if c.Status != durable.StatusParked || d.Kind == durable.DeliverVerb {
			s.Due = c.Now
		}
	}
}

func (o oracle) Deliver(_ context.Context, d *durable.Delivery) error {
	s := o[d.ID]
	if s == nil {
		return durable.ErrNotFound
	}
	winner, won := s.winner[d.Key]
	if won && winner == d.Nonce {
		return nil
	}
	if s.Status.Ended() {
		return durable.ErrEnded
	}
	if won {
		return &durable.DeliveredError{Key: d.Key, Winner: winner}
	}
	forCallback := d.Kind == durable.DeliverCallback || d.Kind == durable.DeliverHeartbeat
	if forCallback && !s.open[d.Key] {
		return durable.ErrNotOpen
	}
	if d.Kind == durable.DeliverHeartbeat {
		s.Heartbeats[d.Key] = d.Now
		return nil
	}
	if d.Kind == durable.DeliverVerb && (s.Status != durable.StatusParked || s.Revision != d.Revision) {
		return durable.ErrRevision
	}
	if (forCallback || d.Kind == durable.DeliverSignal) && len(s.Inbox) >= durable.MaxInbox {
		return durable.ErrInboxFull
	}
	s.Delivered++
	s.winner[d.Key] = d.Nonce
	kept := *d
	kept.Seq = s.Delivered
	s.Inbox = append(s.Inbox, kept)
	switch s.Status {
	case durable.StatusPending, durable.StatusSuspended:
		if s.Due.IsZero() || d.Now.Before(s.Due) {
			s.Due = d.Now
		}
	case durable.StatusParked:
		if d.Kind == durable.DeliverVerb {
			s.Due = d.Now
		}
	}
	return nil
}

func (o oracle) Load(_ context.Context, id string, what durable.Load) (*durable.Record, error) {
	s := o[id]
	if s == nil {
		return nil, durable.ErrNotFound
	}
	rec := s.Record
	if what == durable.LoadHead {
		rec.Input, rec.Journal = nil, nil
	}
	return &rec, nil
}

func (o oracle) Due(_ context.Context, q *durable.DueQuery) (page durable.DuePage, err error) {
	var due []*sheet
	for _, s := range o {
		switch {
		case s.Definition != q.Definition || s.Version != q.Version || s.Due.IsZero():
		case !s.Due.After(q.Now):
			due = append(due, s)
		case s.Status != durable.StatusRunning && (page.Later.IsZero() || s.Due.Before(page.Later)):
			page.Later = s.Due
		}
	}
	slices.SortFunc(due, func(a, b *sheet) int {
		if !a.Due.Equal(b.Due) {
			return a.Due.Compare(b.Due)
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, s := range due {
		page.Entries = append(page.Entries, durable.DueEntry{ID: s.ID, At: s.Due, Running: s.Status == durable.StatusRunning})
	}
	return page, nil
}

func (o oracle) List(_ context.Context, q *durable.ListQuery) (page durable.ListPage, err error) {
	for _, s := range o {
		if q.Matches(&s.Head) {
			page.Heads = append(page.Heads, s.Head)
		}
	}
	slices.SortFunc(page.Heads, func(a, b durable.Head) int { return strings.Compare(a.ID, b.ID) })
	return page, nil
}

func (o oracle) Delete(_ context.Context, id string) error {
	s := o[id]
	switch {
	case s == nil:
		return durable.ErrNotFound
	case !s.Status.Ended():
		return durable.ErrNotEnded
	}
	delete(o, id)
	return nil
}
