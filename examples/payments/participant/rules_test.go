package participant

import (
	"context"
	"testing"
)

// Each rule is tried by its own keys on one set of participants without faults.
func TestRules(t *testing.T) {
	path := tempPath(t)
	world := start(t, Config{Path: path})
	rules := []struct {
		name string
		try  func(*testing.T, context.Context, *Client, string)
	}{
		{"repeat", tryRepeat},
		{"misuse", tryMisuse},
		{"undo", tryUndo},
		{"tombstone", tryTombstone},
		{"verify", tryVerify},
		{"refusals", tryRefusals},
		{"screening", tryScreening},
		{"receipt", tryReceipt},
		{"malformed", tryMalformed},
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) { rule.try(t, t.Context(), world.Client(), path) })
	}
}

func tryRepeat(t *testing.T, ctx context.Context, c *Client, path string) {
	first, err := c.Authorize(ctx, "re-1", 1, "re", "tok_visa", 100)
	wantNil(t, err)
	again, err := c.Authorize(ctx, "re-1", 2, "re", "tok_visa", 100)
	wantNil(t, err)
	if first == "" || first != again {
		t.Errorf("got %q, then %q, want the same authorization", first, again)
	}
	other, err := c.Authorize(ctx, "re-2", 1, "re", "tok_visa", 100)
	wantNil(t, err)
	if other == first {
		t.Errorf("got %q for another key, too", other)
	}
	wantRows(t, path, Gateway, `SELECT key, count(*) FROM effects WHERE order_id = 're' GROUP BY key`, "re-1 1", "re-2 1")
	wantRows(t, path, Gateway, `SELECT n, kind, attempt, outcome FROM calls WHERE key = 're-1'`,
		"1 authorize 1 applied", "2 authorize 2 repeated")
}

func tryMisuse(t *testing.T, ctx context.Context, c *Client, path string) {
	_, err := c.Authorize(ctx, "mi-1", 1, "mi", "tok_visa", 100)
	wantNil(t, err)
	_, err = c.Authorize(ctx, "mi-1", 2, "mi", "tok_visa", 101)
	wantPlain(t, err, "422 key_misuse")
	_, err = c.Capture(ctx, "mi-1", 1, "mi", "auth", 100)
	wantPlain(t, err, "422 key_misuse")
	wantPlain(t, c.Void(ctx, "mi-1", 1, "mi-1"), "422 key_misuse")
	_, _, err = c.VerifyCapture(ctx, "mi-1", 1)
	wantPlain(t, err, "422 key_misuse")

	_, err = c.Capture(ctx, "mi-2", 1, "mi", "auth", 100)
	wantNil(t, err)
	wantPlain(t, c.Void(ctx, "mi-3", 1, "mi-2"), "422 key_misuse") // a void of a capture
	wantPlain(t, c.Void(ctx, "mi-4", 1, "mi-4"), "422 key_misuse")
	wantNil(t, c.Void(ctx, "mi-5", 1, "mi-1"))
	wantPlain(t, c.Void(ctx, "mi-5", 2, "mi-9"), "422 key_misuse")

	wantRows(t, path, Gateway, `SELECT key, count(*) FROM calls WHERE outcome = 'key_misuse' AND key LIKE 'mi-%' GROUP BY key`,
		"mi-1 4", "mi-3 1", "mi-4 1", "mi-5 1")
	wantRows(t, path, Gateway, `SELECT kind, act FROM effects WHERE order_id = 'mi'`,
		"authorize applied", "capture applied", "authorize reversed")
}

func tryUndo(t *testing.T, ctx context.Context, c *Client, path string) {
	_, err := c.Reserve(ctx, "un-1", 1, "un", "sku_book", 2)
	wantNil(t, err)
	wantNil(t, c.Release(ctx, "un-2", 1, "un-1"))
	wantNil(t, c.Release(ctx, "un-2", 2, "un-1")) // a repeat
	wantNil(t, c.Release(ctx, "un-3", 1, "un-1")) // a second undo
	_, err = c.Reserve(ctx, "un-1", 2, "un", "sku_book", 2)
	wantRejected(t, err, CodeUndone)
	wantRows(t, path, Warehouse, `SELECT act FROM effects WHERE order_id = 'un'`, "applied", "reversed")
	wantRows(t, path, Warehouse, `SELECT key, outcome FROM calls WHERE key LIKE 'un-%'`,
		"un-1 applied", "un-1 too_late", "un-2 reversed", "un-2 repeated", "un-3 nothing")
}

func tryTombstone(t *testing.T, ctx context.Context, c *Client, path string) {
	wantNil(t, c.Void(ctx, "to-2", 1, "to-1"))
	_, err := c.Authorize(ctx, "to-1", 1, "to", "tok_visa", 100)
	wantRejected(t, err, CodeTombstone)
	wantNil(t, c.Void(ctx, "to-3", 1, "to-1"))
	_, err = c.Authorize(ctx, "to-1", 2, "to", "tok_visa", 100)
	wantRejected(t, err, CodeTombstone)
	// What comes too late is not a misuse, whatever its input.
	_, err = c.Authorize(ctx, "to-1", 3, "to", DeclinedCard, 7)
	wantRejected(t, err, CodeTombstone)
	wantRows(t, path, Gateway, `SELECT act FROM effects WHERE order_id = 'to'`)
}

func tryVerify(t *testing.T, ctx context.Context, c *Client, path string) {
	id, err := c.Capture(ctx, "ve-1", 1, "ve", "auth", 100)
	wantNil(t, err)
	for range 2 {
		got, happened, err := c.VerifyCapture(ctx, "ve-1", 1)
		wantNil(t, err)
		if !happened || got != id {
			t.Errorf("got %q, %v, want %q, true", got, happened, id)
		}
	}
	for range 2 {
		got, happened, err := c.VerifyCapture(ctx, "ve-2", 1)
		wantNil(t, err)
		if happened || got != "" {
			t.Errorf("got %q, %v for an unknown key", got, happened)
		}
		_, err = c.Capture(ctx, "ve-2", 1, "ve", "auth", 100)
		wantRejected(t, err, CodeTombstone)
	}
	wantRows(t, path, Gateway, `SELECT key FROM effects WHERE order_id = 've'`, "ve-1")
	wantRows(t, path, Gateway, `SELECT key, outcome FROM calls WHERE kind = 'verify_capture' AND key LIKE 've-%'`,
		"ve-1 happened", "ve-1 happened", "ve-2 no_effect", "ve-2 no_effect")
}

func tryRefusals(t *testing.T, ctx context.Context, c *Client, path string) {
	for range 2 {
		_, err := c.Authorize(ctx, "ref-1", 1, "ref", DeclinedCard, 100)
		wantRejected(t, err, CodeDeclined)
		_, err = c.Reserve(ctx, "ref-1", 1, "ref", OutOfStockSKU, 1)
		wantRejected(t, err, CodeOutOfStock)
		// Undoing what was refused does nothing, and the refusal remains.
		wantNil(t, c.Void(ctx, "ref-2", 1, "ref-1"))
		wantNil(t, c.Release(ctx, "ref-2", 1, "ref-1"))
	}
	_, err := c.Authorize(ctx, "ref-1", 1, "ref", "tok_visa", 100)
	wantPlain(t, err, "422 key_misuse")
	for _, role := range []Role{Gateway, Warehouse} {
		wantRows(t, path, role, `SELECT act FROM effects WHERE order_id = 'ref'`)
		wantRows(t, path, role, `SELECT outcome FROM calls WHERE key = 'ref-2'`, "nothing", "repeated")
		wantRows(t, path, role, `SELECT outcome FROM calls WHERE key = 'ref-1' LIMIT 2`, "refused", "repeated")
	}
}

func tryScreening(t *testing.T, ctx context.Context, c *Client, path string) {
	for range 2 {
		_, err := c.Screen(ctx, "sc-1", 1, "sc", RiskyCard, 100)
		wantRejected(t, err, CodeRisky)
		_, err = c.CheckAddress(ctx, "sc-2", 1, "sc", NoAddress)
		wantRejected(t, err, CodeNoAddress)
	}
	_, err := c.Screen(ctx, "sc-3", 1, "sc", "tok_visa", 100)
	wantNil(t, err)
	wantNil(t, c.Dismiss(ctx, "sc-4", 1, "sc-3"))
	for range 2 {
		got, err := c.CheckAddress(ctx, "sc-5", 1, "sc", "12 High St")
		wantNil(t, err)
		if got != "12 High St" {
			t.Errorf("got address %q", got)
		}
	}
	wantRows(t, path, Screening, `SELECT kind, act FROM effects WHERE order_id = 'sc'`, "screen applied", "screen reversed")
	wantRows(t, path, Screening, `SELECT key FROM keys WHERE key IN ('sc-2', 'sc-5')`) // no effect, no memory
}

// TestJammed: an undo that is refused for good does what it is asked for once
// somebody has mended the participant, under the same key.
func TestJammed(t *testing.T) {
	path := tempPath(t)
	world := start(t, Config{Path: path})
	c, ctx := world.Client(), t.Context()
	_, err := c.Reserve(ctx, "ja-1", 1, "ja", JammedSKU, 1)
	wantNil(t, err)
	for range 2 {
		wantRejected(t, c.Release(ctx, "ja-2", 1, "ja-1"), CodeJammed)
	}
	wantNil(t, c.Release(ctx, "ja-4", 1, "ja-3")) // never came: there is nothing to jam
	closeWorld(t, world)
	c = start(t, Config{Path: path, Mended: true}).Client()
	wantNil(t, c.Release(ctx, "ja-2", 2, "ja-1"))
	wantRows(t, path, Warehouse, `SELECT act FROM effects WHERE order_id = 'ja'`, "applied", "reversed")
	wantRows(t, path, Warehouse, `SELECT outcome FROM calls WHERE key = 'ja-2'`, "jammed", "jammed", "reversed")
}

func tryReceipt(t *testing.T, ctx context.Context, c *Client, path string) {
	for range 2 {
		_, err := c.Receipt(ctx, "rc-1", 1, "rc", 1999)
		wantNil(t, err)
	}
	_, err := c.Ship(ctx, "rc-1", 1, "rc", "res")
	wantNil(t, err)
	wantRows(t, path, Ledger, `SELECT account, debit_cents, credit_cents FROM postings WHERE order_id = 'rc'`,
		"cash 1999 0", "revenue 0 1999")
	wantRows(t, path, Ledger, `SELECT kind, amount_cents FROM effects WHERE order_id = 'rc'`, "receipt 1999")
	wantRows(t, path, Warehouse, `SELECT kind, act FROM effects WHERE order_id = 'rc'`, "ship applied")
}

func tryMalformed(t *testing.T, ctx context.Context, c *Client, path string) {
	_, err := c.Authorize(ctx, "", 1, "ma", "tok_visa", 100)
	wantPlain(t, err, "participant: gateway authorize: 400 malformed: the call has no Idempotency-Key")
	_, err = c.Authorize(ctx, "ma-1", 1, "ma", "tok_visa", -1)
	wantPlain(t, err, "400 malformed: the input is incomplete")
	wantPlain(t, c.Release(ctx, "ma-1", 1, ""), "400 malformed")
	// A malformed call says nothing about its key.
	_, err = c.Authorize(ctx, "ma-1", 2, "ma", "tok_visa", 100)
	wantNil(t, err)
	wantRows(t, path, Gateway, `SELECT outcome FROM calls WHERE key = 'ma-1'`, "malformed", "applied")
}
