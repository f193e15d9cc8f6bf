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

// Commit implements durable.Store: one write, either of the head or of a new
// item of the journal, and before it one PutItem for each payload that does
// not fit. A commit by a Store that has not made the claim, or the commit
// before, reads the head first.
func (s *Store) Commit(ctx context.Context, c *durable.Commit) (durable.Receipt, error) {
	ctx, spent := tallied(ctx)
	h, decided, err := s.turn(ctx, c, spent)
	for !decided && err == nil {
		var after, met *head
		if after, met, err = s.write(ctx, h, c); err != nil {
			break
		}
		if met == nil {
			after.inherit(h, spent.take())
			s.remember(after)
			return s.receipt(ctx, after, c, nil)
		}
		if met.creator != h.creator {
			err = durable.ErrFenced // another execution has the ID now
			break
		}
		met.inherit(h, spent.take())
		h = met
		decided, err = judgeCommit(h, c)
	}
	if errors.Is(err, durable.ErrFenced) || errors.Is(err, durable.ErrEnded) || errors.Is(err, durable.ErrNotFound) {
		s.forget(c.ID)
	}
	if h == nil {
		return durable.Receipt{}, err
	}
	return s.receipt(ctx, h, c, err)
}

// turn returns the head that a commit follows, or what is decided already.
func (s *Store) turn(ctx context.Context, c *durable.Commit, spent *tally) (h *head, decided bool, err error) {
	before := s.remembered(c.ID, c.Epoch, c.Seq-1)
	if before != nil && (!c.IfSeen || before.Delivered <= c.Seen) {
		return before, false, nil
	}
	// It is not known, or it will be refused: then a read is cheaper than a
	// failed write.
	if h, err = s.current(ctx, c.ID); err != nil {
		return nil, false, err
	}
	if h == nil {
		return nil, false, durable.ErrNotFound
	}
	if before != nil && before.creator == h.creator {
		h.inherit(before, spent.take())
	}
	decided, err = judgeCommit(h, c)
	return h, decided, err
}

// write sends a commit: as a record of its own, or with the head. A commit
// that is repeated under a head that others have changed meanwhile may go the
// other way than before, and land twice if the first attempt was only slow.
// Both are the same then, and stand one after the other: the second is no part
// of the history.
func (s *Store) write(ctx context.Context, h *head, c *durable.Commit) (after, refused *head, err error) {
	r := recordOf(c, h.position+1)
	if s.appends(h, c, &r) {
		return s.commitRecord(ctx, h, r)
	}
	w, err := s.writing(ctx, h, c, r)
	if err != nil {
		return nil, nil, err
	}
	return s.change(ctx, c.ID, w.update(h, c))
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
	record     []byte // for the journal in the head
	fresh      bool   // the journal in the head begins with it
	open       []string
	closed     []string
	drained    int      // how many deliveries leave the inbox
	spilled    []string // keys whose winners have left the head
	guarded    bool     // holds only while no more is delivered
}

// writing puts into items of their own what does not fit into the head, and
// returns the rest.
func (s *Store) writing(ctx context.Context, h *head, c *durable.Commit, r record) (*writing, error) {
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
	if err := s.writeJournal(ctx, w, h, c, r); err != nil {
		return nil, err
	}
	if err := s.spillWinners(ctx, w, h); err != nil {
		return nil, err
	}
	b := w.bill(h, c)
	b.before = h.used
	b.before.Add(spentSoFar(ctx))
	w.attributes[aUsage] = asBytes(b.encode())
	return w, nil
}

// bill is what the write costs in the indexes, and what follows from it.
func (w *writing) bill(h *head, c *durable.Commit) bill {
	b := bill{epoch: c.Epoch, delivered: h.Delivered}
	due, moved := w.attributes[aDue]
	switch {
	case !moved || due == nil && h.dueKey == "":
	case due == nil || h.dueKey == "":
		b.index = 1
	default:
		b.index = indexMove
	}
	if c.Status == durable.StatusRunning || c.Status.Ended() {
		return b
	}
	if b.wake = 1; due != nil {
		b.wake = indexMove
	}
	if c.Status == durable.StatusParked {
		b.index++ // attention
	}
	return b
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
	w.attributes[aOwner], w.attributes[aDue] = released(h), nil
	if !c.Due.IsZero() {
		w.attributes[aDue] = text(dueKey(c.Due, c.ID))
	}
	if c.Status.Ended() {
		w.attributes[aOpen], w.attributes[aEnded] = nil, milli(c.Now)
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
	if w.guarded = !c.IfSeen; h.waits(c.Seen, c.Status) {
		w.attributes[aDue] = text(dueKey(c.Now, c.ID))
	}
}

// released is what is kept of the owner: its host, and that only if it is not
// the one that the creator's nonce names.
func released(h *head) value {
	host := durable.HostOf(h.Owner)
	if host == durable.HostOf(h.creator) {
		return nil
	}
	return text("@" + host)
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

// How a head grows.
const (
	// roomyHead is the size up to which a head takes the records of commits
	// along that need not write it. Beyond, each write of the head would pay
	// for a further kilobyte of what is there already.
	roomyHead = 640
	// inlineHead is the size beyond which the journal in the head moves out.
	inlineHead = 2 << 10
	// leastMove is the least journal worth an item of its own.
	leastMove = 768
	// largeBatch is a batch that no head should carry along.
	largeBatch = 1 << 10
	// endHead is the size up to which the last write takes everything along:
	// nobody will pay for that head again.
	endHead = 32 << 10
)

// writeJournal adds the record to the head, and moves what is there out when
// the head gets large. What moves out is published already, so that its item
// may be there before the head forgets it.
func (s *Store) writeJournal(ctx context.Context, w *writing, h *head, c *durable.Commit, r record) (err error) {
	limit := largeBatch
	if c.Status.Ended() {
		limit = endHead
	}
	if r.entries > 0 || r.anew {
		if len(r.batch) > limit {
			if r, err = s.outside(ctx, h, r); err != nil {
				return err
			}
		}
		w.record = r.encode(nil)
		w.attributes[aRevision] = number(h.Revision + r.entries)
		w.attributes[aPosition] = number(r.position)
	} else if h.position > 0 {
		w.attributes[aPosition] = number(h.position) // of what was appended since
		w.attributes[aRevision] = number(h.Revision)
	}
	if r.anew { // what it drops moves nowhere
		w.fresh = true
		w.attributes[aBase], w.attributes[aBaseRev] = number(h.position), number(h.Revision)
		return nil
	}
	inline := 0
	for i := range h.journal {
		inline += len(h.journal[i].batch)
	}
	if c.Status.Ended() || h.size+len(w.record) <= inlineHead || inline < leastMove {
		return nil
	}
	w.fresh = true
	return s.put(ctx, recordItem(h, h.journal...))
}

// update is the write, on the condition that the claim is held and this is its
// next commit.
func (w *writing) update(h *head, c *durable.Commit) *update {
	u := &update{}
	u.where(aEpoch, "=", number(c.Epoch))
	u.where(aSeq, "=", number(h.headSeq))
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
	case w.fresh && w.record == nil:
		u.set(aJournal, list())
	case w.fresh:
		u.set(aJournal, list(asBytes(w.record)))
	case w.record != nil:
		u.appendTo(aJournal, asBytes(w.record))
	}
	for i := w.drained - 1; i >= 0; i-- { // backwards: some servers count anew after each
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
	if w.record != nil {
		m[aJournal] = list(asBytes(w.record))
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
