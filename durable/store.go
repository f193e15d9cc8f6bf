package durable

import (
	"context"
	"slices"
	"time"
)

// Store is the port through which the engine keeps executions: one record
// each, changed by single atomic writes. Package storetest is its definition
// in code; an implementation that passes storetest.Run is a store.
//
// Every method is atomic on one record and safe for concurrent use. A Store
// holds no clock: arguments carry Now. Times in entries are kept to the
// microsecond, all others to the millisecond or finer, and a store that rounds
// Due or Lease rounds up, or pollers would find work that can't be claimed
// yet. When a write's answer is lost, the
// engine sends the same argument again, and the store must recognise its own
// earlier write (Create and Claim by Owner, Commit by Epoch and Seq, Deliver
// by Nonce) and answer as if it were the first time.
//
// An error that wraps none of this package's sentinels means "outcome
// unknown", and so does ErrStoreBroken: the engine repeats the call until it
// has an answer. ErrInvalid is an answer: the store will never take this.
type Store interface {
	// Create puts a record if its ID is free, else ErrExists. With c.First the
	// record is born claimed and its first commit lands in the same write.
	Create(ctx context.Context, c *Create) error

	// Claim takes ownership of a record that is due (or whose owner is proven
	// dead), raises its epoch and returns everything that replay needs.
	// ErrNotDue, ErrEnded, ErrNotFound.
	Claim(ctx context.Context, c *Claim) (*Record, error)

	// Commit is the only journal write. It returns the deliveries that the
	// owner has not seen, also when it recognises its own earlier write and
	// when it refuses with ErrUnseen. ErrFenced when the epoch or the sequence
	// is not the current one, ErrEnded on an ended record under its last epoch.
	Commit(ctx context.Context, c *Commit) (Receipt, error)

	// Deliver puts something from outside into the inbox. The first delivery
	// by Key wins; later ones get a *DeliveredError naming the winner; the
	// winner's own repeat gets nil. ErrNotFound, ErrEnded, ErrNotOpen,
	// ErrRevision, ErrInboxFull.
	Deliver(ctx context.Context, d *Delivery) error

	// Due lists executions of one definition version that are due by q.Now,
	// earliest first, and tells when the next one will be.
	Due(ctx context.Context, q *DueQuery) (DuePage, error)

	// Load reads a record: with LoadHead no journal and no input.
	// ErrNotFound.
	Load(ctx context.Context, id string, what Load) (*Record, error)

	// List pages through heads in order of ID.
	List(ctx context.Context, q *ListQuery) (ListPage, error)

	// Delete removes an ended record; ErrNotEnded otherwise, ErrNotFound. Its
	// ID may be used again only once no owner of its earlier life can still
	// have a write under way: a new record counts its epochs from 1 again.
	Delete(ctx context.Context, id string) error
}

// Create is the argument of Store.Create.
type Create struct {
	Identity
	Now   time.Time
	Owner string // nonce of this call: a repeat with the same one is the same write

	// Due is when a worker must look at the record first. Ignored with First.
	Due time.Time

	// First makes the record born claimed by Owner at epoch 1; First.Seq is 1.
	First *Commit
}

// Claim is the argument of Store.Claim.
type Claim struct {
	ID    string
	Owner string // nonce of this call: a repeat with the same one is the same claim
	Now   time.Time
	Lease time.Time // until when the claim holds unless a commit moves it
}

// Commit is the argument of Store.Commit: one batch of the journal and the
// state of the head after it.
type Commit struct {
	ID    string
	Epoch int64
	Seq   int64 // 1 for the first commit of a claim, then without gaps
	Now   time.Time

	Entries []Entry
	// Anew begins the journal anew with Entries: what stood there before is
	// dropped. Revision goes on counting.
	Anew bool

	// Seen says that all deliveries up to this sequence number are in the
	// journal with this batch. The store drops them from the inbox.
	Seen int64
	// IfSeen refuses the commit with ErrUnseen, changing nothing, when the
	// inbox holds a delivery after Seen (heartbeats apart).
	IfSeen bool

	// Open and Close name callback keys that begin and cease to accept
	// deliveries. A key that was won stays won.
	Open, Close []string

	// Status after this commit. StatusRunning keeps the claim; any other
	// value releases it.
	Status Status
	Detail string // custom status, kept by the head

	// Lease moves the lease of a running record; zero leaves lease and due.
	Lease time.Time
	// Due is when a record that is no longer running must be looked at; zero
	// is never. Ignored while running (then due is the lease). At the end it is
	// when the record may be deleted: Due lists it then, though nobody can
	// claim it. Else the store makes it Now when unseen deliveries are waiting;
	// for a record that parks, when one of them is a verb.
	Due time.Time

	// Progress sets the crash count back to zero.
	Progress bool

	Park   *Park  // with StatusParked: why
	Result []byte // with StatusSucceeded
	Error  *Error // with the other ended statuses
}

// Receipt is what a commit brings back.
type Receipt struct {
	Unseen []Delivery // deliveries after Commit.Seen, in order of arrival
}

// Delivery is something from outside an execution: a callback's result, a
// cancel, an operator's verb.
type Delivery struct {
	ID    string // of the execution
	Key   string // what it competes for: the first delivery by this key wins
	Nonce string // identifies this delivery: its own repeat succeeds
	Kind  DeliveryKind
	Now   time.Time

	Payload []byte
	Error   *Error
	Actor   string
	Reason  string

	// Revision, for a verb, is the Head.Revision on which it was decided;
	// ErrRevision when the record is not parked there any more.
	Revision int64

	// Seq is the place in the order of arrival, given by the store from 1.
	Seq int64
}

// DeliveryKind says what a delivery is, and so what it needs and wakes.
type DeliveryKind uint8

// The kinds of deliveries. The numbers are part of the stored form.
const (
	// DeliverCallback completes an open callback; its Key must be open.
	DeliverCallback DeliveryKind = 1
	// DeliverHeartbeat keeps an open callback alive: it replaces the last
	// one, takes no place in the inbox and wakes nobody.
	DeliverHeartbeat DeliveryKind = 2
	// DeliverCancel asks the execution to stop. There is always room for it.
	DeliverCancel DeliveryKind = 3
	// DeliverVerb is an operator's act on a parked execution. There is always
	// room for it, and it alone makes a parked record due.
	DeliverVerb DeliveryKind = 4
	// DeliverSignal brings a value. It needs nothing open; its Key is its own.
	DeliverSignal DeliveryKind = 5
)

// MaxInbox is the number of unseen deliveries that an execution holds; cancel
// and verbs have room beyond it.
const MaxInbox = 64

// DueQuery is the argument of Store.Due.
type DueQuery struct {
	Definition, Version string
	Now                 time.Time
	Limit               int    // at most this many; 0 is 100
	Cursor              string // Next of the page before
}

// DuePage is a page of executions that are due.
type DuePage struct {
	Entries []DueEntry
	Next    string // cursor of the next page; "" when this is the last
	// Later is when the next execution becomes due that waits for its time. One
	// that runs becomes due only if its owner dies, and is not meant: pollers
	// would look at the end of every lease, all at once. A hint for
	// pollers, zero when unknown or never.
	Later time.Time
}

// DueEntry is an execution of a DuePage.
type DueEntry struct {
	ID string
	At time.Time // when it became due, or will
	// Running: At is the end of a lease, so that its owner may just be late.
	Running bool
}

// IDs are those of the page's executions.
func (p *DuePage) IDs() []string {
	ids := make([]string, len(p.Entries))
	for i := range p.Entries {
		ids[i] = p.Entries[i].ID
	}
	return ids
}

// Roster is what a Store may be besides: it remembers of which definition
// versions there has ever been a host, for hosts that look for due work on behalf
// of others too.
type Roster interface {
	// Enrol adds definitions, each a name and a version, and returns all that
	// were ever added, ordered.
	Enrol(ctx context.Context, mine [][2]string) ([][2]string, error)
}

// Biller is what a Store may be besides: it counts what executions consume
// (Head.Usage). A store that wraps one passes it on.
type Biller interface {
	// Bills tells whether it does.
	Bills() bool
}

// Load says what Store.Load reads.
type Load uint8

// What Store.Load can read.
const (
	LoadHead Load = iota // the head and the inbox, without input and journal
	LoadAll
)

// ListQuery is the argument of Store.List. Empty fields match everything.
type ListQuery struct {
	Definition string
	Statuses   []Status
	Tags       map[string]string // all of them, with these values
	// From and To bound the time of creation: not before From, before To.
	From, To time.Time
	// EndedFrom and EndedTo bound the time of the end likewise. What has not ended
	// matches neither.
	EndedFrom, EndedTo time.Time
	Limit              int    // 0 is 100
	Cursor             string // Next of the page before
}

// Matches tells whether a head is one that the query asks for, cursor and
// limit apart.
func (q *ListQuery) Matches(h *Head) bool {
	for tag, v := range q.Tags {
		if have, ok := h.Tags[tag]; !ok || have != v {
			return false
		}
	}
	return (q.Definition == "" || q.Definition == h.Definition) &&
		(len(q.Statuses) == 0 || slices.Contains(q.Statuses, h.Status)) &&
		(q.From.IsZero() || !h.Created.Before(q.From)) &&
		(q.To.IsZero() || h.Created.Before(q.To)) &&
		(q.EndedFrom.IsZero() || h.Status.Ended() && !h.Ended.Before(q.EndedFrom)) &&
		(q.EndedTo.IsZero() || h.Status.Ended() && h.Ended.Before(q.EndedTo))
}

// ListPage is a page of heads in order of ID.
type ListPage struct {
	Heads []Head
	Next  string // "" when this is the last page
}
