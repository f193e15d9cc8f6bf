package lambdahost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/clewdev/clew/durable"
)

// completion completes a callback, or says that somebody works on it.
type completion struct {
	Clew   string          `json:"clew"`
	ID     string          `json:"id"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
	Heartbeat bool `json:"heartbeat,omitempty"`

	from string // what brings it, again if it is repeated; "" is unknown
}

func (c *completion) check(payload []byte) (job, error) {
	given := 0
	for _, is := range []bool{c.Result != nil, c.Error != nil, c.Heartbeat} {
		if is {
			given++
		}
	}
	if c.ID == "" || given != 1 {
		return nil, refuse(payload, "the completion of a callback needs an id, and one of result, error and heartbeat")
	}
	return c, nil
}

func (c *completion) do(ctx context.Context, _ *visit, e *durable.Engine) ([]byte, error) {
	if c.from != "" {
		ctx = context.WithValue(ctx, nonceKey{}, c.from)
	}
	var err error
	switch {
	case c.Heartbeat:
		err = e.HeartbeatCallback(ctx, c.ID)
	case c.Error != nil:
		err = e.FailCallback(ctx, c.ID, fmt.Errorf("%s", c.Error.Message))
	default:
		err = e.CompleteCallback(ctx, c.ID, c.Result)
	}
	return []byte("{}"), err
}

// moot tells whether an error of a message is none for whoever looks after the
// DLQ: a heartbeat that comes when nobody waits for it any more. Messages come in
// any order.
func (c *completion) moot(err error) bool {
	return c.Heartbeat && (errors.Is(err, durable.ErrDelivered) || errors.Is(err, durable.ErrEnded) || errors.Is(err, durable.ErrNotOpen))
}

// nonceKey is under which a context has the nonce of a delivery: that of a message
// or an invocation, so that the store knows its repetition for what it is.
type nonceKey struct{}
