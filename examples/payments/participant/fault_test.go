package participant

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"
)

var testFaults = faults{rate: 0.6, seed: 1}

// faulty is the Config for testFaults. Its delays are beyond the end of the
// test: delayed calls happen when their participant is told to end, so that
// whatever is to come between does, on the slowest machine.
func faulty(path string) Config {
	return Config{Path: path, FaultRate: testFaults.rate, Seed: testFaults.seed,
		MinDelay: time.Minute, MaxDelay: time.Minute, Drain: time.Millisecond}
}

func TestDrawIsEven(t *testing.T) {
	f := faults{rate: 0.3, seed: 7, minDelay: time.Second, maxDelay: 2 * time.Second}
	count := map[string]int{}
	const draws = 30000
	for i := range draws {
		fault, delay := f.draw(fmt.Sprint("key-", i/3), int64(i%3+1))
		again, _ := f.draw(fmt.Sprint("key-", i/3), int64(i%3+1))
		if fault != again {
			t.Fatalf("draw %d: got %q, then %q", i, fault, again)
		}
		if fault == delayed && (delay < f.minDelay || delay > f.maxDelay) {
			t.Fatalf("draw %d: got a delay of %v", i, delay)
		}
		count[fault]++
	}
	for _, fault := range []string{unavailable, lostReply, delayed} {
		if share := float64(count[fault]) / draws; math.Abs(share-0.1) > 0.01 {
			t.Errorf("got %s with a share of %v, want 0.1", fault, share)
		}
	}
	if fault, _ := (faults{}).draw("key", 1); fault != "" {
		t.Errorf("got %s without a fault rate", fault)
	}
}

func TestUnavailableAndLostReply(t *testing.T) {
	path := tempPath(t)
	c := start(t, faulty(path)).Client()
	ctx := t.Context()

	key := keyMeeting(testFaults, "un", unavailable, lostReply, "")
	_, err := c.Authorize(ctx, key, 1, "un", "tok_visa", 100)
	wantPlain(t, err, "503 unavailable")
	wantRows(t, path, Gateway, `SELECT act FROM effects WHERE order_id = 'un'`)
	_, err = c.Authorize(ctx, key, 2, "un", "tok_visa", 100)
	wantPlain(t, err, "participant: gateway authorize: EOF")
	wantRows(t, path, Gateway, `SELECT act FROM effects WHERE order_id = 'un'`, "applied")
	id, err := c.Authorize(ctx, key, 3, "un", "tok_visa", 100)
	wantNil(t, err)
	if want := effectID("auth_", key); id != want {
		t.Errorf("got %q, want %q", id, want)
	}
	// One row for each attempt: neither the client nor net/http repeated any,
	// although the connection was a used one.
	wantRows(t, path, Gateway, fmt.Sprintf(`SELECT attempt, fault, outcome FROM calls WHERE key = '%s'`, key),
		"1 unavailable none", "2 lost_reply applied", "3  repeated")

	undo := keyMeeting(testFaults, "undo", unavailable, lostReply, "")
	wantPlain(t, c.Void(ctx, undo, 1, key), "503 unavailable")
	wantPlain(t, c.Void(ctx, undo, 2, key), "EOF")
	wantNil(t, c.Void(ctx, undo, 3, key))
	wantRows(t, path, Gateway, `SELECT act FROM effects WHERE order_id = 'un'`, "applied", "reversed")

	verify := keyMeeting(testFaults, "verify", unavailable, lostReply, "", "")
	_, _, err = c.VerifyCapture(ctx, verify, 1)
	wantPlain(t, err, "503 unavailable")
	_, _, err = c.VerifyCapture(ctx, verify, 1)
	wantPlain(t, err, "EOF") // and a tombstone all the same
	_, err = c.Capture(ctx, verify, 1, "un", "auth", 100)
	wantRejected(t, err, CodeTombstone)
}

// A delayed call happens although its caller is gone, and anything can come
// between.
func TestDelayed(t *testing.T) {
	path := tempPath(t)
	world := start(t, faulty(path))
	c := world.Client()
	late := keyMeeting(testFaults, "late", delayed)
	undone := keyMeeting(testFaults, "undone", delayed)
	undo := keyMeeting(testFaults, "undo", "")
	ruledOut := keyMeeting(testFaults, "out", delayed, "")
	lateUndo := keyMeeting(testFaults, "lateundo", delayed)
	reserved := keyMeeting(testFaults, "reserved", "")
	lateVerify := keyMeeting(testFaults, "lateverify", delayed, "")

	_, err := c.Reserve(t.Context(), reserved, 1, "late", "sku_book", 1)
	wantNil(t, err)
	abandon(t, path, Warehouse, func(ctx context.Context) error {
		return c.Release(ctx, lateUndo, 1, reserved)
	})
	abandon(t, path, Gateway, func(ctx context.Context) error {
		_, err := c.Authorize(ctx, late, 1, "late", "tok_visa", 1)
		return err
	})
	abandon(t, path, Gateway, func(ctx context.Context) error {
		_, err := c.Authorize(ctx, undone, 1, "und", "tok_visa", 1)
		return err
	})
	abandon(t, path, Gateway, func(ctx context.Context) error {
		_, err := c.Capture(ctx, ruledOut, 1, "out", "auth", 1)
		return err
	})
	abandon(t, path, Gateway, func(ctx context.Context) error {
		_, _, err := c.VerifyCapture(ctx, lateVerify, 1)
		return err
	})
	wantNil(t, c.Void(t.Context(), undo, 1, undone))
	_, happened, err := c.VerifyCapture(t.Context(), ruledOut, 1)
	wantNil(t, err)
	if happened {
		t.Error("a held capture happened already")
	}
	_, err = c.Capture(t.Context(), lateVerify, 1, "late", "auth", 1)
	wantNil(t, err)
	wantRows(t, path, Gateway, `SELECT kind FROM effects`, "capture")

	closeWorld(t, world)
	wantRows(t, path, Gateway, `SELECT kind, order_id, act FROM effects`, "capture late applied", "authorize late applied")
	wantRows(t, path, Warehouse, `SELECT act FROM effects`, "applied", "reversed")
	wantRows(t, path, Gateway, `SELECT substr(key, 1, 5), outcome FROM calls WHERE fault = 'delayed' ORDER BY 1`,
		"late- applied", "latev happened", "out-"+ruledOut[4:5]+" too_late", "undon too_late")
}

// Close waits for delayed calls, and does those at once that would take longer
// than it may.
func TestCloseDrains(t *testing.T) {
	for _, test := range []struct {
		name         string
		delay, drain time.Duration
	}{
		{"waits", time.Second, 5 * time.Second},
		{"hurries", time.Minute, 50 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := tempPath(t)
			cfg := faulty(path)
			cfg.MinDelay, cfg.MaxDelay, cfg.Drain = test.delay, test.delay, test.drain
			world := start(t, cfg)
			key := keyMeeting(testFaults, "key", delayed)
			abandon(t, path, Ledger, func(ctx context.Context) error {
				_, err := world.Client().Receipt(ctx, key, 1, "order", 100)
				return err
			})
			closeWorld(t, world)
			wantRows(t, path, Ledger, `SELECT act FROM effects`, "applied")
			wantNil(t, world.Close()) // again
			_, err := world.Client().Receipt(t.Context(), key, 2, "order", 100)
			wantPlain(t, err, "participant: ledger receipt: ")
		})
	}
}
