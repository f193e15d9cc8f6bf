package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// moment is one line of a hire's timeline.
type moment struct {
	At     time.Time
	Day    string // since the beginning, in the days of the story
	Back   bool   // it is on the way back
	What   string
	Detail string
}

// timeline tells people what a hire's history tells operators: how each step
// ended, what was asked and answered, and what was undone.
func timeline(rec *durable.Record, day time.Duration) (moments []moment) {
	t := teller{name: map[string]string{}}
	for e := range durable.History(rec) {
		m := t.moment(e)
		if m.What == "" {
			continue // what the engine did for it
		}
		m.At, m.Back = e.At, t.back
		m.Day = fmt.Sprintf("%.1f", float64(e.At.Sub(rec.Created))/float64(day))
		moments = append(moments, m)
	}
	return moments
}

// teller knows what it has passed.
type teller struct {
	name map[string]string // of the saga's step that an operation belongs to
	back bool
}

func (t *teller) moment(e durable.Event) moment {
	switch { // an Await's parts go by its name
	case e.Operation == "":
	case t.name[e.Parent] != "" && t.name[e.Parent] != "provision":
		t.name[e.Operation] = t.name[e.Parent]
	case e.Name != "":
		t.name[e.Operation] = e.Name
	}
	if e.Type == "UnwindStarted" {
		t.back = true
	}
	return moment{What: what(e, t.name[e.Operation]), Detail: detail(&e.Details)}
}

// what says what an event means to people, "" if nothing.
func what(e durable.Event, step string) string {
	switch {
	case e.Type == "StepSucceeded" && e.Name == durable.SubmitterName:
		return step + ": asked"
	case e.Type == "StepSucceeded" && e.Name == "reminder":
		return step + ": reminded"
	case e.SubType == durable.SubtypeVerify:
		return ""
	}
	step += ": "
	return map[string]string{
		"ExecutionStarted":  "begins",
		"StepSucceeded":     step + "done",
		"StepFailed":        step + "failed",
		"StepCancelled":     step + "given up",
		"CallbackSucceeded": step + "answered",
		"CallbackFailed":    step + "refused",
		"CallbackTimedOut":  step + "nobody answered",
		"CallbackCancelled": step + "withdrawn",
		"SagaCommitted":     "point of no return",
		"UnwindStarted":     "turns back",
		"UndoSucceeded":     step + "undone",
		"UndoFailed":        step + "undo failed",
		"CancelRequested":   "asked to stop",
		"ExecutionParked":   "parked, waits for a person",
		"OperatorActed":     "a person acted",
		"SagaAbandoned":     "abandoned",

		"ExecutionSucceeded": "welcomed",
		"ExecutionFailed":    "ended",
		"ExecutionStopped":   "ended",
	}[e.Type]
}

func detail(d *durable.EventDetails) string {
	switch {
	case d.Error != nil:
		return d.Error.Payload.ErrorMessage
	case d.Reason != "" && d.Actor != "":
		return d.Reason + ", says " + d.Actor
	case d.Reason != "":
		return d.Reason + ": " + d.Message
	case d.Result == nil:
		return ""
	}
	var id string
	var a Answer
	switch {
	case json.Unmarshal([]byte(d.Result.Payload), &id) == nil:
		return id
	case json.Unmarshal([]byte(d.Result.Payload), &a) == nil && a.By != "":
		return "by " + a.By
	}
	return ""
}
