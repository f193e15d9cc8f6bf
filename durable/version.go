package durable

import (
	"fmt"
	"strconv"
)

// subtypeVersion marks the gates of Version.
const subtypeVersion = "Version"

// Version is a gate between the code of today and executions of yesterday: an
// execution that comes here for the first time records newest and gets it, on
// this pass and on every replay. One that went past this place before there was
// a gate gets oldest. So the code behind
//
//	if v, err := durable.Version(ctx, "fraud check", 0, 1); v >= 1 { … }
//
// runs for new arrivals only, under one definition version. A recorded version
// that is not between oldest and newest is one that this build cannot run: the
// execution parks, and resumes after a deploy.
//
// Once no execution is left that got less than newest, the gate can be deleted
// from the code: replays skip what is recorded of it. It costs no write of its
// own. ErrCancelled once the execution was asked to stop.
func Version(ctx *Context, change string, oldest, newest int) (int, error) {
	if oldest > newest {
		return 0, Permanent(fmt.Errorf("%w: versions of %q from %d to %d", ErrInvalid, change, oldest, newest))
	}
	if ctx.passedBefore(change) {
		return oldest, nil
	}
	k, err := ctx.begin(OpValue, subtypeVersion, change, 0)
	if err != nil {
		return 0, err
	}
	defer k.end()
	v, err := record(k, func() int { return newest })
	if err != nil {
		return 0, err
	}
	if v < oldest || v > newest {
		ctx.st.parkAndExit(ctx.a.bug(ParkNondeterminism, k.path, &NondeterminismError{
			Execution: ctx.a.id.ID, Place: strconv.Quote(k.path),
			Have: fmt.Sprintf("version %d of %q", v, change), Want: fmt.Sprintf("a version from %d to %d", oldest, newest),
		}))
	}
	return v, nil
}

// passedBefore tells whether the journal has something else in the place of the
// gate, which then was not there when the execution came past. Other gates that
// stand there may have been deleted from the code, and say nothing.
func (c *Context) passedBefore(change string) bool {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	for pos := c.scope.pos + 1; ; pos++ {
		switch op := c.a.journal.byID[opID{c.scope.id, pos}]; {
		case op == nil || op.subtype == subtypeVersion && op.name == change:
			return false
		case op.subtype != subtypeVersion:
			return true
		}
	}
}

// skipGates steps over gates that stand recorded in the next places, and that
// the code does not ask for any more.
func (c *Context) skipGates(sub, name string) {
	c.a.mu.Lock()
	defer c.a.mu.Unlock()
	for {
		op := c.a.journal.byID[opID{c.scope.id, c.scope.pos + 1}]
		if op == nil || op.subtype != subtypeVersion || sub == subtypeVersion && op.name == name {
			return
		}
		c.scope.pos++
	}
}
