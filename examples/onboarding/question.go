package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"time"

	"github.com/clewdev/clew/durable"
)

// question is one of the two that the saga asks people: its callback, as the
// hire's history has it.
type question struct {
	Step     string // of the saga: "identity check" or "approval"
	Callback string // ID
	Asked    time.Time
	Until    time.Time // when it times out
	Ended    time.Time // zero while it is open
	State    string    // open, answered, refused, late or withdrawn
	By       string    // who answered
	Why      string    // it was refused
}

// The states of a question.
const (
	isOpen      = "open"
	isAnswered  = "answered"
	isRefused   = "refused"
	isLate      = "late"      // nobody answered in time, or the provider fell silent
	isWithdrawn = "withdrawn" // the onboarding was stopped meanwhile
)

// errForged: nobody was asked under this callback's ID.
var errForged = errors.New("no such link")

// questions are all that a hire's saga has asked so far. rec was loaded whole.
func questions(rec *durable.Record) (all []question) {
	step, open := map[string]string{}, map[string]int{}
	for e := range durable.History(rec) {
		switch e.Type {
		case "ContextStarted":
			step[e.Operation] = e.Name
		case "CallbackStarted":
			open[e.Operation] = len(all)
			all = append(all, question{
				Step: step[e.Parent], Callback: e.Details.CallbackID, State: isOpen, Asked: e.At,
				Until: e.At.Add(time.Duration(e.Details.Timeout * float64(time.Second))),
			})
		case "CallbackSucceeded", "CallbackFailed", "CallbackTimedOut", "CallbackCancelled":
			if i, known := open[e.Operation]; known {
				all[i].end(e)
			}
		}
	}
	if rec.Status.Ended() { // what was open then is answered by nobody
		for i := range all {
			if all[i].State == isOpen {
				all[i].State, all[i].Ended = isWithdrawn, rec.Ended
			}
		}
	}
	return all
}

// end notes what became of a question.
func (q *question) end(e durable.Event) {
	q.Ended = e.At
	switch e.Type {
	case "CallbackSucceeded":
		q.State = isAnswered
		var a Answer
		if p := e.Details.Result; p != nil && json.Unmarshal([]byte(p.Payload), &a) == nil {
			q.By = a.By
		}
	case "CallbackFailed":
		q.State = isRefused
		if e.Details.Error != nil {
			q.Why = e.Details.Error.Payload.ErrorMessage
		}
	case "CallbackTimedOut":
		q.State = isLate
	default:
		q.State = isWithdrawn
	}
}

// lookUp finds the question of a step that a link names, and the hire whom it is
// about. errForged when there is none: a link must not tell whether the hire or
// only the rest of it is wrong.
func lookUp(ctx context.Context, e *durable.Engine, hireID, step, callbackID string) (Hire, question, error) {
	h, rec, err := load(ctx, e, hireID)
	if errors.Is(err, durable.ErrNotFound) {
		return h, question{}, errForged
	}
	if err != nil {
		return h, question{}, err
	}
	for _, q := range questions(rec) {
		if q.Step == step && subtle.ConstantTimeCompare([]byte(q.Callback), []byte(callbackID)) == 1 {
			return h, q, nil
		}
	}
	return h, question{}, errForged
}

// load reads a hire and the whole record of the saga.
func load(ctx context.Context, e *durable.Engine, hireID string) (h Hire, rec *durable.Record, err error) {
	rec, err = e.Store().Load(ctx, hireID, durable.LoadAll)
	switch {
	case err != nil:
	case rec.Definition != definition:
		err = durable.ErrNotFound
	default:
		err = json.Unmarshal(rec.Input, &h)
		h.ID = rec.ID
	}
	return h, rec, err
}
