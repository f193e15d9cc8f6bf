package lambdahost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/clewdev/clew/durable"
)

// resume is a wake-up: an execution is due, or will be. What it does not say is
// read from the store.
type resume struct {
	Clew       string    `json:"clew"`
	ID         string    `json:"id"`
	Definition string    `json:"definition,omitempty"`
	Version    string    `json:"version,omitempty"`
	At         time.Time `json:"at,omitzero"`    // when it is due
	Pin        *string   `json:"pin,omitempty"`  // host that has it; nil is unknown, "" none
	Hops       int       `json:"hops,omitempty"` // invocations so far that woke each other
}

func (r *resume) check(payload []byte) (job, error) {
	if r.ID == "" {
		return nil, refuse(payload, "a resume needs the id of an execution")
	}
	return r, nil
}

const (
	// nap is how early a wake-up may be to wait for its time here.
	nap = time.Second
	// stale is after how long a wake-up's word on who has the execution is not
	// taken any more: somebody else may have it by now.
	stale = time.Minute
)

func (r *resume) do(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error) {
	if why := r.punctual(ctx, v, r.At); why != "" {
		return r.skipped(why)
	}
	if r.Definition == "" || r.Pin == nil && !v.h.opts.Unpinned || r.Pin != nil && *r.Pin != "" && time.Since(r.At) > stale {
		if why, err := r.find(ctx, v); err != nil || why != "" {
			return r.skippedOr(why, err)
		}
	}
	if version := r.foreign(v.h); version != "" {
		if gone, err := r.forward(ctx, v.h, version); err != nil || !gone {
			return r.skippedOr("it is handed to version "+version+" of the function", err)
		}
		v.h.log.Warn("the version of the function that had an execution is gone: going on here",
			"execution", r.ID, "pinned", version, "version", v.h.opts.Version)
	}
	return r.run(ctx, v, e)
}

// punctual returns once the execution is due, if it will be in a moment. Else it
// has it woken again, and tells why nothing is done now.
func (r *resume) punctual(ctx context.Context, v *visit, due time.Time) (why string) {
	// A store may keep whole milliseconds, and rounds up then.
	early := time.Until(due.Add(time.Millisecond - 1).Truncate(time.Millisecond))
	switch {
	case early <= 0:
		return ""
	case early > nap:
		v.wake(r, due)
		return "it is not due yet"
	}
	timer := time.NewTimer(early)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ""
	case <-ctx.Done():
		v.wake(r, due)
		return "this invocation ends before it is due"
	}
}

// run claims and runs the execution.
func (r *resume) run(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error) {
	late := time.Since(r.At)
	left, err := e.Resume(ctx, r.Definition, r.Version, r.ID)
	switch {
	case err == nil:
		if !r.At.IsZero() {
			v.late.add(late)
		}
		return outcomeOf(left)
	case errors.Is(err, durable.ErrNotDue), errors.Is(err, durable.ErrEnded), errors.Is(err, durable.ErrNotFound), errors.Is(err, durable.ErrFenced):
		return r.skipped(err.Error()) // somebody else has it, or had
	case errors.Is(err, durable.ErrHostGone):
		v.wake(r, time.Now())
		return r.skipped(err.Error())
	case errors.Is(err, durable.ErrUnknownDefinition) && r.Pin != nil && v.h.elsewhere(*r.Pin):
		return r.skipped("another function has it, and this one does not know its definition")
	case errors.Is(err, durable.ErrUnknownDefinition):
		v.h.emitMetrics(metric{"Unserved", "Count", 1})
		return nil, fmt.Errorf("%w: register that version too, or run a worker that has it; the execution stays due", err)
	}
	return nil, err
}

// skipped answers that nothing was done, and why.
func (r *resume) skipped(why string) ([]byte, error) {
	return json.Marshal(map[string]string{"id": r.ID, "skipped": why})
}

func (r *resume) skippedOr(why string, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return r.skipped(why)
}

// find reads what the wake-up does not say. why tells why there is nothing to
// do, if there is not.
func (r *resume) find(ctx context.Context, v *visit) (why string, err error) {
	rec, err := v.store.Load(ctx, r.ID, durable.LoadHead)
	switch {
	case errors.Is(err, durable.ErrNotFound):
		return "there is no such execution", nil
	case err != nil:
		return "", fmt.Errorf("lambdahost: resume %q: %w", r.ID, err)
	case rec.Due.IsZero():
		return "it is " + rec.Status.String() + ", and not due", nil
	case rec.Status == durable.StatusRunning && rec.Due.After(time.Now().Add(nap)):
		return "it is running, and its lease ends at " + rec.Due.Format(time.RFC3339), nil
	}
	if why := r.punctual(ctx, v, rec.Due); why != "" {
		return "it is " + rec.Status.String() + ", and due at " + rec.Due.Format(time.RFC3339) + ": " + why, nil
	}
	host := durable.HostOf(rec.Owner)
	for i := range rec.Inbox {
		if rec.Inbox[i].Kind == durable.DeliverVerb {
			host = "" // decided on what is deployed now
		}
	}
	r.Definition, r.Version, r.Pin = rec.Definition, rec.Version, &host
	if r.At.IsZero() {
		r.At = rec.Due
	}
	return "", nil
}

// forward invokes the version of the function that has the execution; gone
// tells that there is none any more.
func (r *resume) forward(ctx context.Context, h *Host, version string) (gone bool, err error) {
	if h.opts.Lambda == nil {
		return false, fmt.Errorf("lambdahost: %q is pinned to version %s of the function, and this is %s: set Options.Lambda, or Options.Unpinned", r.ID, version, h.opts.Version)
	}
	next := *r
	next.Clew, next.Hops = "resume", r.Hops+1
	payload, err := json.Marshal(&next)
	if err != nil {
		return false, err
	}
	_, err = h.opts.Lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &h.opts.Function, Qualifier: &version, InvocationType: types.InvocationTypeEvent, Payload: payload,
	})
	if missing := (*types.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lambdahost: handing %q to version %s of %s: %w", r.ID, version, h.opts.Function, err)
	}
	return false, nil
}

// batch does what the messages of a batch ask for, side by side, and answers
// which of them failed.
func (v *visit) batch(ctx context.Context, ev *events.SQSEvent) ([]byte, error) {
	failed := make([]error, len(ev.Records))
	jobs := make([]job, len(ev.Records))
	for i := range ev.Records {
		jobs[i], failed[i] = decodeBody(ev.Records[i].Body)
		switch j := jobs[i].(type) {
		case *resume:
			v.hops = max(v.hops, j.Hops)
		case *completion:
			j.from = "message " + ev.Records[i].MessageId
		}
	}
	err := v.session(ctx, max(len(jobs), 1), func(ctx context.Context, e *durable.Engine) error {
		var wg sync.WaitGroup
		for i, j := range jobs {
			if j != nil {
				wg.Go(func() { _, failed[i] = j.do(ctx, v, e) })
			}
		}
		wg.Wait()
		return nil
	})
	if err != nil {
		return nil, err
	}
	unsent := v.mail.close()
	out := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for i, err := range failed {
		if r, ok := jobs[i].(*resume); ok && err == nil && unsent[r.ID] {
			err = fmt.Errorf("lambdahost: the wake-up of %q could not be queued", r.ID)
		}
		if c, ok := jobs[i].(*completion); ok && err != nil && c.moot(err) {
			v.h.log.InfoContext(ctx, "heartbeat came too late", "message", ev.Records[i].MessageId, "error", err)
			continue
		}
		if err != nil {
			v.h.log.ErrorContext(ctx, "message failed", "message", ev.Records[i].MessageId, "received", ev.Records[i].Attributes["ApproximateReceiveCount"], "error", err)
			out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: ev.Records[i].MessageId})
		}
	}
	return json.Marshal(out)
}

// decodeBody reads the body of a message.
func decodeBody(body string) (job, error) {
	var s shape
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Clew == nil {
		return nil, refuse([]byte(body), "the message is none of the host's: want a JSON object with the field clew")
	}
	return decodeOwn(*s.Clew, []byte(body))
}
