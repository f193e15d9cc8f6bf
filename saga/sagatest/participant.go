package sagatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/clewdev/clew/saga"
)

// Request is a request that reached a participant.
type Request struct {
	Key   string // idempotency key
	Input string // all else of it, in whatever form
}

// Outside is how a test looks at the world that a saga acts on.
type Outside struct {
	// Standing returns the effects that stand now: how many, by whatever names.
	Standing func() map[string]int
	// Requests returns all requests so far. It may be nil; then nobody sees that
	// a key was used again with other input.
	Requests func() []Request
}

// ErrRefused is how a Participant refuses: a key that it knows with other input,
// or one whose tombstone it has.
var ErrRefused = errors.New("sagatest: refused")

// Participant is a participant as sagas need one, in memory: one effect per
// idempotency key, however often it is asked for; a tombstone for a key that is
// undone, known or not, which refuses late requests. The zero value is ready for
// use, and safe for concurrent use.
type Participant struct {
	mu       sync.Mutex
	effects  map[string]string // what stands, by key
	inputs   map[string]string // of the first request, by key
	tombs    map[string]bool   // keys that are refused from now on
	requests []Request
}

// enter takes the mutex, and makes the maps of a zero value.
func (p *Participant) enter() {
	p.mu.Lock()
	if p.effects == nil {
		p.effects, p.inputs, p.tombs = map[string]string{}, map[string]string{}, map[string]bool{}
	}
}

// Do has an effect of this name under key, once. Another input under the key, and
// a key that was undone, is ErrRefused, as a rejection: it has no effect.
func (p *Participant) Do(key, effect string, input any) error {
	raw, err := json.Marshal(input)
	if err != nil {
		return err
	}
	p.enter()
	defer p.mu.Unlock()
	in := effect + " " + string(raw)
	p.requests = append(p.requests, Request{key, in})
	first, known := p.inputs[key]
	switch {
	case p.tombs[key]:
		return saga.Reject(fmt.Errorf("%w: %q was undone", ErrRefused, key))
	case known && first != in:
		return saga.Reject(fmt.Errorf("%w: %q came with input %s before, and now with %s", ErrRefused, key, first, in))
	}
	p.inputs[key], p.effects[key] = in, effect
	return nil
}

// Undo takes back what stands under the key of the forward request, and refuses
// that key from now on. Undoing what is not there, or no more, is no error.
func (p *Participant) Undo(forwardKey string) error {
	p.enter()
	defer p.mu.Unlock()
	delete(p.effects, forwardKey)
	p.tombs[forwardKey] = true
	return nil
}

// Settle tells whether the key has its effect, for a Verify. If it has not, it
// never will: the key is refused from now on.
func (p *Participant) Settle(key string) (happened bool) {
	p.enter()
	defer p.mu.Unlock()
	if _, happened = p.effects[key]; !happened {
		p.tombs[key] = true
	}
	return happened
}

// Standing returns the effects that stand, by name.
func (p *Participant) Standing() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for _, effect := range p.effects {
		n[effect]++
	}
	return n
}

// Of returns the effects that stand under keys of one execution, by name.
func (p *Participant) Of(execution string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for key, effect := range p.effects {
		if strings.HasPrefix(key, execution+"/") {
			n[effect]++
		}
	}
	return n
}

// Outside is the participant as a test looks at it.
func (p *Participant) Outside() Outside {
	return Outside{Standing: p.Standing, Requests: func() []Request {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Clone(p.requests)
	}}
}
