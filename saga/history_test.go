package saga_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// tale is a saga's history in short, starts of attempts apart.
func tale(r *ran) (lines []string) {
	r.t.Helper()
	rec, err := r.store.Load(r.t.Context(), "o1", durable.LoadAll)
	if err != nil {
		r.t.Fatal(err)
	}
	numbers := map[string]string{}
	brief := slices.Collect(durable.Milestones(rec))
	for e := range durable.History(rec) {
		if len(brief) > 0 && reflect.DeepEqual(e, brief[0]) {
			brief = brief[1:]
		} else if strings.HasPrefix(e.Type, "Saga") || strings.HasPrefix(e.Type, "Unwind") {
			r.t.Errorf("%+v is not among the milestones, whose next are %+v", e, brief)
		}
		if e.Operation != "" {
			numbers[e.Operation] = e.Name
		}
		if e.Type == "StepStarted" || e.Type == "InvocationCompleted" {
			continue
		}
		line := strings.TrimSpace(e.Type + " " + e.Name)
		if e.Details.Undoes != "" {
			line += " of " + numbers[e.Details.Undoes]
		}
		if e.Details.InDoubt {
			line += " in doubt"
		}
		lines = append(lines, line)
	}
	if len(brief) > 0 {
		r.t.Errorf("%+v are milestones, and not in the history", brief)
	}
	return lines
}

// TestHistoryOfSagas: what the journal means for a saga is told as events of
// their own, at no write.
func TestHistoryOfSagas(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(s *shop)
		want    []string
	}{
		"committed": {func(*shop) {}, []string{
			"ExecutionStarted", "StepSucceeded authorize", "StepSucceeded reserve", "StepSucceeded capture", "SagaCommitted", "StepSucceeded ship", "ExecutionSucceeded",
		}},
		"rejected": {func(s *shop) { s.before["capture"] = rejecting }, []string{
			"ExecutionStarted", "StepSucceeded authorize", "StepSucceeded reserve", "StepFailed capture", "SagaRejected capture",
			"UnwindStarted", "UndoStarted reserve of reserve", "UndoSucceeded reserve", "UndoStarted authorize of authorize", "UndoSucceeded authorize",
			"UnwindCompleted", "ExecutionFailed",
		}},
		"in doubt": {func(s *shop) {
			s.after["reserve"] = func(saga.Context) error { return durable.Permanent(errors.New("no answer")) }
		}, []string{
			"ExecutionStarted", "StepSucceeded authorize", "StepFailed reserve",
			"UnwindStarted", "UndoStarted reserve of reserve in doubt", "UndoSucceeded reserve", "UndoStarted authorize of authorize", "UndoSucceeded authorize",
			"UnwindCompleted", "ExecutionFailed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, c.prepare, func(r *ran) {
				if got := tale(r); !slices.Equal(got, c.want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			})
		})
	}
}
