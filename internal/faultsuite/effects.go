package faultsuite

import (
	"fmt"
	"strings"

	"github.com/clewdev/clew/durable"
)

// call is one attempt of one body.
type call struct {
	step, what string
	attempt    int
}

// calls are the starts of bodies that a journal has, each of which allows one
// call, and which forward steps there are.
func callsOf(journal []durable.Entry) (starts map[call]int, forward map[string]bool) {
	starts, forward = map[call]int{}, map[string]bool{}
	ops := map[int64]call{}
	for i := range journal {
		e := &journal[i]
		if e.First {
			c := call{step: e.Name, what: "do"}
			switch step, verify := strings.CutPrefix(e.Name, "verify "); {
			case verify:
				c = call{step: step, what: "void"}
			case e.Name == "ask":
				c.what = "ask"
			case e.Scope == durable.ScopeUnwind:
				c.what = "undo"
			default:
				forward[e.Name] = true
			}
			ops[e.Op] = c
		}
		if e.Kind == durable.EntryStart {
			c := ops[e.Op]
			c.attempt = e.Attempt
			starts[c]++
		}
	}
	return starts, forward
}

// judgeEffects: no body ran without a start of its own in the journal, no
// attempt twice that may run once, no undo is missing or out of its order, and
// no effect came after its undo.
func (v *verdict) judgeEffects(id string, rec *durable.Record, effects []effect, n int) {
	starts, forward := callsOf(rec.Journal)
	count, ever := map[call]int{}, map[call]int{}
	for _, e := range effects {
		v.effects++
		what := e.what
		if what == "late" {
			v.refused++
			what = "do"
		}
		count[call{e.step, what, e.attempt}]++
		if ever[call{step: e.step, what: what}]++; ever[call{step: e.step, what: what}] > 1 {
			v.repeated++
		}
		if what == "undo" && !forward[e.step] {
			v.report("%s: %s was undone, and the journal has no start of it", id, e.step)
		}
	}
	for c, times := range count {
		if times > starts[c] {
			v.report("%s: attempt %d of %s (%s) ran %d times, and was started %d times", id, c.attempt, c.step, c.what, times, starts[c])
		}
		if c.what == "do" && once(rec.Definition, c.step) && times > 1 {
			v.report("%s: attempt %d of %s, which may run once, ran %d times", id, c.attempt, c.step, times)
		}
	}
	if rec.Definition == tripName {
		v.judgeUnwinding(id, rec, effects)
	}
	v.judgeEnd(id, rec, effects)
}

// judgeUnwinding: once a saga undoes, it does nothing else, and it undoes in
// the reverse order of its steps' starts. A saga that succeeded has undone
// nothing.
func (v *verdict) judgeUnwinding(id string, rec *durable.Record, effects []effect) {
	lowest, undone := "", map[string]bool{}
	for _, e := range effects {
		switch {
		case e.what == "do" && lowest != "":
			v.report("%s: %s had an effect after the undo of %s", id, e.step, lowest)
		case e.what == "undo" && !undone[e.step]:
			if lowest != "" && e.step > lowest {
				v.report("%s: %s was undone after %s", id, e.step, lowest)
			}
			lowest, undone[e.step] = e.step, true
		}
	}
	if rec.Status == durable.StatusSucceeded && lowest != "" {
		v.report("%s succeeded, and %s was undone", id, lowest)
	}
}

// judgeEnd: what succeeded stands whole, under one key each, and of a saga that
// did not, nothing.
func (v *verdict) judgeEnd(id string, rec *durable.Record, effects []effect) {
	standing := map[string]map[string]bool{} // keys by step
	for _, e := range effects {
		switch e.what {
		case "do":
			if standing[e.step] == nil {
				standing[e.step] = map[string]bool{}
			}
			standing[e.step][e.key] = true
		case "undo":
			delete(standing[e.step], e.key)
		}
	}
	for i := 1; i <= operations; i++ {
		step := stepName(i)
		keys, body := len(standing[step]), rec.Definition == tripName || i != 6 && i != 8
		switch {
		case keys > 1:
			v.report("%s: %s stands under %d keys", id, step, keys)
		case rec.Status == durable.StatusSucceeded && body && keys == 0:
			v.report("%s succeeded, and the effect of %s is missing", id, step)
		case rec.Definition == tripName && rec.Status.Ended() && rec.Status != durable.StatusSucceeded && keys > 0:
			v.report("%s ended as %v, and the undo of %s is missing", id, rec.Status, step)
		}
	}
}

// operations is how many each execution has.
const operations = 14

func stepName(i int) string { return fmt.Sprintf("step-%02d", i) }
