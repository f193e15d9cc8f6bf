package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/clewdev/clew/durable"
)

// Commit implements durable.Store: one UpdateItem, and before it one PutItem
// for each segment or payload that does not fit into the head. A commit by a
// Store that has not made the claim, or the commit before, reads the head
// first.
func (s *Store) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	h := s.remembered(c.ID, c.Epoch, c.Seq-1)
	if h != nil && c.IfSeen && h.Delivered > c.Seen {
		h = nil // it will be refused: a read is cheaper than a failed write
	}
	if h == nil {
		var err error
		if h, err = s.read(ctx, c.ID); err != nil {
			return durable.Receipt{}, err
		}
		if h == nil {
			return durable.Receipt{}, durable.ErrNotFound
		}
		if decided, err := judgeCommit(h, c); decided {
			return s.receipt(ctx, h, c, err)
		}
	}
	for {
		w, err := s.writing(ctx, h, c)
		if err != nil {
			return durable.Receipt{}, err
		}
		after, old, err := s.change(ctx, c.ID, w.update(h, c))
		if err == nil && old == nil {
			s.remember(after)
			return s.receipt(ctx, after, c, nil)
		}
		if err != nil {
			if errors.Is(err, durable.ErrNotFound) {
				s.forget(c.ID)
			}
			return durable.Receipt{}, err
		}
		if old.creator != h.creator {
			s.forget(c.ID)
			return durable.Receipt{}, durable.ErrFenced // another execution has the ID now
		}
		if decided, err := judgeCommit(old, c); decided {
			if errors.Is(err, durable.ErrFenced) || errors.Is(err, durable.ErrEnded) {
				s.forget(c.ID)
			}
			return s.receipt(ctx, old, c, err)
		}
		h = old // something was delivered meanwhile
	}
}

// judgeCommit tells what becomes of a commit that meets this head, unless it
// is to be written.
func judgeCommit(h *head, c *durable.Commit) (decided bool, err error) {
	current := c.Epoch == h.Epoch
	switch {
	case current && c.Seq == h.Seq && c.Seq > 0:
		return true, nil // our own earlier write, whatever it made of the record
	case !current && h.Status.Ended():
		return true, fmt.Errorf("%w, and %w", durable.ErrFenced, durable.ErrEnded)
	case h.Status.Ended():
		return true, durable.ErrEnded
	case !current || c.Seq != h.Seq+1 || h.Status != durable.StatusRunning:
		return true, durable.ErrFenced
	case c.IfSeen && h.Delivered > c.Seen:
		return true, durable.ErrUnseen
	}
	return false, nil
}

// receipt tells what is unseen in a head, with the commit's own error.
func (s *Store) receipt(ctx context.Context, h *head, c *durable.Commit, err error) (r durable.Receipt, _ error) {
	if err != nil && !errors.Is(err, durable.ErrUnseen) {
		return r, err
	}
	var failed error
	if r.Unseen, failed = s.inbox(ctx, h, c.Seen); failed != nil {
		return r, s.torn(ctx, h, failed)
	}
	return r, err
}

// writing is what a commit writes into the head: attributes that it sets, nil
// to remove them.
type writing struct {
	attributes item
	batch      []byte // for the journal of the head
	anew       bool   // the journal of the head begins with it
	open       []string
	closed     []string
	drained    int      // how many deliveries leave the inbox
	spilled    []string // keys whose winners have left the head
	guarded    bool     // holds only while no more is delivered
}

// writing puts into items of their own what does not fit into the head, and
// returns the rest.
func (s *Store) writing(ctx context.Context, h *head, c *durable.Commit) (*writing, error) {
	w := &writing{attributes: item{aSeq: number(c.Seq)}, closed: c.Close}
	for _, key := range c.Open {
		if !slices.Contains(c.Close, key) && !slices.Contains(w.open, key) {
			w.open = append(w.open, key)
		}
	}
	if c.Seen > h.Seen {
		w.drained = int(c.Seen - h.Seen) // h may be older than the last delivery
		w.attributes[aSeen] = number(c.Seen)
	}
	w.status(h, c)
	if err := s.writeState(ctx, w, h, c); err != nil {
		return nil, err
	}
	if err := s.writeJournal(ctx, w, h, c); err != nil {
		return nil, err
	}
	return w, s.spillWinners(ctx, w, h)
}

// status sets what follows from the status: due, the claim, and what the next
// claim will find.
func (w *writing) status(h *head, c *durable.Commit) {
	if c.Progress {
		w.attributes[aCrashes] = number(0)
	}
	if c.Status == durable.StatusRunning {
		if c.Progress {
			w.attributes[aNextCrashes] = number(1)
		}
		if !c.Lease.IsZero() {
			w.attributes[aDue] = text(dueKey(c.Lease, c.ID))
		}
		return
	}
	w.attributes[aStatus] = number(int64(c.Status))
	w.attributes[aOwner] = nil
	if c.Status.Ended() {
		w.attributes[aDue], w.attributes[aOpen] = nil, nil
		w.attributes[aEnded] = milli(c.Now)
		return
	}
	// The activation is over. The epochs up to it are safe if those before it
	// were; the next claim, which cannot compute, takes it from here.
	safe := h.SafeEpoch
	if safe >= c.Epoch-1 {
		safe = c.Epoch
	}
	w.attributes[aNextSafe] = number(safe)
	w.attributes[aNextCrashes] = number(int64(h.Crashes))
	if c.Progress {
		w.attributes[aNextCrashes] = number(0)
	}
	if c.Status == durable.StatusParked {
		w.attributes[aAttention] = text(attentionShard(h.partition))
	}
	due := c.Due
	if w.guarded = !c.IfSeen; h.waits(c.Seen, c.Status) {
		due = c.Now
	}
	w.attributes[aDue] = nil
	if !due.IsZero() {
		w.attributes[aDue] = text(dueKey(due, c.ID))
	}
}

// attentionShard is the number at the end of a due partition.
func attentionShard(partition string) string {
	return partition[strings.LastIndexByte(partition, '#')+1:]
}

// writeState writes what the commit says of the head anew.
func (s *Store) writeState(ctx context.Context, w *writing, h *head, c *durable.Commit) error {
	park, err := toJSON(c.Park)
	failed, err2 := toJSON(c.Error)
	if err = firstOf(err, err2); err != nil {
		return err
	}
	for _, f := range []struct {
		name   string
		bytes  []byte
		limit  int
		inline func([]byte) value
		there  bool
	}{
		{aDetail, []byte(c.Detail), inlineState, asText, h.detail != nil},
		{aPark, park, inlineState, asText, h.park != nil},
		{aResult, c.Result, inlineEnd, asBytes, h.result != nil},
		{aError, failed, inlineEnd, asText, h.failure != nil},
	} {
		v, err := s.spill(ctx, c.ID, h.creator, f.bytes, f.limit, f.inline)
		if err != nil {
			return err
		}
		if v != nil || f.there {
			w.attributes[f.name] = v
		}
	}
	return nil
}

// writeJournal adds the batch to the head, or to a segment.
func (s *Store) writeJournal(ctx context.Context, w *writing, h *head, c *durable.Commit) error {
	if len(c.Entries) == 0 {
		return nil
	}
	w.attributes[aRevision] = number(h.Revision + int64(len(c.Entries)))
	w.batch = durable.EncodeEntries(c.Entries)
	var move [][]byte
	old, batchToo := h.plan(w.batch, c.Status.Ended())
	if old {
		move = h.journal
	}
	if batchToo {
		move = append(slices.Clip(move), w.batch)
		w.batch = nil
	}
	if len(move) == 0 {
		return nil
	}
	sk, err := s.putSegment(ctx, h, c.Epoch, move)
	w.attributes[aSegment], w.anew = text(sk), true
	return err
}

// update is the write, on the condition that the claim is held and this is its
// next commit.
func (w *writing) update(h *head, c *durable.Commit) *update {
	u := &update{}
	u.where(aEpoch, "=", number(c.Epoch))
	u.where(aSeq, "=", number(c.Seq-1))
	u.where(aStatus, "=", number(int64(durable.StatusRunning)))
	u.where(aCreator, "=", text(h.creator))
	switch {
	case c.IfSeen:
		u.where(aDelivered, "<=", number(c.Seen))
	case w.guarded:
		u.where(aDelivered, "=", number(h.Delivered))
	}
	// In order, so that the same kind of commit is the same text each time.
	for _, name := range slices.Sorted(maps.Keys(w.attributes)) {
		if v := w.attributes[name]; v == nil {
			u.remove(name)
		} else {
			u.set(name, v)
		}
	}
	switch {
	case w.anew && w.batch == nil:
		u.set(aJournal, list())
	case w.anew:
		u.set(aJournal, list(asBytes(w.batch)))
	case w.batch != nil:
		u.appendTo(aJournal, asBytes(w.batch))
	}
	for i := range w.drained {
		u.removes = append(u.removes, u.path(aInbox)+"["+strconv.Itoa(i)+"]")
	}
	for _, key := range w.spilled {
		u.removes = append(u.removes, u.entry(aWinners, key))
	}
	if !c.Status.Ended() {
		w.keys(u, h)
	}
	return u
}

// mostKeys is how many keys an expression names one by one; its text may not
// exceed 4 KB.
const mostKeys = 100

// keys opens and closes callback keys. One that is open stays as it is. Many
// at once replace the whole map, if no heartbeat comes between.
func (w *writing) keys(u *update, h *head) {
	if len(w.open)+len(w.closed) > mostKeys {
		u.where(aOpen, "=", mapping(openKeys(h.open)))
		open := maps.Clone(h.open)
		for _, key := range w.open {
			open[key] = h.open[key]
		}
		for _, key := range w.closed {
			delete(open, key)
		}
		u.set(aOpen, mapping(openKeys(open)))
		return
	}
	for _, key := range w.open {
		if _, open := h.open[key]; !open {
			u.assign(u.entry(aOpen, key), u.value(number(0)))
		}
	}
	for _, key := range w.closed {
		if _, open := h.open[key]; open {
			u.removes = append(u.removes, u.entry(aOpen, key))
		}
	}
}

func openKeys(open map[string]int64) item {
	m := item{}
	for key, ms := range open {
		m[key] = number(ms)
	}
	return m
}

// apply is update for an item that is not in the table yet.
func (w *writing) apply(m item) {
	for name, v := range w.attributes {
		if v == nil {
			delete(m, name)
		} else {
			m[name] = v
		}
	}
	if w.batch != nil {
		m[aJournal] = list(asBytes(w.batch))
	}
	if _, there := m[aOpen]; !there {
		return
	}
	open := map[string]int64{}
	for _, key := range w.open {
		open[key] = 0
	}
	m[aOpen] = mapping(openKeys(open))
}
