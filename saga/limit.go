package saga

import (
	"context"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
)

// Limit bounds how many bodies run at once in this process, and how often they
// begin. One Limit may be shared by steps of several sagas, and by undos.
type Limit struct {
	slots chan struct{}
	pace  *time.Ticker
}

// NewLimit lets at most n bodies run at once (0 is without bound), and at most
// perSecond begin in a second (0 is without bound). It is for the life of the
// process.
func NewLimit(n int, perSecond float64) *Limit {
	l := &Limit{}
	if n > 0 {
		l.slots = make(chan struct{}, n)
	}
	if perSecond > 0 {
		l.pace = time.NewTicker(max(time.Duration(float64(time.Second)/perSecond), 1))
	}
	return l
}

// enter waits for a turn, until the attempt's context ends.
func (l *Limit) enter(ctx context.Context) (leave func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, noTurn(ctx)
		}
	}
	leave = func() {
		if l.slots != nil {
			<-l.slots
		}
	}
	if l.pace == nil {
		return leave, nil
	}
	select {
	case <-l.pace.C: // last, so that no beginning is used up by one that does not get to begin
		return leave, nil
	case <-ctx.Done():
		leave()
		return nil, noTurn(ctx)
	}
}

// NoTurnError says that an attempt did not get its turn under a Limit before its
// context ended. Its body did not run.
type NoTurnError struct{ Cause string }

func (e *NoTurnError) Error() string {
	return fmt.Sprintf("saga: the attempt did not get its turn under its limit: %s", e.Cause)
}

func init() { durable.RegisterError[*NoTurnError]("saga/no-turn") }

// noTurn proves that there was no effect, and leaves the next attempt to the
// policy: it is no rejection.
func noTurn(ctx context.Context) error {
	return durable.NoEffectYet(&NoTurnError{context.Cause(ctx).Error()})
}
