package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// batch is a Parallel or Map on its way.
type batch[T any] struct {
	*contextOptions
	sub, branchSub string
	n              int
	run            func(c *Context, i int) (T, error)
	in             *Context // inside
	labels         []string // of branches, in paths

	// Guarded by the activation's mutex.
	next              int
	working           int // strands
	succeeded, failed int
	reason            CompletionReason // "" while undecided
	outcomes          map[int]*outcome // flat: of branches that have ended
}

// outcome is a flat branch's end in its stored form.
type outcome struct {
	Index   int             `json:"i"`
	Result  json.RawMessage `json:"v,omitempty"`
	Encoded []byte          `json:"b,omitempty"` // Result of a codec
	Error   *Error          `json:"e,omitempty"`
}

// summary is the result of a batch as it is stored.
type summary struct {
	Total     int              `json:"totalCount"`
	Succeeded int              `json:"successCount"`
	Failed    int              `json:"failureCount"`
	Reason    CompletionReason `json:"completionReason"`
	Items     []*outcome       `json:"items,omitempty"` // flat
}

func runBatch[T any](ctx *Context, b *batch[T], name string) (*Batch[T], error) {
	if err := b.batch.check(name); err != nil {
		return nil, err
	}
	if most := ctx.a.eng.opts.MaxOperations; b.n > most {
		return nil, Permanent(fmt.Errorf("%w: %q has %d branches, the limit is %d operations", ErrTooManyOperations, name, b.n, most))
	}
	if err := b.name(name); err != nil {
		return nil, err
	}
	b.outcomes = map[int]*outcome{}
	k, err := ctx.begin(OpContext, b.sub, name, 0)
	if err != nil {
		return nil, err
	}
	defer k.end()
	k.open()
	if !k.ended() {
		b.in = k.inside(scopeID{parent: k.op.num})
		b.work()
		k.freeInside()
		if err := b.close(k); err != nil {
			return nil, err
		}
	}
	if err := k.failure(); err != nil {
		return nil, err
	}
	return b.outcome(k)
}

// name checks the names of branches, and makes of them what stands in paths.
func (b *batch[T]) name(name string) error {
	b.labels = make([]string, b.n)
	uses := map[string]int{}
	for i := range b.n {
		label := b.nameOf(i)
		if len(label) > MaxNameLength {
			return Permanent(fmt.Errorf("%w: the name of branch %d of %q has %d bytes, the limit is %d", ErrInvalid, i, name, len(label), MaxNameLength))
		}
		uses[label]++
		b.labels[i] = escape(label)
		if label == "" {
			b.labels[i] = "#" + strconv.Itoa(i+1)
		} else if n := uses[label]; n > 1 {
			b.labels[i] += "#" + strconv.Itoa(n)
		}
	}
	return nil
}

func (b *batch[T]) nameOf(i int) string {
	if b.batch.itemName == nil {
		return ""
	}
	return b.batch.itemName(i)
}

// work runs the branches, and returns when the batch is decided, or cancelled,
// and none of their code runs any more.
func (b *batch[T]) work() {
	st, a := b.in.st, b.in.a
	a.mu.Lock()
	for i := 0; !b.batch.flat && i < b.n; i++ {
		if op := a.journal.byID[opID{b.in.scope.id, int64(i + 1)}]; op != nil && op.done {
			b.count(op.end == EntryResult, op.end == EntryFailure)
		}
	}
	if b.reason = b.verdict(); b.reason == "" {
		b.succeeded, b.failed = 0, 0 // they are counted as strands come past them
	}
	workers := b.n
	if b.batch.concurrency != nil {
		workers = min(workers, *b.batch.concurrency)
	}
	if b.reason != "" {
		workers = 0
	}
	b.working = workers
	a.mu.Unlock()
	kids := make([]*strand, 0, workers)
	for range workers {
		kids = append(kids, st.spawn(b.strand))
	}
	st.await(func() bool { return b.working == 0 || b.reason != "" }, time.Time{})
	a.mu.Lock()
	for _, kid := range kids {
		kid.stop()
	}
	a.mu.Unlock()
	st.rest()
	defer st.resume()
	join(kids)
}

// strand runs one branch after the other.
func (b *batch[T]) strand(st *strand) {
	a := st.a
	for {
		i, ok := b.take()
		if !ok {
			break
		}
		in := *b.in
		in.st = st
		ok, failed := b.branch(&in, i)
		a.mu.Lock()
		if b.reason == "" {
			b.count(ok, failed)
			b.reason = b.verdict()
		}
		a.mu.Unlock()
	}
	a.mu.Lock()
	b.working--
	a.mu.Unlock()
}

// take returns the next branch to run. Once the execution was asked to stop,
// only those go on that have begun.
func (b *batch[T]) take() (int, bool) {
	a := b.in.a
	a.mu.Lock()
	defer a.mu.Unlock()
	for b.next < b.n && b.reason == "" {
		i := b.next
		b.next++
		if b.in.reached() == nil || b.begun(i) {
			return i, true
		}
	}
	return 0, false
}

// begun tells whether the journal has something of a branch. a.mu is held.
func (b *batch[T]) begun(i int) bool {
	j, id := &b.in.a.journal, b.in.scope.id
	if b.batch.flat {
		id.branch = int64(i + 1)
		return j.counts[id] > 0
	}
	return j.byID[opID{id, int64(i + 1)}] != nil
}

// count takes in the end of a branch. a.mu is held.
func (b *batch[T]) count(ok, failed bool) {
	if ok {
		b.succeeded++
	}
	if failed {
		b.failed++
	}
}

// verdict tells why the batch is over, if it is. a.mu is held.
func (b *batch[T]) verdict() CompletionReason {
	o := &b.batch
	switch {
	case o.minSuccessful != nil && b.succeeded >= *o.minSuccessful:
		return MinSuccessfulReached
	case o.tolerated != nil && b.failed > *o.tolerated,
		o.percentage != nil && float64(b.failed)*100 > *o.percentage*float64(b.n):
		return FailureToleranceExceeded
	}
	return ""
}

// branch runs one branch, and tells how it ended; neither when it was
// cancelled.
func (b *batch[T]) branch(in *Context, i int) (ok, failed bool) {
	if b.batch.flat {
		return b.flatBranch(in, i)
	}
	k := &call{c: in, typ: OpContext, sub: b.branchSub, name: b.nameOf(i), path: b.in.scope.path + b.labels[i], room: true}
	k.id = opID{b.in.scope.id, int64(i + 1)}
	if err := k.locate(); err != nil {
		return false, true
	}
	k.open()
	_, err := runContext(k, b.codec, func(c *Context) (T, error) { return b.run(c, i) })
	return err == nil, err != nil && !errors.Is(err, ErrCancelled)
}

// flatBranch is branch without a context of its own.
func (b *batch[T]) flatBranch(in *Context, i int) (ok, failed bool) {
	a, id := in.a, in.scope.id
	id.branch = int64(i + 1)
	in.scope = a.newScope(id, b.in.scope.path+b.labels[i]+"/")
	v, err := b.run(in, i)
	in.st.joinStarted(in.scope)
	out := &outcome{Index: i}
	var payload []byte
	if err == nil {
		payload, err = encodeWith(b.codec, v, a.eng.opts.MaxPayload)
	}
	switch out.Error = toStored(err); {
	case b.codec != nil:
		out.Encoded = payload
	default:
		out.Result = payload
	}
	if bug := a.unconsumed(in.scope); bug != nil && !in.st.over() {
		in.st.parkAndExit(a.bug(ParkNondeterminism, in.scope.path, bug))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(err, ErrCancelled) && b.in.reached() != nil {
		return false, false
	}
	if b.reason == "" {
		b.outcomes[i] = out
	}
	return err == nil, err != nil
}

// close records how the batch ended. It returns an error only when the
// activation is over for this code.
func (b *batch[T]) close(k *call) error {
	a := k.c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.halted != nil || k.c.st.stopped {
		return ErrSuspended
	}
	s := summary{Succeeded: b.succeeded, Failed: b.failed, Reason: b.reason}
	if s.Reason == "" {
		if b.succeeded+b.failed < b.n {
			k.record(k.entry(EntryCancel))
			return nil
		}
		s.Reason = AllCompleted
	}
	for i := range b.n {
		switch {
		case b.batch.flat && i < b.next:
			s.Total++
			if out := b.outcomes[i]; out != nil {
				s.Items = append(s.Items, out)
			}
		case !b.batch.flat && b.begun(i):
			s.Total++
		}
	}
	payload, err := encodeValue(s, a.eng.opts.MaxPayload)
	e := k.entry(EntryResult)
	if e.Payload = payload; err != nil {
		e.Kind, e.Error = EntryFailure, toStored(err)
	}
	k.record(e)
	return nil
}

// outcome makes the batch of what the journal has of it.
func (b *batch[T]) outcome(k *call) (*Batch[T], error) {
	s, err := decodeResult[summary](k.c, nil, k.op, k.path, k.op.payload)
	if err != nil {
		return nil, err
	}
	out := &Batch[T]{Reason: s.Reason}
	if b.batch.flat {
		return out, b.unpack(k, out, &s)
	}
	a := k.c.a
	for i := range b.n {
		a.mu.Lock()
		op := a.journal.byID[opID{scopeID{parent: k.op.num}, int64(i + 1)}]
		a.mu.Unlock()
		if op == nil {
			continue
		}
		item := BatchItem[T]{Index: i, Name: op.name, Status: BranchStopped}
		switch op.end {
		case EntryResult:
			item.Status = BranchSucceeded
			if item.Value, err = decodeResult[T](k.c, b.codec, op, k.path+"/"+b.labels[i], op.payload); err != nil {
				return nil, err
			}
		case EntryFailure:
			item.Status, item.Err = BranchFailed, &ChildError{Child: b.labels[i], Err: op.err}
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// unpack takes the outcomes of flat branches out of the batch's own result.
func (b *batch[T]) unpack(k *call, out *Batch[T], s *summary) (err error) {
	items := s.Items
	for i := range s.Total {
		item := BatchItem[T]{Index: i, Name: b.nameOf(i), Status: BranchStopped}
		if len(items) > 0 && items[0].Index == i {
			o := items[0]
			items = items[1:]
			payload := []byte(o.Result)
			if b.codec != nil {
				payload = o.Encoded
			}
			switch {
			case o.Error != nil:
				item.Status, item.Err = BranchFailed, &ChildError{Child: b.labels[i], Err: o.Error}
			default:
				item.Status = BranchSucceeded
				if item.Value, err = decodeResult[T](k.c, b.codec, k.op, k.path+"/"+b.labels[i], payload); err != nil {
					return err
				}
			}
		}
		out.Items = append(out.Items, item)
	}
	return nil
}
