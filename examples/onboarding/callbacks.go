package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/clewdev/clew/durable"
)

// The steps that ask, as links name them.
const (
	stepCheck    = "identity check"
	stepApproval = "approval"
)

// linkOf is the path at which a question is answered. It carries the callback's
// ID, which nobody can guess: who has the link may answer.
func linkOf(step, hireID, callbackID string) string {
	if step == stepCheck {
		return "/identity/" + hireID + "/" + callbackID
	}
	return "/approvals/" + hireID + "/" + callbackID
}

// callbacks answers the saga's questions over HTTP: the link in the manager's
// mail, and what the identity provider calls. All it needs is an engine over the
// store, which need not be one that runs sagas: any host of http.Handler will do.
//
//	GET  /approvals/HIRE/CALLBACK  the manager's page; it decides nothing, because mail scanners open links
//	POST /approvals/HIRE/CALLBACK  answer=approve or refuse; by and reason if known
//	POST /identity/HIRE/CALLBACK   answer=pass, fail or working, which is a heartbeat
//
// Status: 200 done, 400 no such answer, 404 nobody was asked so, 409 it has been
// answered before, 410 too late, 503 try again.
func callbacks(e *durable.Engine) http.Handler {
	mux := http.NewServeMux()
	for _, step := range []string{stepCheck, stepApproval} {
		path := linkOf(step, "{hire}", "{callback}")
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, e, step) })
	}
	mux.HandleFunc("GET "+linkOf(stepApproval, "{hire}", "{callback}"), func(w http.ResponseWriter, r *http.Request) {
		h, q, err := lookUp(r.Context(), e, r.PathValue("hire"), stepApproval, r.PathValue("callback"))
		if err != nil || q.State != isOpen {
			show(w, "answer", outcome(h, q, err))
			return
		}
		show(w, "approval", page{Status: http.StatusOK, Title: "May " + h.Name + " join?", Data: map[string]any{"Hire": h, "Question": q}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		show(w, "answer", page{Status: http.StatusNotFound, Title: "There is no such page"})
	})
	return safely(mux)
}

// answer hands an answer to the saga.
func answer(w http.ResponseWriter, r *http.Request, e *durable.Engine, step string) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		show(w, "answer", page{Status: http.StatusBadRequest, Title: "This was not understood", Text: err.Error()})
		return
	}
	h, q, err := lookUp(r.Context(), e, r.PathValue("hire"), step, r.PathValue("callback"))
	if err == nil && q.State == isOpen {
		a := reply{Answer: r.PostFormValue("answer"), By: r.PostFormValue("by"), Reason: r.PostFormValue("reason")}
		if err = deliver(r.Context(), e, h, q, a); err == nil {
			show(w, "answer", page{Status: http.StatusOK, Title: "Thank you", Text: a.done(h), Back: backOf(r)})
			return
		}
		if again, now, gone := lookUp(r.Context(), e, h.ID, step, q.Callback); gone == nil { // somebody was quicker, or time was
			h, q = again, now
		}
	}
	show(w, "answer", outcome(h, q, err))
}

// reply is what somebody says to a question.
type reply struct{ Answer, By, Reason string }

// errAnswer: there is no such answer to the question.
var errAnswer = errors.New("no such answer")

// deliver hands a reply to the saga. nil means that it is durable, and that no
// other was before.
func deliver(ctx context.Context, e *durable.Engine, h Hire, q question, r reply) error {
	by := r.By
	switch {
	case len(by)+len(r.Reason) > 1000:
		return fmt.Errorf("%w: who and why have up to 1000 bytes", errAnswer)
	case by != "":
	case q.Step == stepApproval:
		by = h.Manager // who had the link
	default:
		by = "identity provider"
	}
	switch q.Step + ": " + r.Answer {
	case stepApproval + ": approve", stepCheck + ": pass":
		return e.CompleteCallback(ctx, q.Callback, Answer{By: by})
	case stepApproval + ": refuse", stepCheck + ": fail":
		why := "refused by " + by
		if q.Step == stepCheck {
			why = "not confirmed by " + by
		}
		if r.Reason != "" {
			why += ": " + r.Reason
		}
		return e.FailCallback(ctx, q.Callback, errors.New(why))
	case stepCheck + ": working":
		return e.HeartbeatCallback(ctx, q.Callback)
	case stepApproval + ": " + r.Answer:
		return fmt.Errorf("%w: %q: approve or refuse", errAnswer, r.Answer)
	}
	return fmt.Errorf("%w: %q: pass, fail or working", errAnswer, r.Answer)
}

// done says what a reply has brought about.
func (r reply) done(h Hire) string {
	switch r.Answer {
	case "approve":
		return h.Name + " is approved."
	case "refuse":
		return h.Name + " is refused. What was done so far is undone."
	case "pass":
		return "The identity of " + h.Name + " is confirmed."
	case "fail":
		return "The identity of " + h.Name + " is not confirmed. What was done so far is undone."
	}
	return "Noted: the check of " + h.Name + " goes on."
}

// outcome says why a link, or an answer, did not do what it was for.
func outcome(h Hire, q question, err error) page {
	switch {
	case errors.Is(err, errForged):
		return page{Status: http.StatusNotFound, Title: "This link is not valid",
			Text: "Nobody was asked under it. Perhaps it was cut off on its way: copy the whole of it from the mail."}
	case errors.Is(err, errAnswer):
		return page{Status: http.StatusBadRequest, Title: "This was not understood", Text: err.Error()}
	case q.State == isAnswered || q.State == isRefused, errors.Is(err, durable.ErrDelivered):
		return page{Status: http.StatusConflict, Title: "This has been answered before", Text: q.before(h)}
	case q.State == isWithdrawn, errors.Is(err, durable.ErrEnded):
		return page{Status: http.StatusGone, Title: "No longer needed", Text: "The onboarding of " + h.Name + " was stopped meanwhile."}
	case q.State == isLate, errors.Is(err, durable.ErrNotOpen):
		return page{Status: http.StatusGone, Title: "Too late", Text: "Nobody answered in time, so the onboarding of " + h.Name + " was undone. To try again, start it anew."}
	}
	return page{Status: http.StatusServiceUnavailable, Title: "This did not work", Text: "Please try again in a moment. Should it have arrived all the same, the first answer counts. " + err.Error()}
}

// before says what the answer was that came first.
func (q question) before(h Hire) string {
	who, what := h.Name, q.Why
	if q.Step == stepCheck {
		who = "The identity of " + h.Name
	}
	switch {
	case q.State == isAnswered && q.Step == stepCheck:
		what = "confirmed by " + q.By
	case q.State == isAnswered:
		what = "approved by " + q.By
	case q.State != isRefused:
		return "Another answer came a moment earlier, and it counts."
	}
	return who + " was " + what + ", on " + q.Ended.UTC().Format(time.RFC1123) + ". The first answer counts."
}
