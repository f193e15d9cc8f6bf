package lambdahost

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/clewdev/clew/durable"
)

// job is an event in the host's own form, alone or in a batch. e has a session.
type job interface {
	do(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error)
}

// only answers an event that is a single job.
func only(j job) action {
	return func(ctx context.Context, v *visit) ([]byte, error) {
		answer := make(chan []byte, 1) // code that is still running may come to it late
		most := 1
		switch j := j.(type) {
		case *resume:
			v.hops = j.Hops
		case *sweep:
			most = sweptAtOnce
		case *completion:
			if lc, ok := lambdacontext.FromContext(ctx); ok {
				j.from = "request " + lc.AwsRequestID
			}
		}
		err := v.session(ctx, most, func(ctx context.Context, e *durable.Engine) error {
			out, err := j.do(ctx, v, e)
			answer <- out
			return err
		})
		if err != nil {
			return nil, err
		}
		return <-answer, nil
	}
}

// start starts an execution.
type start struct {
	Clew       string            `json:"clew"`
	Definition string            `json:"definition"`
	Version    string            `json:"version,omitempty"`
	ID         string            `json:"id"`
	Input      json.RawMessage   `json:"input"`
	Async      bool              `json:"async,omitempty"`
	Delay      string            `json:"delay,omitempty"`
	Retention  string            `json:"retention,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Trace      map[string]string `json:"trace,omitempty"` // as a propagator wrote it

	opts []durable.StartOption
}

func (s *start) check(payload []byte) (job, error) {
	switch {
	case s.Definition == "" || s.ID == "":
		return nil, refuse(payload, "a start needs a definition and an id")
	case len(s.Input) == 0:
		return nil, refuse(payload, "a start needs an input; null is one")
	}
	for _, f := range []struct {
		name, text string
		option     func(time.Duration) durable.StartOption
	}{{"delay", s.Delay, durable.WithDelay}, {"retention", s.Retention, durable.WithRetention}} {
		if f.text == "" {
			continue
		}
		d, err := time.ParseDuration(f.text)
		if err != nil || d < 0 {
			return nil, refuse(payload, "the %s of a start, %q, is no duration as in 90s or 24h", f.name, f.text)
		}
		s.opts = append(s.opts, f.option(d))
	}
	if s.Tags != nil {
		s.opts = append(s.opts, durable.WithTags(s.Tags))
	}
	if s.Trace != nil {
		s.opts = append(s.opts, durable.WithTrace(s.Trace))
	}
	return s, nil
}

func (s *start) do(ctx context.Context, v *visit, e *durable.Engine) ([]byte, error) {
	if s.Async {
		var err error
		if e, err = v.outside(); err != nil {
			return nil, err
		}
	}
	left, err := e.StartJSON(ctx, s.Definition, s.Version, s.ID, s.Input, s.opts...)
	if err != nil {
		return nil, err
	}
	return outcomeOf(left)
}
