package participant

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// TableConfig says how to serve participants whose books are in a table. Client
// and Name must be set; all else may be zero.
type TableConfig struct {
	Client DynamoDB
	Name   string // of the table, which CreateTable makes
	// FaultRate is the share of calls, 0 to 1, that meet a fault: a 503 or a
	// delay, each as likely. Replies are not lost, because the connections of a
	// function are not its own.
	FaultRate float64
	// Seed makes the faults of a run repeatable.
	Seed uint64
	// MinDelay and MaxDelay bound the delays. Default 1 s and 2 s, or MinDelay
	// and its double. A delay is cut where a request's context has a deadline,
	// so that the call is done before it.
	MinDelay, MaxDelay time.Duration
	// Mended says that somebody has mended the warehouse: what is jammed else
	// (JammedSKU) is released.
	Mended bool
	// Logger hears of calls that could not be done. Default: silence.
	Logger *slog.Logger
}

// NewHandler returns a handler that is all four participants, at paths such as
// /gateway/authorize, for a client that has their common URL (At). Any number of
// them may share the table. It sends nothing before a call arrives.
//
// A call that cannot be done, because the table is missing, refuses or does not
// answer, gets a 500 that says why, and is logged; one that others overtake for
// 10 s, or whose context is about to end, a 503. The caller knows nothing then,
// and may repeat the call.
func NewHandler(cfg TableConfig) (http.Handler, error) {
	if cfg.Client == nil || cfg.Name == "" {
		return nil, errors.New("participant: TableConfig needs a Client and the Name of a table")
	}
	f := faults{rate: cfg.FaultRate, seed: cfg.Seed, minDelay: cfg.MinDelay, maxDelay: cfg.MaxDelay, keepConnections: true}
	if err := f.complete(); err != nil {
		return nil, err
	}
	t := &table{client: cfg.Client, name: cfg.Name}
	clerks := make(map[Role]clerk)
	for _, role := range roles {
		clerks[role] = &tableClerk{table: t, role: role, rules: rules{faults: f, mended: cfg.Mended},
			logger: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}
	}
	s := newServer(clerks)
	s.keepsConnections = true
	return s, nil
}
