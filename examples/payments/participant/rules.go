package participant

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Outcomes of a call, as the log shows them.
const (
	outcomeApplied   = "applied"    // a forward had its effect
	outcomeRepeated  = "repeated"   // the stored answer was given again
	outcomeRefused   = "refused"    // a business refusal
	outcomeTooLate   = "too_late"   // a forward met a tombstone or its own undo
	outcomeReversed  = "reversed"   // an undo reversed an effect
	outcomeNothing   = "nothing"    // an undo found no effect to reverse
	outcomeJammed    = "jammed"     // an undo was refused, for now
	outcomeLooked    = "looked"     // a question was answered, with a yes
	outcomeHappened  = "happened"   // a verification found the effect
	outcomeNoEffect  = "no_effect"  // a verification found none, and ruled it out
	outcomeKeyMisuse = "key_misuse" // the key was used before, for something else
	outcomeMalformed = "malformed"
	outcomeHeld      = "held" // delayed and not done yet
	outcomeNone      = "none" // a fault came before anything was done
)

// call is one request on its way through a participant.
type call struct {
	key     string
	kind    string
	service service
	attempt int
	at      time.Time
	input   request
	bad     string // what is wrong with the request itself, else empty

	// The number of this call among those with the same key, and the fault it
	// meets. Set at the first visit to the book; a delayed call makes a second.
	n     int64
	fault string
}

// answer is what a call gets.
type answer struct {
	status  int
	body    []byte
	outcome string
	hold    time.Duration // not yet: come back after this long
}

func answered(status int, outcome string, r reply) answer {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // a struct of strings and booleans always marshals
	}
	return answer{status: status, body: body, outcome: outcome}
}

// rules decide what becomes of a call. They know nothing of where books lie:
// what they learn and what they write goes through one transaction of a book,
// which must not commit when they return an error.
type rules struct {
	faults faults
	mended bool // what is jammed else is not
}

// visit logs a call and, unless a fault forbids it, does what it asks.
func (r rules) visit(b book, c *call) (answer, error) {
	if c.n > 0 {
		return r.secondVisit(b, c)
	}
	var err error
	if c.n, err = b.nextCall(c.key); err != nil {
		return answer{}, err
	}
	var delay time.Duration
	if c.bad == "" {
		c.fault, delay = r.faults.draw(c.key, c.n)
	}
	var a answer
	switch {
	case c.bad != "":
		a = answered(http.StatusBadRequest, outcomeMalformed, reply{Code: outcomeMalformed, Message: c.bad})
	case c.fault == unavailable:
		a = answered(http.StatusServiceUnavailable, outcomeNone, reply{Code: unavailable, Message: "try again later"})
	case c.fault == delayed:
		a = answer{outcome: outcomeHeld, hold: delay}
	default:
		if a, err = r.do(b, c); err != nil {
			return answer{}, err
		}
	}
	return a, b.logCall(c, a)
}

// secondVisit does what a delayed call asks. Everything may have changed since
// the first visit: that is the point of the delay.
func (r rules) secondVisit(b book, c *call) (answer, error) {
	a, err := r.do(b, c)
	if err != nil {
		return answer{}, err
	}
	return a, b.relogCall(c, a)
}

func (r rules) do(b book, c *call) (answer, error) {
	switch c.service.act {
	case undo:
		return r.undo(b, c)
	case verify:
		return verifyEffect(b, c)
	case look:
		return lookAt(c), nil
	default:
		return forwardEffect(b, c)
	}
}

func forwardEffect(b book, c *call) (answer, error) {
	input := canonical(&c.input)
	old, err := b.lookup(c.key)
	if err != nil {
		return answer{}, err
	}
	if old != nil {
		return repeatForward(c, input, old), nil
	}
	row := keyRow{key: c.key, kind: c.kind, order: c.input.Order, input: input, state: stateRefused}
	if c.service.refuse != nil {
		if status, code, message := c.service.refuse(&c.input); status != 0 {
			a := answered(status, outcomeRefused, reply{Code: code, Message: message})
			row.status, row.body = a.status, a.body
			return a, b.insertKey(row)
		}
	}
	id := effectID(c.service.prefix, c.key)
	a := answered(http.StatusOK, outcomeApplied, reply{ID: id})
	row.state, row.status, row.body = stateApplied, a.status, a.body
	err = errors.Join(
		b.insertKey(row),
		b.appendEffect(effect{at: time.Now(), order: c.input.Order, kind: c.kind, act: outcomeApplied,
			key: c.key, id: id, amount: c.input.AmountCents}),
	)
	if c.kind == "receipt" {
		err = errors.Join(err, postSale(b, id, c.input.Order, c.input.AmountCents))
	}
	return a, err
}

// postSale writes the two sides of a receipt.
func postSale(b book, entry, order string, cents int64) error {
	return errors.Join(
		b.appendPosting(posting{entry: entry, order: order, account: accountCash, debit: cents}),
		b.appendPosting(posting{entry: entry, order: order, account: accountRevenue, credit: cents}),
	)
}

// repeatForward answers a forward call whose key is known.
func repeatForward(c *call, input string, old *keyRow) answer {
	// A tombstone has no input to compare: whatever comes is too late.
	if old.kind != c.kind || old.state != stateTombstone && old.input != input {
		return misuse("the key was used before, for another " + old.kind)
	}
	switch old.state {
	case stateTombstone:
		return answered(http.StatusConflict, outcomeTooLate,
			reply{Code: CodeTombstone, Message: "ruled out before it arrived"})
	case stateReversed:
		// Repeating the stored success would promise an effect that no longer
		// stands.
		return answered(http.StatusConflict, outcomeTooLate,
			reply{Code: CodeUndone, Message: "already undone"})
	}
	return answer{status: old.status, body: old.body, outcome: outcomeRepeated}
}

func (r rules) undo(b book, c *call) (answer, error) {
	input := canonical(&c.input)
	if old, err := b.lookup(c.key); err != nil {
		return answer{}, err
	} else if old != nil {
		if old.kind != c.kind || old.input != input {
			return misuse("the key was used before, for another " + old.kind), nil
		}
		return answer{status: old.status, body: old.body, outcome: outcomeRepeated}, nil
	}
	target, err := b.lookup(c.input.ForwardKey)
	if err != nil {
		return answer{}, err
	}
	if c.input.ForwardKey == c.key || target != nil && target.kind != c.service.of {
		return misuse("the forward key is not that of " + c.service.of), nil
	}
	a := answered(http.StatusOK, outcomeNothing, reply{})
	row := keyRow{key: c.key, kind: c.kind, input: input, state: stateUndone}
	switch {
	case target == nil:
		err = b.insertKey(tombstone(c.input.ForwardKey, c.service.of))
	case target.state == stateApplied && r.jammed(target):
		// Nothing is remembered: the same call will do once it is mended.
		return answered(http.StatusConflict, outcomeJammed,
			reply{Code: CodeJammed, Message: "the shelf is jammed: nothing leaves it until somebody has mended it"}), nil
	case target.state == stateApplied:
		a = answered(http.StatusOK, outcomeReversed, reply{Reversed: true})
		row.order = target.order
		err = reverse(b, target)
	default: // refused, ruled out or undone before: nothing stands
		row.order = target.order
	}
	row.status, row.body = a.status, a.body
	return a, errors.Join(err, b.insertKey(row))
}

// reverse undoes the effect that stands under a key.
func reverse(b book, target *keyRow) error {
	return errors.Join(
		b.markReversed(target.key),
		b.appendEffect(effect{at: time.Now(), order: target.order, kind: target.kind, act: outcomeReversed,
			key: target.key, id: effectID(services[target.kind].prefix, target.key)}),
	)
}

// jammed tells whether an effect cannot be reversed for now.
func (r rules) jammed(target *keyRow) bool {
	var input request
	err := json.Unmarshal([]byte(target.input), &input)
	return err == nil && input.SKU == JammedSKU && !r.mended
}

// lookAt answers a question that has no effect, so that nothing is remembered.
func lookAt(c *call) answer {
	if status, code, message := c.service.refuse(&c.input); status != 0 {
		return answered(status, outcomeRefused, reply{Code: code, Message: message})
	}
	return answered(http.StatusOK, outcomeLooked, reply{ID: c.input.Address})
}

// verifyEffect answers whether the forward call with this key had its effect. The
// caller goes on from "no effect", so it must stay true: a tombstone keeps the
// late call out.
func verifyEffect(b book, c *call) (answer, error) {
	old, err := b.lookup(c.key)
	if err != nil {
		return answer{}, err
	}
	none := answered(http.StatusOK, outcomeNoEffect, reply{})
	switch {
	case old == nil:
		return none, b.insertKey(tombstone(c.key, c.service.of))
	case old.kind != c.service.of:
		return misuse("the key is not that of " + c.service.of), nil
	case old.state == stateApplied:
		return answered(http.StatusOK, outcomeHappened,
			reply{Happened: true, ID: effectID(services[old.kind].prefix, c.key)}), nil
	}
	return none, nil
}

func misuse(message string) answer {
	return answered(http.StatusUnprocessableEntity, outcomeKeyMisuse,
		reply{Code: outcomeKeyMisuse, Message: message})
}

func tombstone(key, kind string) keyRow {
	return keyRow{key: key, kind: kind, state: stateTombstone}
}
