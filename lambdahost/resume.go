package lambdahost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
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
	Pin        *string   `json:"pin,omitempty"`  // version of the function that has it; nil is unknown, "" none
	Hops       int       `json:"hops,omitempty"` // invocations so far that woke each other
}

func (r *resume) check(payload []byte) (job, error) {
	if r.ID == "" {
		return nil, refuse(payload, "a resume needs the id of an execution")
	}
	return r, nil
}

// nap is how early a wake-up may be to wait for its time here.
const nap = time.Second

func (r *resume) do(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error) {
	early := time.Until(r.At)
	if early > nap {
		v.wake(r, r.At)
		return r.skipped("it is not due yet")
	}
	if early > 0 {
		select {
		case <-time.After(early):
		case <-ctx.Done():
			v.wake(r, r.At)
			return r.skipped("this invocation ends before it is due")
		}
	}
	if r.Definition == "" || r.Pin == nil && !v.h.opts.Unpinned {
		if why, err := r.find(ctx, v); err != nil || why != "" {
			return r.skippedOr(why, err)
		}
	}
	if r.foreign(v.h) {
		if gone, err := r.forward(ctx, v.h); err != nil || !gone {
			return r.skippedOr("it is handed to version "+*r.Pin+" of the function", err)
		}
		v.h.log.Warn("the version of the function that had an execution is gone: going on here",
			"execution", r.ID, "pinned", *r.Pin, "version", v.h.opts.Version)
	}
	return r.run(ctx, v, e)
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
	case rec.Due.After(time.Now().Add(nap)):
		if rec.Status != durable.StatusRunning {
			v.wake(r, rec.Due)
		}
		return "it is " + rec.Status.String() + ", and due at " + rec.Due.Format(time.RFC3339), nil
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

// foreign tells whether another version of the function has the execution.
func (r *resume) foreign(h *Host) bool {
	return !h.opts.Unpinned && r.Pin != nil && *r.Pin != "" && *r.Pin != h.opts.Version
}

// forward invokes the version of the function that has the execution; gone
// tells that there is none any more.
func (r *resume) forward(ctx context.Context, h *Host) (gone bool, err error) {
	if h.opts.Lambda == nil {
		return false, fmt.Errorf("lambdahost: %q is pinned to version %s of the function, and this is %s: set Options.Lambda, or Options.Unpinned", r.ID, *r.Pin, h.opts.Version)
	}
	next := *r
	next.Clew, next.Hops = "resume", r.Hops+1
	payload, err := json.Marshal(&next)
	if err != nil {
		return false, err
	}
	_, err = h.opts.Lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &h.opts.Function, Qualifier: r.Pin, InvocationType: types.InvocationTypeEvent, Payload: payload,
	})
	if missing := (*types.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lambdahost: handing %q to version %s of %s: %w", r.ID, *r.Pin, h.opts.Function, err)
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
		if r, ok := jobs[i].(*resume); ok {
			v.hops = max(v.hops, r.Hops)
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

// pinned is the pin that wake-ups from here carry.
func (h *Host) pinned() *string {
	if h.opts.Unpinned {
		return aws.String("")
	}
	return &h.opts.Version
}
