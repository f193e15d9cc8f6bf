package participant

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// Duplicates that arrive at once have one effect and one answer, and each is in
// the log.
func TestConcurrentDuplicates(t *testing.T) {
	const copies = 16
	onBoth(t, func(t *testing.T, w *world) {
		ids := make([]string, copies)
		var wg sync.WaitGroup
		for i := range copies {
			wg.Go(func() {
				var err error
				ids[i], err = w.Capture(t.Context(), "dup", i, OrderID(1), "auth", 100)
				wantNil(t, err)
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != effectID("cap_", "dup") {
				t.Errorf("got the answers %q", ids)
				break
			}
		}
		w.wantEffects(t, Gateway, OrderID(1), "capture dup applied 100")
		counts := map[string]int{}
		for _, c := range rowsOf(t, w.books).calls[[2]string{string(Gateway), "dup"}] {
			counts[c.outcome]++
		}
		if counts[outcomeApplied] != 1 || counts[outcomeRepeated] != copies-1 {
			t.Errorf("got the outcomes %v of %d calls", counts, copies)
		}
	})
}

// An undo and its forward that arrive at once, each several times and under
// two keys of undos, leave nothing standing, in whatever order they came.
func TestForwardRacesUndo(t *testing.T) {
	const orders, copies = 12, 3
	onBoth(t, func(t *testing.T, w *world) {
		var applied, tooLate atomic.Int64
		for n := range orders {
			order, forward := OrderID(n+1), fmt.Sprint("forward-", n)
			var wg sync.WaitGroup
			for range copies {
				wg.Go(func() {
					switch _, err := w.Reserve(t.Context(), forward, 1, order, "sku_book", 1); {
					case err == nil:
						applied.Add(1)
					default:
						tooLate.Add(1)
						if r, ok := errors.AsType[*Rejected](err); !ok || r.Code != CodeTombstone && r.Code != CodeUndone {
							t.Errorf("forward: got %v", err)
						}
					}
				})
				for u := range 2 {
					wg.Go(func() { wantNil(t, w.Release(t.Context(), fmt.Sprint("undo-", n, "-", u), 1, forward)) })
				}
			}
			wg.Wait()
			_, err := w.Reserve(t.Context(), forward, 2, order, "sku_book", 1)
			if r, ok := errors.AsType[*Rejected](err); !ok || r.Code != CodeTombstone && r.Code != CodeUndone {
				t.Errorf("forward after the undo: got %v", err)
			}
		}
		t.Logf("%d forwards were in time, %d too late", applied.Load(), tooLate.Load())
		checkAudit(t, w.books, orders, Report{Orders: orders, Undone: orders, RepeatedCalls: orders * (3*copies + 1 - 3)}, "")
	})
}

// A verification and its forward that arrive at once agree.
func TestForwardRacesVerification(t *testing.T) {
	const orders = 12
	onBoth(t, func(t *testing.T, w *world) {
		var standing int
		for n := range orders {
			order, key := OrderID(n+1), fmt.Sprint("key-", n)
			var captured, happened bool
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := w.Capture(t.Context(), key, 1, order, "auth", 100)
				captured = err == nil
				if err != nil {
					wantRejected(t, err, CodeTombstone)
				}
			})
			wg.Go(func() {
				var err error
				_, happened, err = w.VerifyCapture(t.Context(), key, 1)
				wantNil(t, err)
			})
			wg.Wait()
			if captured != happened {
				t.Errorf("%s: captured %v, yet the verification said %v", order, captured, happened)
			}
			if captured {
				standing++
				w.wantEffects(t, Gateway, order, "capture "+key+" applied 100")
			} else {
				w.wantEffects(t, Gateway, order)
			}
		}
		t.Logf("%d of %d captured in time", standing, orders)
	})
}

// loser loses the answers of some requests, after they had their effect.
type loser struct {
	http.RoundTripper
	lose func(*http.Request) bool
}

var errLost = errors.New("the answer was lost")

func (l loser) RoundTrip(r *http.Request) (*http.Response, error) {
	lose := l.lose(r)
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && lose {
		resp.Body.Close()
		return nil, errLost
	}
	return resp, err
}

// A caller who lost the answers to its first attempts repeats the calls, and
// gets what it missed.
func TestLostAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.Client = newClient(t, w.urls, loser{NewTransport(), func(r *http.Request) bool { return r.Header.Get(headerAttempt) == "1" }})
		insist := func(call func(ctx context.Context, attempt int) error) {
			t.Helper()
			if err := call(t.Context(), 1); !errors.Is(err, errLost) {
				t.Errorf("got %v from the first attempt, want that the answer was lost", err)
			}
			wantNil(t, call(t.Context(), 2))
		}
		insist(func(ctx context.Context, n int) error {
			id, err := w.Authorize(ctx, "a", n, OrderID(1), "tok_visa", 100)
			if err == nil && id != effectID("auth_", "a") {
				t.Errorf("got authorization %q", id)
			}
			return err
		})
		insist(func(ctx context.Context, n int) error {
			_, happened, err := w.VerifyCapture(ctx, "c", n)
			if happened {
				t.Error("nobody captured")
			}
			return err
		})
		insist(func(ctx context.Context, n int) error { return w.Void(ctx, "v", n, "a") })
		w.wantCalls(t, Gateway, "a", "authorize 1 applied", "authorize 2 repeated")
		w.wantCalls(t, Gateway, "v", "void 1 reversed", "void 2 repeated")
		w.wantCalls(t, Gateway, "c", "verify_capture 1 no_effect", "verify_capture 2 no_effect")
		w.wantEffects(t, Gateway, OrderID(1), "authorize a applied 100", "authorize a reversed 0")
	})
}
