package lambdahost

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/clewdev/clew/durable"
)

// EventError says that an event is none that the host knows, or lacks something.
type EventError struct {
	Problem string
	Event   string // its beginning
}

func (e *EventError) Error() string {
	return fmt.Sprintf("lambdahost: %s: %s", e.Problem, e.Event)
}

func refuse(payload []byte, format string, args ...any) error {
	begin := string(bytes.TrimSpace(payload))
	if len(begin) > 200 {
		begin = strings.ToValidUTF8(begin[:200], "") + "…"
	}
	return &EventError{Problem: fmt.Sprintf(format, args...), Event: begin}
}

// action answers an event.
type action func(ctx context.Context, v *visit) ([]byte, error)

// shape is what tells events apart.
type shape struct {
	Clew    *string `json:"clew"`
	Records *[]struct {
		EventSource string `json:"eventSource"`
	} `json:"Records"`
	RequestContext *struct {
		Stage string `json:"stage"`
		HTTP  *struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
	DetailType *string `json:"detail-type"`
	Source     string  `json:"source"`
}

const known = "want {\"clew\": \"start\"}, \"resume\", \"sweep\" or \"callback\", an SQS batch, a scheduled event, or an HTTP request in format 2.0"

// decode tells what an event asks for.
func decode(payload []byte) (action, error) {
	var s shape
	if err := json.Unmarshal(payload, &s); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return nil, refuse(payload, "the event's field %s is a %s; %s", wrong.Field, wrong.Value, known)
		}
		return nil, refuse(payload, "the event is no JSON object (%v); %s", err, known)
	}
	switch {
	case s.Clew != nil:
		j, err := decodeOwn(*s.Clew, payload)
		if err != nil {
			return nil, err
		}
		return only(j), nil
	case s.Records != nil:
		return decodeBatch(&s, payload)
	case s.RequestContext != nil && s.RequestContext.HTTP != nil && s.RequestContext.HTTP.Method != "":
		var ev events.LambdaFunctionURLRequest
		if err := json.Unmarshal(payload, &ev); err != nil {
			return nil, refuse(payload, "the HTTP event: %v", err)
		}
		ev.RawPath = inStage(ev.RawPath, s.RequestContext.Stage)
		return func(ctx context.Context, v *visit) ([]byte, error) { return v.http(ctx, &ev) }, nil
	case s.DetailType != nil && *s.DetailType == "Scheduled Event" || s.Source == "aws.scheduler":
		return only(&sweep{}), nil
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(payload, &fields) // it is an object
	return nil, refuse(payload, "the event is none that is known, with the fields %s; %s",
		strings.Join(slices.Sorted(maps.Keys(fields)), ", "), known)
}

// inStage is a path without the stage of an HTTP API, which an event has in front
// of it unless it is the default one.
func inStage(path, stage string) string {
	if stage == "" || stage == "$default" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, "/"+stage); ok && (rest == "" || rest[0] == '/') {
		return cmp.Or(rest, "/")
	}
	return path
}

// decodeOwn decodes an event in the host's own form.
func decodeOwn(kind string, payload []byte) (job, error) {
	switch kind {
	case "start":
		return decoded(payload, (*start).check)
	case "resume":
		return decoded(payload, (*resume).check)
	case "sweep":
		return decoded(payload, (*sweep).check)
	case "callback":
		return decoded(payload, (*completion).check)
	}
	return nil, refuse(payload, "the event asks for %q; %s", kind, known)
}

// decoded reads an event whose fields are all known.
func decoded[T any](payload []byte, check func(*T, []byte) (job, error)) (job, error) {
	ev := new(T)
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(ev); err != nil {
		return nil, refuse(payload, "the event cannot be read: %v", err)
	}
	return check(ev, payload)
}

// decodeBatch decodes a batch of SQS.
func decodeBatch(s *shape, payload []byte) (action, error) {
	for _, r := range *s.Records {
		if r.EventSource != "aws:sqs" {
			return nil, refuse(payload, "the records come from %q; %s", r.EventSource, known)
		}
	}
	var ev events.SQSEvent
	if err := json.Unmarshal(payload, &ev); err != nil {
		return nil, refuse(payload, "the SQS batch: %v", err)
	}
	return func(ctx context.Context, v *visit) ([]byte, error) { return v.batch(ctx, &ev) }, nil
}

// Outcome is the answer to a start: how the execution was left, or stands.
type Outcome struct {
	ID         string          `json:"id"`
	Definition string          `json:"definition"`
	Version    string          `json:"version"`
	Status     string          `json:"status"`           // as durable.Status says it
	Detail     string          `json:"detail,omitempty"` // custom status; of a saga its two axes
	Due        *time.Time      `json:"due,omitempty"`    // when it goes on
	Result     json.RawMessage `json:"result,omitempty"`
	Error      *durable.Error  `json:"error,omitempty"`
	Park       *durable.Park   `json:"park,omitempty"`
	// TooLarge: the result, or the error's data, is left out, because it does not
	// fit into an answer of Lambda. The store has it.
	TooLarge bool `json:"tooLarge,omitempty"`
}

// maxAnswer is the size of an answer that Lambda takes for certain: its limit is
// 6 MB, and a larger one fails the invocation after all was done.
const maxAnswer = 5 << 20

func outcomeOf(h *durable.Head) ([]byte, error) {
	o := &Outcome{ID: h.ID, Definition: h.Definition, Version: h.Version, Status: h.Status.String(), Detail: h.Detail, Error: h.Error, Result: h.Result}
	if h.Status == durable.StatusParked {
		o.Park = h.Park
	}
	if !h.Due.IsZero() && (h.Status == durable.StatusSuspended || h.Status == durable.StatusPending) {
		o.Due = &h.Due
	}
	out, err := json.Marshal(o)
	if err != nil || len(out) <= maxAnswer {
		return out, err
	}
	o.TooLarge, o.Result = true, nil
	if e := h.Error; e != nil {
		o.Error = &durable.Error{Type: e.Type, Code: e.Code, Message: e.Message[:min(len(e.Message), maxAnswer/8)]} // a byte may take six
	}
	return json.Marshal(o)
}
