package sagatest

import (
	"context"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga"
)

// CrashEverywhere runs the saga under durabletest.CrashEverywhere: a crash at
// every write, before and after it lands, with deaths that are proven and deaths
// that are found out by time, and pairs of crashes. It does so without failures,
// and for every step and every way in which its body can fail: rejected, failed
// for good, failed once, with and without its effect, in doubt, timed out, in a
// panic, and cancelled. After each run, when the saga has ended or is parked,
// audit looks at what stands; effects belong to the execution whose ID the keys
// begin with, Run.ID. Each failure is a subtest.
func CrashEverywhere[In, Out any](t *testing.T, sg *saga.Saga[In, Out], input In, audit func(*Run), opts ...Option) {
	t.Helper()
	o, came := optionsOf(opts), map[place]bool{}
	crash := func(name string, plan ...Injection) {
		t.Run(name, func(t *testing.T) {
			durabletest.CrashEverywhere(t, func(w *durabletest.World) durabletest.Subject {
				id := newID()
				in := newInjector(o, id, w.Client, plan...)
				own := sg.Intercept(in.intercept)
				return durabletest.Subject{
					Definitions: []durable.Registrable{own}, Options: o.engine, Pairs: o.pairs,
					Start: func(ctx context.Context, e *durable.Engine) error {
						_, err := own.Start(ctx, e, id, input)
						return err
					},
					Check: func() {
						in.note(came)
						check(w, id, plan, audit)
					},
				}
			})
		})
	}
	crash("without failures")
	for name, n := range steps(sg.Shape().Nodes, "") {
		if !came[place{name, saga.CallForward}] {
			t.Logf("step %q is not failed: the saga does not come past it with this input", name)
			continue
		}
		for _, f := range faultsOf(n, saga.CallForward) {
			in := Injection{name, saga.CallForward, f}
			crash(in.String(), in)
		}
	}
}

func check(w *durabletest.World, id string, plan []Injection, audit func(*Run)) {
	rec, err := w.Store.Load(w.Context(), id, durable.LoadHead)
	if err != nil {
		w.Errorf("load: %v", err)
		return
	}
	audit(&Run{TB: w, ID: id, Head: rec.Head, Status: saga.StatusOf(&rec.Head), Injected: plan, Plan: w.Plan})
}
