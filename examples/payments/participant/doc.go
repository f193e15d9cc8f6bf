// Package participant is the outside world of the payments example: a card
// gateway, a warehouse, a screening for fraud and bad addresses, and a ledger.
// Each is an HTTP service in a process of its own with a SQLite file of its own
// (Start), so that the saga and its participants fail apart, as they do in
// life; or all four are one handler over a DynamoDB table (NewHandler), for a
// function behind a URL. The package knows nothing of clew: what it holds is
// evidence about the saga engine from outside of it.
//
// # Nouns
//
// An effect is something a participant did: an authorization, a reservation, a
// screening, a capture, a shipment, a receipt. A call is one HTTP request for a
// forward effect, an undo of one, a verification, or a question without effect.
// A key is what a caller promises to keep the same when it repeats a call. A
// tombstone is what an undo or a "no effect" leaves for a key that never came:
// it turns a late arrival away. A fault is a failure the participant commits on
// purpose. Books are where participants keep all this, as files or as a table;
// an audit reads nothing else.
//
// # Use
//
// A program that starts participants re-executes itself, so its main begins:
//
//	if len(os.Args) > 1 && os.Args[1] == participant.Arg {
//		os.Exit(participant.Main(os.Args[2:]))
//	}
//
// and later:
//
//	world, err := participant.Start(ctx, participant.Config{Path: "payments.db"})
//	id, err := world.Client().Authorize(ctx, key, attempt, "order-000001", "tok_visa", 1999)
//	err = world.Close() // waits for calls in hand, also the delayed ones
//	report, err := participant.Audit(ctx, participant.Files("payments.db"), 1)
//
// Or, over a table that CreateTable or a template has made:
//
//	handler, err := participant.NewHandler(participant.TableConfig{Client: client, Name: "books"})
//	client, err := participant.NewClient(participant.At(url), nil)
//	report, err := participant.Audit(ctx, participant.Table(client, "books"), 0)
//
// # Guarantees
//
//   - The same key with the same input gets the stored answer and has no second
//     effect, also across processes on the same books, for calls that come at
//     once, and across kill -9. The same key with other input is refused with
//     422 and recorded.
//   - An undo reverses its forward effect once. An undo of an unknown forward
//     key leaves a tombstone; an undo of a refused forward does nothing. After
//     any of these the forward key can no longer have an effect, except that a
//     refused one keeps its own refusal.
//   - A verification that answers "no effect" has made it so: it leaves a
//     tombstone, too.
//   - A refusal (declined card, no stock, fraud suspected) is decided by the input, has no
//     effect, and is repeated to whoever repeats the call.
//   - An undo of a jammed reservation is refused, and nothing is remembered of
//     the refusal: the same call reverses it once the warehouse is mended.
//   - A call is logged in the transaction of its effect or before it. Effects
//     and reversals are rows of an append-only table.
//   - An answer is sent after its transaction has been committed; what was
//     committed survives the death of every process. Power loss may take the
//     last transactions of a file.
//   - A participant that Start started ends when its parent does, but first
//     finishes the calls it holds.
//
// # Caveats
//
// Participants do not check that the order of business makes sense: a capture
// of a voided authorization goes through. If they refused what only a wrong
// saga asks for, the audit would have nothing to find. There is no
// authentication: processes listen on the loopback interface, and a handler is
// for whatever stands before it to protect.
package participant
