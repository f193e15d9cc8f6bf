package durable

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure an Engine. The zero value works; zero fields take the
// defaults named with them.
type Options struct {
	// Concurrency bounds the executions that run code here at once. Default 64.
	Concurrency int
	// MaxHot bounds the executions that stay in memory during a short wait.
	// Default 1,000.
	MaxHot int
	// HotWait is the longest wait that stays in memory. Default 2 s; negative
	// is none.
	HotWait time.Duration

	// Lease is how long a claim lives without a write, and so how long a
	// takeover takes where death cannot be proven. Default 30 s.
	Lease time.Duration
	// MaxSkew is the greatest difference between the clocks of two hosts.
	// Default 1 s.
	MaxSkew time.Duration
	// InboxCheck is how often a running step looks for deliveries from other
	// processes; each look is a read. Default 2 s.
	InboxCheck time.Duration
	// Volatile is how long a completion may stay unwritten while no other
	// write takes it along. Default 20 ms.
	Volatile time.Duration
	// StoreTimeout bounds one try of a store call; writes are repeated.
	// Default 10 s.
	StoreTimeout time.Duration

	// PauseCheck is how old what this engine knows of a pause of a definition
	// may be (see Engine.Pause). Each look is a read, by what starts or unwinds
	// only. Default 10 s.
	PauseCheck time.Duration

	// PollMin and PollMax bound the adaptive, jittered pause between two looks
	// for due work. Default 50 ms and 1 s.
	PollMin, PollMax time.Duration
	// DrainTimeout is how long Run lets steps finish once its context has
	// ended; then their contexts end. Default 20 s.
	DrainTimeout time.Duration

	// CrashesToAlone and CrashesToPark: after so many crashes in a row without
	// a result an execution runs with no other beside it, or parks. Default 3
	// and 6.
	CrashesToAlone, CrashesToPark int

	// MaxPayload bounds inputs, results and errors' data, in bytes. Default 8 MB.
	MaxPayload int
	// MaxOperations bounds the operations of one execution. Default 100,000.
	MaxOperations int

	// Until is when this host ends, if that is known from its beginning, as an
	// invocation of AWS Lambda knows its deadline; zero is never. Leases then
	// last 5 s longer and are never moved, and no attempt starts whose timeout
	// does not end Reserve before it: the execution is handed over instead.
	Until time.Time
	// Reserve is what Until leaves for bodies that are late, for the last writes
	// and for whatever else the host has to do. Default 2 s, with Until only.
	Reserve time.Duration
	// Host names the host in Head.Owner (see HostOf), at most 32 bytes: what an
	// execution is to return to.
	Host string

	// BaseContext lends its values to the contexts of handlers and bodies. Its
	// end means nothing to them: a host that stops must not make steps fail.
	// Default context.Background().
	BaseContext context.Context

	// Observer is told what the engine does; none by default.
	Observer Observer

	// Logger receives what an operator should know; silent by default. Keys
	// are execution, definition, step, attempt.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{
		{"Concurrency", &o.Concurrency, 64}, {"MaxHot", &o.MaxHot, 1000},
		{"CrashesToAlone", &o.CrashesToAlone, 3}, {"CrashesToPark", &o.CrashesToPark, 6},
		{"MaxPayload", &o.MaxPayload, 8 << 20}, {"MaxOperations", &o.MaxOperations, 100_000},
	} {
		if *f.v < 0 {
			return o, fmt.Errorf("%w: Options.%s is %d", ErrInvalid, f.name, *f.v)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	for _, f := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"Lease", &o.Lease, 30 * time.Second}, {"MaxSkew", &o.MaxSkew, time.Second},
		{"InboxCheck", &o.InboxCheck, 2 * time.Second}, {"Volatile", &o.Volatile, 20 * time.Millisecond},
		{"StoreTimeout", &o.StoreTimeout, 10 * time.Second}, {"PollMin", &o.PollMin, 50 * time.Millisecond},
		{"PollMax", &o.PollMax, time.Second}, {"DrainTimeout", &o.DrainTimeout, 20 * time.Second},
		{"PauseCheck", &o.PauseCheck, 10 * time.Second}, {"Reserve", &o.Reserve, 2 * time.Second},
	} {
		if *f.v < 0 {
			return o, fmt.Errorf("%w: Options.%s is %v", ErrInvalid, f.name, *f.v)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if o.BaseContext == nil {
		o.BaseContext = context.Background()
	}
	if o.HotWait == 0 {
		o.HotWait = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.Level(127)}))
	}
	if !o.Until.IsZero() {
		o.DrainTimeout = min(o.DrainTimeout, o.Reserve/4)
	}
	if len(o.Host) > 32 || strings.Contains(o.Host, "@") {
		return o, fmt.Errorf("%w: Options.Host is %.40q: at most 32 bytes, without @", ErrInvalid, o.Host)
	}
	o.PollMax = max(o.PollMax, o.PollMin)
	return o, nil
}

// Engine runs definitions over a store. Without Run it starts, watches and
// operates executions that other processes run; with Run it is a worker too.
// It is safe for concurrent use.
type Engine struct {
	store Store
	opts  Options
	id    string
	made  time.Time
	count atomic.Int64

	slots     chan struct{} // one per execution that runs code
	aloneTurn chan struct{} // held by the one that wants all slots
	hot       chan struct{}
	draining  chan struct{}   // closed when Run begins to end
	hard      context.Context // ends when nothing may be waited for any more
	hardStop  context.CancelFunc
	bodies    context.Context // parent of the bodies' contexts
	bodyStop  context.CancelCauseFunc
	values    context.Context // parent of the handlers' contexts
	pauses    pauses
	wg        sync.WaitGroup // activations
	code      sync.WaitGroup // bodies

	mu      sync.Mutex
	defs    map[string]*definition // by name@version
	order   []*definition
	running bool
	active  map[string]*activation // nil while being claimed
	watched map[string]*watch
	outage  outage
	reach   int                  // how many executions a look claims, at most
	rivals  atomic.Bool          // somebody else was quicker since the last look
	skip    map[string]time.Time // executions that could not be claimed, and until when
	backlog bool                 // due work was left for lack of slots
	wanted  time.Time            // when somebody wants the poller to look, since its last look began
	retime  chan struct{}        // signals that wanted has come nearer
	lastErr error
	lastAt  time.Time
}

// New returns an engine over a store.
func New(store Store, opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		store: store, opts: opts, id: newID(), made: now(),
		slots: make(chan struct{}, opts.Concurrency), aloneTurn: make(chan struct{}, 1),
		hot: make(chan struct{}, opts.MaxHot), draining: make(chan struct{}), retime: make(chan struct{}, 1),
		defs: map[string]*definition{}, active: map[string]*activation{}, watched: map[string]*watch{}, skip: map[string]time.Time{}, reach: min(opts.Concurrency, firstReach),
		values: context.WithoutCancel(opts.BaseContext),
	}
	e.hard, e.hardStop = context.WithCancel(context.Background())
	e.bodies, e.bodyStop = context.WithCancelCause(e.values)
	return e, nil
}

// firstReach is how many executions the first look of an engine claims: others
// may have been started at the same time.
const firstReach = 8

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

// ID is the engine's own, the first part of the owner nonces of its claims.
func (e *Engine) ID() string { return e.id }

// Store returns the store that the engine runs over, for reading.
func (e *Engine) Store() Store { return e.store }

func (e *Engine) nonce() string {
	n := e.id + "/" + strconv.FormatInt(e.count.Add(1), 36)
	if e.opts.Host != "" {
		n += "@" + e.opts.Host
	}
	return n
}

// Register makes definitions known, so that this engine can start them and,
// in Run, serves them: several versions of a name may stand side by side.
// A name and version that are taken by another definition are ErrInvalid.
func (e *Engine) Register(defs ...Registrable) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range defs {
		d := r.registration()
		key := d.name + "@" + d.version
		known := e.defs[key]
		if err := reserved(d.name); err != nil {
			return err
		}
		switch {
		case d.name == "" || d.version == "" || len(key) > MaxNameLength:
			return fmt.Errorf("%w: definition %q version %q: both are needed, together at most %d bytes", ErrInvalid, d.name, d.version, MaxNameLength)
		case d.noExecutions != "":
			return fmt.Errorf("%w: %s cannot be registered: %s", ErrInvalid, key, d.noExecutions)
		case known != nil && known != d:
			return fmt.Errorf("%w: %s is registered already, by another definition: change its version", ErrInvalid, key)
		case known == nil:
			e.defs[key] = d
			e.order = append(e.order, d)
		}
	}
	return nil
}

// start is Definition.Start with its types erased. It returns the activation
// when the execution runs here.
func (e *Engine) start(ctx context.Context, def *definition, id string, input []byte, o *startOptions) (*activation, error) {
	if id == "" || len(id) > MaxNameLength {
		return nil, fmt.Errorf("%w: an execution ID has 1 to %d bytes, this one %d", ErrInvalid, MaxNameLength, len(id))
	}
	if strings.ContainsRune(id, 0) {
		return nil, fmt.Errorf("%w: an execution ID has no NUL byte", ErrInvalid)
	}
	if err := reserved(id); err != nil {
		return nil, err
	}
	e.mu.Lock()
	registered := e.defs[def.name+"@"+def.version] == def
	e.mu.Unlock()
	if !registered {
		return nil, fmt.Errorf("%w: %s@%s: call Engine.Register first", ErrUnknownDefinition, def.name, def.version)
	}
	if err := e.mayStart(ctx, def.name, id); err != nil {
		return nil, err
	}
	at := now()
	identity := Identity{ID: id, Definition: def.name, Version: def.version, Fingerprint: def.fingerprint,
		Input: input, Digest: digest(id, input), Created: at, Tags: o.tags, Retention: o.retention, Trace: o.trace}
	if identity.Trace == nil && e.opts.Observer != nil {
		identity.Trace = e.startedBy(ctx, &identity, nil)
	}
	due := at.Add(o.delay)
	if def.timeout > 0 {
		identity.Deadline = due.Add(def.timeout)
	}
	a, err := e.create(ctx, def, identity, due)
	if errors.Is(err, ErrExists) {
		return nil, e.compare(ctx, identity)
	}
	return a, err
}

// create puts the record, to be run from due on: born claimed when that is now
// and there is room to run it here. def is nil when this engine does not have
// the definition.
func (e *Engine) create(ctx context.Context, def *definition, id Identity, due time.Time) (*activation, error) {
	if a := e.tryBear(def, id, due); a != nil {
		select {
		case err := <-a.born:
			if err == nil {
				return a, nil
			}
			select {
			case <-a.gone: // it would stand in the way of a Resume
			case <-ctx.Done():
			}
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	c := &Create{Identity: id, Now: id.Created, Owner: e.nonce(), Due: due}
	err := e.insist(ctx, func(ctx context.Context) error { return e.store.Create(ctx, c) })
	if err == nil {
		e.kick(due)
		e.started(ctx, &id)
	}
	return nil, err
}

// tryBear starts to run a new execution here, if there is room.
func (e *Engine) tryBear(def *definition, id Identity, due time.Time) *activation {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, here := e.active[id.ID]; here || !e.running || e.isDraining() || def == nil || due.After(id.Created) {
		return nil
	}
	select {
	case e.slots <- struct{}{}:
	default:
		return nil
	}
	a := e.bear(def, id)
	e.active[id.ID] = a
	e.wg.Add(1)
	go e.drive(a)
	return a
}

// compare tells whether the execution that has an ID is the one that was
// meant.
func (e *Engine) compare(ctx context.Context, want Identity) error {
	var rec *Record
	err := e.insist(ctx, func(ctx context.Context) (err error) {
		rec, err = e.store.Load(ctx, want.ID, LoadHead)
		return err
	})
	if err != nil {
		return err
	}
	if rec.Definition != want.Definition || !bytes.Equal(rec.Digest, want.Digest) {
		return &ExistsError{ID: want.ID, Definition: rec.Definition, Have: hex.EncodeToString(rec.Digest), Want: hex.EncodeToString(want.Digest)}
	}
	return nil
}

// insist repeats a store call until its outcome is known, the store needs a
// person, or the caller gives up.
func (e *Engine) insist(ctx context.Context, call func(context.Context) error) error {
	for n := 0; ; n++ {
		try, cancel := context.WithTimeout(ctx, e.opts.StoreTimeout)
		err := call(try)
		cancel()
		if err == nil || settled(err) || errors.Is(err, ErrStoreBroken) {
			return err
		}
		select {
		case <-time.After(e.storeBackoff(n)):
		case <-ctx.Done():
			return fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
		}
	}
}

// trouble remembers what the store last failed with, for Health.
func (e *Engine) trouble(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastErr, e.lastAt = err, now()
}

// Health returns the last error of a write that is being repeated because the
// store did not take it, if that was within the last d; else nil.
func (e *Engine) Health(d time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lastErr == nil || now().Sub(e.lastAt) > d {
		return nil
	}
	return e.lastErr
}

func (e *Engine) isDraining() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

// enterHot gives the slot of an execution away while it waits in memory.
func (e *Engine) enterHot() bool {
	select {
	case e.hot <- struct{}{}:
		<-e.slots
		e.freed()
		return true
	default:
		return false
	}
}
