package participant

import (
	"context"
	"strings"
	"testing"
)

// Each rule is tried by its own keys on one set of participants without faults,
// for both kinds of books.
func TestRules(t *testing.T) {
	rules := []struct {
		name string
		try  func(*testing.T, context.Context, *world)
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
		{"jammed", tryJammed}, // the last one: it mends the warehouse
	}
	onBoth(t, func(t *testing.T, w *world) {
		for _, rule := range rules {
			t.Run(rule.name, func(t *testing.T) { rule.try(t, t.Context(), w) })
		}
	})
}

func tryRepeat(t *testing.T, ctx context.Context, w *world) {
	first, err := w.Authorize(ctx, "re-1", 1, "re", "tok_visa", 100)
	wantNil(t, err)
	again, err := w.Authorize(ctx, "re-1", 2, "re", "tok_visa", 100)
	wantNil(t, err)
	if first == "" || first != again {
		t.Errorf("got %q, then %q, want the same authorization", first, again)
	}
	other, err := w.Authorize(ctx, "re-2", 1, "re", "tok_visa", 100)
	wantNil(t, err)
	if other == first {
		t.Errorf("got %q for another key, too", other)
	}
	w.wantEffects(t, Gateway, "re", "authorize re-1 applied 100", "authorize re-2 applied 100")
	w.wantCalls(t, Gateway, "re-1", "authorize 1 applied", "authorize 2 repeated")
}

func tryMisuse(t *testing.T, ctx context.Context, w *world) {
	_, err := w.Authorize(ctx, "mi-1", 1, "mi", "tok_visa", 100)
	wantNil(t, err)
	_, err = w.Authorize(ctx, "mi-1", 2, "mi", "tok_visa", 101)
	wantPlain(t, err, "422 key_misuse")
	_, err = w.Capture(ctx, "mi-1", 3, "mi", "auth", 100)
	wantPlain(t, err, "422 key_misuse")
	wantPlain(t, w.Void(ctx, "mi-1", 4, "mi-1"), "422 key_misuse")
	_, _, err = w.VerifyCapture(ctx, "mi-1", 5)
	wantPlain(t, err, "422 key_misuse")

	_, err = w.Capture(ctx, "mi-2", 1, "mi", "auth", 100)
	wantNil(t, err)
	wantPlain(t, w.Void(ctx, "mi-3", 1, "mi-2"), "422 key_misuse") // a void of a capture
	wantPlain(t, w.Void(ctx, "mi-4", 1, "mi-4"), "422 key_misuse")
	wantNil(t, w.Void(ctx, "mi-5", 1, "mi-1"))
	wantPlain(t, w.Void(ctx, "mi-5", 2, "mi-9"), "422 key_misuse")

	w.wantCalls(t, Gateway, "mi-1", "authorize 1 applied", "authorize 2 key_misuse", "capture 3 key_misuse",
		"void 4 key_misuse", "verify_capture 5 key_misuse")
	w.wantCalls(t, Gateway, "mi-3", "void 1 key_misuse")
	w.wantCalls(t, Gateway, "mi-4", "void 1 key_misuse")
	w.wantCalls(t, Gateway, "mi-5", "void 1 reversed", "void 2 key_misuse")
	w.wantEffects(t, Gateway, "mi", "authorize mi-1 applied 100", "capture mi-2 applied 100", "authorize mi-1 reversed 0")
}

func tryUndo(t *testing.T, ctx context.Context, w *world) {
	_, err := w.Reserve(ctx, "un-1", 1, "un", "sku_book", 2)
	wantNil(t, err)
	wantNil(t, w.Release(ctx, "un-2", 1, "un-1"))
	wantNil(t, w.Release(ctx, "un-2", 2, "un-1")) // a repeat
	wantNil(t, w.Release(ctx, "un-3", 1, "un-1")) // a second undo
	_, err = w.Reserve(ctx, "un-1", 2, "un", "sku_book", 2)
	wantRejected(t, err, CodeUndone)
	w.wantEffects(t, Warehouse, "un", "reserve un-1 applied 0", "reserve un-1 reversed 0")
	w.wantCalls(t, Warehouse, "un-1", "reserve 1 applied", "reserve 2 too_late")
	w.wantCalls(t, Warehouse, "un-2", "release 1 reversed", "release 2 repeated")
	w.wantCalls(t, Warehouse, "un-3", "release 1 nothing")
}

func tryTombstone(t *testing.T, ctx context.Context, w *world) {
	wantNil(t, w.Void(ctx, "to-2", 1, "to-1"))
	_, err := w.Authorize(ctx, "to-1", 1, "to", "tok_visa", 100)
	wantRejected(t, err, CodeTombstone)
	wantNil(t, w.Void(ctx, "to-3", 1, "to-1"))
	_, err = w.Authorize(ctx, "to-1", 2, "to", "tok_visa", 100)
	wantRejected(t, err, CodeTombstone)
	// What comes too late is not a misuse, whatever its input.
	_, err = w.Authorize(ctx, "to-1", 3, "to", DeclinedCard, 7)
	wantRejected(t, err, CodeTombstone)
	w.wantEffects(t, Gateway, "to")
	w.wantCalls(t, Gateway, "to-1", "authorize 1 too_late", "authorize 2 too_late", "authorize 3 too_late")
}

func tryVerify(t *testing.T, ctx context.Context, w *world) {
	id, err := w.Capture(ctx, "ve-1", 1, "ve", "auth", 100)
	wantNil(t, err)
	for range 2 {
		got, happened, err := w.VerifyCapture(ctx, "ve-1", 1)
		wantNil(t, err)
		if !happened || got != id {
			t.Errorf("got %q, %v, want %q, true", got, happened, id)
		}
	}
	for range 2 {
		got, happened, err := w.VerifyCapture(ctx, "ve-2", 1)
		wantNil(t, err)
		if happened || got != "" {
			t.Errorf("got %q, %v for an unknown key", got, happened)
		}
		_, err = w.Capture(ctx, "ve-2", 1, "ve", "auth", 100)
		wantRejected(t, err, CodeTombstone)
	}
	w.wantEffects(t, Gateway, "ve", "capture ve-1 applied 100")
	w.wantCalls(t, Gateway, "ve-1", "capture 1 applied", "verify_capture 1 happened", "verify_capture 1 happened")
	w.wantCalls(t, Gateway, "ve-2", "verify_capture 1 no_effect", "capture 1 too_late", "verify_capture 1 no_effect", "capture 1 too_late")
}

func tryRefusals(t *testing.T, ctx context.Context, w *world) {
	for range 2 {
		_, err := w.Authorize(ctx, "ref-1", 1, "ref", DeclinedCard, 100)
		wantRejected(t, err, CodeDeclined)
		_, err = w.Reserve(ctx, "ref-1", 1, "ref", OutOfStockSKU, 1)
		wantRejected(t, err, CodeOutOfStock)
		// Undoing what was refused does nothing, and the refusal remains.
		wantNil(t, w.Void(ctx, "ref-2", 1, "ref-1"))
		wantNil(t, w.Release(ctx, "ref-2", 1, "ref-1"))
	}
	_, err := w.Authorize(ctx, "ref-1", 1, "ref", "tok_visa", 100)
	wantPlain(t, err, "422 key_misuse")
	w.wantEffects(t, Gateway, "ref")
	w.wantEffects(t, Warehouse, "ref")
	w.wantCalls(t, Gateway, "ref-2", "void 1 nothing", "void 1 repeated")
	w.wantCalls(t, Warehouse, "ref-2", "release 1 nothing", "release 1 repeated")
	w.wantCalls(t, Gateway, "ref-1", "authorize 1 refused", "authorize 1 repeated", "authorize 1 key_misuse")
	w.wantCalls(t, Warehouse, "ref-1", "reserve 1 refused", "reserve 1 repeated")
}

func tryScreening(t *testing.T, ctx context.Context, w *world) {
	for range 2 {
		_, err := w.Screen(ctx, "sc-1", 1, "sc", RiskyCard, 100)
		wantRejected(t, err, CodeRisky)
		_, err = w.CheckAddress(ctx, "sc-2", 1, "sc", NoAddress)
		wantRejected(t, err, CodeNoAddress)
	}
	_, err := w.Screen(ctx, "sc-3", 1, "sc", "tok_visa", 100)
	wantNil(t, err)
	wantNil(t, w.Dismiss(ctx, "sc-4", 1, "sc-3"))
	for range 2 {
		got, err := w.CheckAddress(ctx, "sc-5", 1, "sc", "12 High St")
		wantNil(t, err)
		if got != "12 High St" {
			t.Errorf("got address %q", got)
		}
	}
	w.wantEffects(t, Screening, "sc", "screen sc-3 applied 100", "screen sc-3 reversed 0")
	w.wantCalls(t, Screening, "sc-2", "check_address 1 refused", "check_address 1 refused")
	w.wantCalls(t, Screening, "sc-5", "check_address 1 looked", "check_address 1 looked")
	for key, want := range map[string]string{"sc-3": "sc", "sc-2": "", "sc-5": ""} { // no effect, no memory
		got, err := w.books.orderOf(ctx, Screening, key)
		if err != nil || got != want {
			t.Errorf("the screening remembers %q, %v of the key %s, want %q", got, err, key, want)
		}
	}
}

func tryReceipt(t *testing.T, ctx context.Context, w *world) {
	for range 2 {
		_, err := w.Receipt(ctx, "rc-1", 1, "rc", 1999)
		wantNil(t, err)
	}
	_, err := w.Ship(ctx, "rc-1", 1, "rc", "res")
	wantNil(t, err)
	entry := effectID("rcpt_", "rc-1")
	want := []posting{{entry, "rc", "cash", 1999, 0}, {entry, "rc", "revenue", 0, 1999}}
	if got := rowsOf(t, w.books).postings["rc"]; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got postings %v, want %v", got, want)
	}
	w.wantEffects(t, Ledger, "rc", "receipt rc-1 applied 1999")
	w.wantEffects(t, Warehouse, "rc", "ship rc-1 applied 0")
}

func tryMalformed(t *testing.T, ctx context.Context, w *world) {
	_, err := w.Authorize(ctx, "", 1, "ma", "tok_visa", 100)
	wantPlain(t, err, "participant: gateway authorize: 400 malformed: the call has no Idempotency-Key")
	_, err = w.Authorize(ctx, "ma-1", 1, "ma", "tok_visa", -1)
	wantPlain(t, err, "400 malformed: the input is incomplete")
	wantPlain(t, w.Release(ctx, "ma-1", 1, ""), "400 malformed")
	// A malformed call says nothing about its key.
	_, err = w.Authorize(ctx, "ma-1", 2, "ma", "tok_visa", 100)
	wantNil(t, err)
	w.wantCalls(t, Gateway, "ma-1", "authorize 1 malformed", "authorize 2 applied")

	long := strings.Repeat("k", maxKey)
	wantNil(t, w.Void(ctx, long, 1, long[1:]+"f"))
	_, err = w.Authorize(ctx, long+"k", 1, "ma", "tok_visa", 100)
	wantPlain(t, err, "400 malformed: the Idempotency-Key is longer than 1024 bytes")
	wantPlain(t, w.Void(ctx, "ma-2", 1, long+"k"), "400 malformed: the forward key is longer than 1024 bytes")
	_, err = w.Authorize(ctx, "\xff", 1, "ma", "tok_visa", 100)
	wantPlain(t, err, "400 malformed: the Idempotency-Key is not UTF-8")
	// Of keys that cannot be kept, only the calls are.
	w.wantCalls(t, Gateway, "", "authorize 1 malformed", "authorize 1 malformed", "authorize 1 malformed")
}

// tryJammed: an undo that is refused for good does what it is asked for once
// somebody has mended the participant, under the same key.
func tryJammed(t *testing.T, ctx context.Context, w *world) {
	_, err := w.Reserve(ctx, "ja-1", 1, "ja", JammedSKU, 1)
	wantNil(t, err)
	for range 2 {
		wantRejected(t, w.Release(ctx, "ja-2", 1, "ja-1"), CodeJammed)
	}
	wantNil(t, w.Release(ctx, "ja-4", 1, "ja-3")) // never came: there is nothing to jam
	w.mend(t)
	wantNil(t, w.Release(ctx, "ja-2", 2, "ja-1"))
	w.wantEffects(t, Warehouse, "ja", "reserve ja-1 applied 0", "reserve ja-1 reversed 0")
	w.wantCalls(t, Warehouse, "ja-2", "release 1 jammed", "release 1 jammed", "release 2 reversed")
}
