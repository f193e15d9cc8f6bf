package durable

import (
	"context"
	"encoding/json"
	"fmt"
)

// Decision is what an operator decided about a parked execution.
type Decision struct {
	Verb Verb `json:"verb"`
	// Output, with resolve: the operation happened and this is its result.
	Output json.RawMessage `json:"output,omitempty"`
	// NoEffect, with resolve: the operation had no effect and never will.
	NoEffect bool `json:"no_effect,omitempty"`
	// Force, with retry: also under an idempotency key that has expired.
	Force  bool   `json:"force,omitempty"`
	Actor  string `json:"-"`
	Reason string `json:"-"`
}

// Park suspends the execution until an operator has decided, and returns the
// decision, now and on every replay. Neither cancel nor other deliveries wake
// a parked execution. The write that parks is conditional on nothing: what
// arrived meanwhile is seen after the decision.
func (c *Context) Park(name string, p Park) (Decision, error) {
	k, err := c.begin(OpPark, "", name, 0)
	if err != nil {
		return Decision{}, err
	}
	defer k.end()
	a := c.a
	if k.op == nil || !k.op.done {
		p.At = now()
		payload, err := json.Marshal(p)
		if err != nil {
			return Decision{}, fmt.Errorf("park: %w", err)
		}
		a.mu.Lock()
		// One place at a time is put before an operator: if another strand is
		// about to park, or has begun to in an earlier activation, this one asks
		// again in the next.
		if asks := a.journal.parked(); a.parking == nil && !c.st.stopped && (asks == nil || asks == k.op) {
			if k.op == nil {
				e := k.entry(EntryStart)
				e.Payload = payload
				k.record(e)
			}
			// If there was an entry, it was claimed without a verb, which no
			// store lets happen in earnest: then it parks once more.
			a.parking = &write{idle: true, status: StatusParked, park: &p}
		}
		a.mu.Unlock()
		c.st.nextActivation()
	}
	d := Decision{Actor: k.op.actor, Reason: k.op.reason}
	if err := json.Unmarshal(k.op.payload, &d); err != nil {
		return Decision{}, fmt.Errorf("durable: stored decision of %q: %w", k.path, err)
	}
	return d, nil
}

// park parks the execution from within the engine, while no code of it runs.
// The handler meets the same place again once an operator has acted.
func (a *activation) park(p Park) {
	a.mu.Lock()
	w := a.parkWrite(p)
	a.mu.Unlock()
	w.idle = false
	a.parkAs(w)
}

// parkWrite is the write that parks. a.mu is held.
func (a *activation) parkWrite(p Park) *write {
	p.At = now()
	if a.def.parked != nil {
		_, p.Stuck = a.def.parked(a.detail, p.Stuck)
	}
	payload, err := json.Marshal(p)
	if err != nil { // a Park holds nothing that JSON cannot
		payload = []byte("{}")
	}
	return &write{idle: true, status: StatusParked, park: &p, extra: []Entry{{Kind: EntryParked, At: p.At, Payload: payload}}}
}

func (a *activation) parkAs(w *write) {
	if a.commit(*w) == nil { // an error says that the activation is over, or that something moved
		p := w.park
		a.eng.tellParked(a)
		a.eng.opts.Logger.Error("parked", "execution", a.id.ID, "reason", string(p.Reason), "operation", p.Operation, "message", p.Message)
	}
}

// tellParked calls who wants to know of an execution that was parked.
func (e *Engine) tellParked(a *activation) {
	if a.def.onParked == nil || a.final == nil {
		return
	}
	e.wg.Add(1)
	go func(h Head) {
		defer e.wg.Done()
		defer func() {
			if p := recover(); p != nil {
				e.opts.Logger.Error("OnParked panicked", "execution", h.ID, "panic", fmt.Sprint(p))
			}
		}()
		a.def.onParked(e.bodies, e.asStored(h))
	}(*a.final)
}

// asStored completes the head of an execution that was parked here by what only
// the store knows, as the revision for a verb. The hook is called all the same if
// that cannot be read.
func (e *Engine) asStored(h Head) Head {
	ctx, cancel := context.WithTimeout(e.bodies, e.opts.StoreTimeout)
	defer cancel()
	rec, err := e.store.Load(ctx, h.ID, LoadHead)
	if err != nil || rec.Status != StatusParked {
		return h
	}
	rec.Input = h.Input
	return rec.Head
}

// bug is the Park of an execution whose code is wrong.
func (a *activation) bug(reason ParkReason, path string, err error) Park {
	return Park{Reason: reason, Operation: path, Message: err.Error(), Verbs: []Verb{VerbResume}}
}

// crashLoop is the Park of an execution that ends its process again and again.
func (a *activation) crashLoop() Park {
	return Park{
		Reason: ParkCrashLoop, Verbs: []Verb{VerbResume},
		Message: fmt.Sprintf("%d activations in a row ended with their process and recorded no result", a.crashes),
	}
}
