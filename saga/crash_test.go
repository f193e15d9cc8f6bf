package saga_test

import (
	"errors"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

// fast keeps claims short, so that long bodies see renewals and takeovers.
var fast = durable.Options{Lease: 4 * time.Second, InboxCheck: time.Second}

// crashed runs a shop under every crash and checks the outside afterwards.
func crashed(t *testing.T, prepare func(w *durabletest.World, s *shop), check func(w *durabletest.World, s *shop, st saga.Status)) {
	t.Helper()
	durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
		s := newShop()
		prepare(w, s)
		sg := s.build()
		return durabletest.Subject{
			Definitions: []durable.Registrable{sg}, Start: starter(sg), Options: fast, Pairs: 12,
			Check: func() {
				rec, err := w.Store.Load(w.Context(), "o1", durable.LoadAll)
				if err != nil {
					w.Errorf("load: %v", err)
					return
				}
				if err := foretold(rec); err != nil {
					w.Errorf("effects: %v; calls: %s", err, s.history())
				}
				if len(s.wrong) > 0 {
					w.Errorf("%v; calls: %s", s.wrong, s.history())
				}
				check(w, s, saga.StatusOf(&rec.Head))
			},
		}
	})
}

func expect(w *durabletest.World, s *shop, st saga.Status, status, stands, undos string) {
	if st.String() != status || s.verdict(allSteps...) != stands || s.undoOrder() != undos {
		w.Errorf("got %v, standing %s, undone %q; want %s, %s, %q; calls: %s",
			st, s.verdict(allSteps...), s.undoOrder(), status, stands, undos, s.history())
	}
}

func TestCrashCommitted(t *testing.T) {
	crashed(t, func(*durabletest.World, *shop) {}, func(w *durabletest.World, s *shop, st saga.Status) {
		expectEither(w, s, st)
	})
}

// expectEither: without a Verify a crash during the pivot may park it, and
// nothing is undone then; else all is done.
func expectEither(w *durabletest.World, s *shop, st saga.Status) {
	expect(w, s, st, "committed/none", "all", "")
}

func TestCrashRejectedAtPivot(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		s.before["capture"] = rejecting
		s.verify = s.truth
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "rejected/complete", "none", "reserve authorize")
	})
}

func TestCrashSlowBodies(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		s.takes = 7 * time.Second
		s.after["reserve"] = func(c saga.Context) error { return durable.Permanent(errors.New("no answer")) }
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "failed/complete", "none", "reserve authorize")
	})
}

func TestCrashCancelledDuringStep(t *testing.T)     { cancelledDuringStep(t, 3*time.Second) }
func TestCrashCancelledDuringSlowStep(t *testing.T) { cancelledDuringStep(t, 7*time.Second) }

func cancelledDuringStep(t *testing.T, takes time.Duration) {
	crashed(t, func(w *durabletest.World, s *shop) {
		s.takes = takes
		s.before["reserve"] = func(c saga.Context) error {
			err := w.Client.Cancel(w.Context(), "o1", "customer", "changed my mind")
			if err != nil && !errors.Is(err, durable.ErrDelivered) {
				w.Errorf("cancel: %v", err)
			}
			return nil
		}
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "cancelled/complete", "none", "reserve authorize")
	})
}

func TestCrashDeadlineBeforePivot(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		s.takes = 3 * time.Second
		s.deadline = 5 * time.Second
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		if st.String() == "committed/none" { // a takeover is never so quick, but a start may be late
			w.Errorf("committed after its deadline; calls: %s", s.history())
		}
		if v := s.verdict(allSteps...); v != "none" {
			w.Errorf("got %v, standing %s", st, v)
		}
	})
}

func TestCrashCaptureReplyLost(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		s.after["capture"] = func(c saga.Context) error { return durable.Permanent(errors.New("reply lost")) }
		s.verify = s.truth
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "committed/none", "all", "")
	})
}

func TestCrashPivotInDoubtParks(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		s.after["capture"] = func(c saga.Context) error { return durable.Permanent(errors.New("reply lost")) }
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "running/stuck", "authorize+reserve+capture", "")
	})
}

func TestCrashCancelledRightBeforePivot(t *testing.T) {
	crashed(t, func(w *durabletest.World, s *shop) {
		s.after["reserve"] = func(c saga.Context) error {
			err := w.Client.Cancel(w.Context(), "o1", "customer", "changed my mind")
			if err != nil && !errors.Is(err, durable.ErrDelivered) {
				w.Errorf("cancel: %v", err)
			}
			return nil
		}
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "cancelled/complete", "none", "reserve authorize")
	})
}

// TestCrashRejectedAfterLostAttempt: the first attempt takes effect and its
// answer is lost; the second is rejected, which proves nothing about the first.
func TestCrashRejectedAfterLostAttempt(t *testing.T) {
	crashed(t, func(_ *durabletest.World, s *shop) {
		tried := false
		s.before["reserve"] = func(c saga.Context) error {
			if tried {
				return saga.Reject(errDeclined)
			}
			tried = true
			return nil
		}
		s.after["reserve"] = func(saga.Context) error { return errors.New("answer lost") }
	}, func(w *durabletest.World, s *shop, st saga.Status) {
		expect(w, s, st, "rejected/complete", "none", "reserve authorize")
	})
}
