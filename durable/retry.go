package durable

import (
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Retry is the policy by which a step's failed attempts are followed by
// others. Zero fields take the default of the policy they amend: for steps
// DefaultRetry.
type Retry struct {
	// MaxAttempts bounds the attempts, the first included; negative is
	// without bound.
	MaxAttempts int
	// MaxElapsed bounds the time from the first attempt's start to the next
	// one's; negative is without bound.
	MaxElapsed time.Duration
	// The delay after attempt n is drawn uniformly between 0 and Initial ×
	// Multiplier^(n-1), at most Max ("full jitter").
	Initial    time.Duration
	Max        time.Duration
	Multiplier float64
	// NoJitter makes the delay that bound itself.
	NoJitter bool
	// Retryable tells which errors may be tried again; nil is all. It sees
	// the error as the body returned it. Permanent errors are never asked.
	Retryable func(error) bool
}

// DefaultRetry is the policy of steps that name none: 6 attempts, 5 s, ×2, at
// most 60 s.
func DefaultRetry() Retry {
	return Retry{MaxAttempts: 6, MaxElapsed: -1, Initial: 5 * time.Second, Max: time.Minute, Multiplier: 2}
}

// Or returns r with its zero fields taken from base.
func (r Retry) Or(base Retry) Retry {
	if r.MaxAttempts == 0 {
		r.MaxAttempts = base.MaxAttempts
	}
	if r.MaxElapsed == 0 {
		r.MaxElapsed = base.MaxElapsed
	}
	if r.Initial <= 0 {
		r.Initial = base.Initial
	}
	if r.Max <= 0 {
		r.Max = base.Max
	}
	if r.Multiplier < 1 {
		r.Multiplier = base.Multiplier
	}
	r.NoJitter = r.NoJitter || base.NoJitter
	if r.Retryable == nil {
		r.Retryable = base.Retryable
	}
	return r
}

// decide asks everything that err itself says about another attempt; the
// returned func tells whether one follows attempt n, and after which delay.
func (r Retry) decide(err error) func(n int, first, now time.Time) (time.Duration, bool) {
	s := steering(err)
	final := s.permanent || err != nil && r.Retryable != nil && !r.Retryable(err)
	return func(n int, first, now time.Time) (time.Duration, bool) {
		if final || r.MaxAttempts > 0 && n >= r.MaxAttempts {
			return 0, false
		}
		delay := s.after
		if !s.hasAfter {
			delay = r.delay(n)
		}
		if r.MaxElapsed > 0 && now.Add(delay).Sub(first) > r.MaxElapsed {
			return 0, false
		}
		return delay, true
	}
}

// delay draws the delay after attempt n. It is computed from n alone, so that
// a restart in between changes nothing about the schedule to come.
func (r Retry) delay(n int) time.Duration {
	most := float64(r.Initial) * math.Pow(r.Multiplier, float64(n-1))
	most = min(most, float64(r.Max))
	if r.NoJitter {
		return time.Duration(most)
	}
	b := backoff.ExponentialBackOff{
		// Half the bound with factor 1 is uniform between 0 and the bound.
		InitialInterval:     time.Duration(most / 2),
		RandomizationFactor: 1,
		Multiplier:          1,
		MaxInterval:         time.Duration(most),
		MaxElapsedTime:      0, // else it stops by itself after 15 minutes
		Stop:                backoff.Stop,
		Clock:               backoff.SystemClock,
	}
	b.Reset()
	return b.NextBackOff()
}
