package participant

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/cenkalti/backoff/v4"
)

// Pauses between two tries of a call that meets others: full jitter up to twice
// these. maxTries bounds the time of all.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = 200 * time.Millisecond
	maxTries   = 10 * time.Second
)

// tableClerk does the calls of one participant in a table, each in a
// transaction of its own.
type tableClerk struct {
	table  *table
	role   Role
	rules  rules
	logger *slog.Logger
}

// do does a call. Whether it is first to a key, the commit tells; who was not
// looks at the key again and decides anew.
func (t *tableClerk) do(ctx context.Context, c *call) answer {
	var a answer
	var done call
	try := func() error {
		b := newTableBook(ctx, t.table, t.role)
		done = *c // what a try that fails notes in it is void
		var err error
		if a, err = t.rules.visit(b, &done); err == nil {
			err = b.commit()
		}
		if err != nil && !overtaken(err) {
			return backoff.Permanent(err)
		}
		return err
	}
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2), backoff.WithMaxInterval(maxPause), backoff.WithMaxElapsedTime(maxTries))
	if err := backoff.Retry(try, backoff.WithContext(pauses, ctx)); err != nil {
		return t.failed(c, err)
	}
	*c = done
	return a
}

// overtaken tells whether a transaction changed nothing because another one was
// faster, or the service wants it slower.
func overtaken(err error) bool {
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		return false
	}
	return !slices.ContainsFunc(canceled.CancellationReasons, func(r types.CancellationReason) bool {
		return r.Code != nil && !passing[*r.Code]
	})
}

// passing are the reasons to cancel a transaction that another try may not meet.
var passing = map[string]bool{
	"None": true, "ConditionalCheckFailed": true, "TransactionConflict": true,
	"ThrottlingError": true, "ProvisionedThroughputExceeded": true,
}

// failed is the answer to a call that was not done as far as anybody knows.
// Callers will repeat it.
func (t *tableClerk) failed(c *call, err error) answer {
	t.logger.Error("participant: call not done", "role", t.role, "call", c.kind, "key", c.key, "attempt", c.attempt, "error", err)
	status := http.StatusInternalServerError
	if overtaken(err) || errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusServiceUnavailable
	}
	return answered(status, outcomeNone, reply{Code: "internal", Message: err.Error()})
}
