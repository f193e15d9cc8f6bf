package lambdalocal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	file := t.TempDir() + "/all"
	pay(t, l, Function{Env: map[string]string{"FILE": file}})
	s, err := l.Schedule(Rule{Name: "sweep", Function: "pay", Every: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(lines(file)) >= 3 })
	s.Stop()
	ids := map[string]bool{}
	quiet(t, l)
	for _, line := range lines(file) {
		e := decode[events.EventBridgeEvent](t, []byte(line))
		ids[e.ID] = true
		if e.Source != "aws.events" || e.DetailType != "Scheduled Event" || len(e.Resources) != 1 ||
			e.Resources[0] != "arn:aws:events:us-east-1:123456789012:rule/sweep" || time.Since(e.Time) > time.Hour || string(e.Detail) != "{}" {
			t.Errorf("the event is %s", line)
		}
	}
	if got := lines(file); len(ids) != len(got) {
		t.Errorf("%d events have %d IDs", len(got), len(ids))
	}
}

func TestScheduleInput(t *testing.T) {
	t.Parallel()
	l := Start(t, Options{})
	file := t.TempDir() + "/all"
	pay(t, l, Function{Env: map[string]string{"FILE": file}})
	s, err := l.Schedule(Rule{Name: "sweep", Function: "pay", Every: time.Hour, Input: json.RawMessage(`{"clew":"sweep"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tick(); err != nil {
		t.Fatal(err)
	}
	quiet(t, l)
	if got := lines(file); len(got) != 1 || got[0] != `{"clew":"sweep"}` {
		t.Errorf("the function got %q", got)
	}
	if _, err := l.Schedule(Rule{Name: "sweep", Function: "nobody", Every: time.Hour}); err == nil {
		t.Error("a rule for no function is in force")
	}
}
