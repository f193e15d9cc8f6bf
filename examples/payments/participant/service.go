package participant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// A Role names one of the four participants.
type Role string

// The participants.
const (
	Gateway   Role = "gateway"
	Warehouse Role = "warehouse"
	Screening Role = "screening"
	Ledger    Role = "ledger"
)

var roles = []Role{Gateway, Warehouse, Screening, Ledger}

// Inputs that a participant refuses. Tokens decide, not chance, so that a
// repeat and a second run are refused alike.
const (
	DeclinedCard  = "tok_declined"
	OutOfStockSKU = "sku_out_of_stock"
	RiskyCard     = "tok_risky"  // scores too high
	NoAddress     = "nowhere"    // is not an address
	JammedSKU     = "sku_jammed" // is reserved, but not released until the warehouse is mended
)

// Codes of a Rejected.
const (
	CodeDeclined   = "card_declined"
	CodeOutOfStock = "out_of_stock"
	CodeRisky      = "fraud_suspected"
	CodeNoAddress  = "no_such_address"
	CodeJammed     = "shelf_jammed" // an undo that is refused until the warehouse is mended
	CodeTombstone  = "tombstone"    // undone, or verified as no effect, before it arrived
	CodeUndone     = "undone"       // arrived again after its effect was undone
)

// request is the input of every call; each kind uses its few fields. One type
// with omitted zeros gives one canonical form to compare inputs by.
type request struct {
	Order         string `json:"order,omitempty"`
	Card          string `json:"card,omitempty"`
	AmountCents   int64  `json:"amount_cents,omitempty"`
	Authorization string `json:"authorization,omitempty"`
	SKU           string `json:"sku,omitempty"`
	Qty           int    `json:"qty,omitempty"`
	Reservation   string `json:"reservation,omitempty"`
	Address       string `json:"address,omitempty"`
	ForwardKey    string `json:"forward_key,omitempty"` // of an undo
}

// reply is the body of every answer.
type reply struct {
	ID       string `json:"id,omitempty"`       // of the effect
	Happened bool   `json:"happened,omitempty"` // of a verification
	Reversed bool   `json:"reversed,omitempty"` // of an undo: there was an effect
	Code     string `json:"code,omitempty"`
	Message  string `json:"message,omitempty"`
}

type act int

const (
	forward act = iota
	undo
	verify
	look // decides by the input, and leaves nothing but a line in the log
)

// service is one kind of call.
type service struct {
	role   Role
	act    act
	of     string // the forward kind that an undo or verification is about
	prefix string // of the IDs of a forward effect
	// valid tells whether the input is complete; nil when there is none.
	valid func(*request) bool
	// refuse is the business decision; nil when there is none.
	refuse func(*request) (status int, code, message string)
}

var services = map[string]service{
	"authorize": {
		role: Gateway, prefix: "auth_",
		valid:  func(r *request) bool { return r.Order != "" && r.Card != "" && r.AmountCents > 0 },
		refuse: declined,
	},
	"void": {
		role: Gateway, act: undo, of: "authorize",
		valid: func(r *request) bool { return r.ForwardKey != "" },
	},
	"capture": {
		role: Gateway, prefix: "cap_",
		valid: func(r *request) bool { return r.Order != "" && r.Authorization != "" && r.AmountCents > 0 },
	},
	"verify_capture": {role: Gateway, act: verify, of: "capture"},
	"reserve": {
		role: Warehouse, prefix: "res_",
		valid:  func(r *request) bool { return r.Order != "" && r.SKU != "" && r.Qty > 0 },
		refuse: outOfStock,
	},
	"release": {
		role: Warehouse, act: undo, of: "reserve",
		valid: func(r *request) bool { return r.ForwardKey != "" },
	},
	"screen": {
		role: Screening, prefix: "scr_",
		valid:  func(r *request) bool { return r.Order != "" && r.Card != "" && r.AmountCents > 0 },
		refuse: risky,
	},
	"dismiss": {
		role: Screening, act: undo, of: "screen",
		valid: func(r *request) bool { return r.ForwardKey != "" },
	},
	"check_address": {
		role: Screening, act: look,
		valid:  func(r *request) bool { return r.Order != "" && r.Address != "" },
		refuse: noAddress,
	},
	"ship": {
		role: Warehouse, prefix: "trk_",
		valid: func(r *request) bool { return r.Order != "" && r.Reservation != "" },
	},
	"receipt": {
		role: Ledger, prefix: "rcpt_",
		valid: func(r *request) bool { return r.Order != "" && r.AmountCents > 0 },
	},
}

func declined(r *request) (int, string, string) {
	if r.Card == DeclinedCard {
		return http.StatusPaymentRequired, CodeDeclined, "the issuer declined the card"
	}
	return 0, "", ""
}

func outOfStock(r *request) (int, string, string) {
	if r.SKU == OutOfStockSKU {
		return http.StatusConflict, CodeOutOfStock, "no stock of " + r.SKU
	}
	return 0, "", ""
}

func risky(r *request) (int, string, string) {
	if r.Card == RiskyCard {
		return http.StatusConflict, CodeRisky, "the fraud score is too high"
	}
	return 0, "", ""
}

func noAddress(r *request) (int, string, string) {
	if r.Address == NoAddress {
		return http.StatusConflict, CodeNoAddress, "there is no such address"
	}
	return 0, "", ""
}

// effectID derives the ID of an effect from its key, so that two runs with the
// same keys can be compared line by line.
func effectID(prefix, key string) string {
	sum := sha256.Sum256([]byte(key))
	return prefix + hex.EncodeToString(sum[:6])
}

// canonical is the form in which inputs are compared and stored.
func canonical(r *request) string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // a struct of strings and integers always marshals
	}
	return string(b)
}
