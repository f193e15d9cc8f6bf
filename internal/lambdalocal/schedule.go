package lambdalocal

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Rule invokes a function regularly, as a rule of EventBridge does.
type Rule struct {
	Name     string
	Function string
	// Every is the period.
	Every time.Duration
	// Input is sent in place of the event of a scheduled rule.
	Input json.RawMessage
}

// Schedule is a rule that is in force.
type Schedule struct {
	rule   Rule
	lambda *Lambda
	stop   chan struct{}
	once   sync.Once
}

// Schedule puts a rule into force: after each period the function is invoked
// asynchronously, until Stop or Close.
func (l *Lambda) Schedule(r Rule) (*Schedule, error) {
	if _, _, err := l.find(r.Function); err != nil {
		return nil, err
	}
	if r.Every <= 0 || r.Name == "" {
		return nil, fmt.Errorf("lambdalocal: rule %q every %v: give it a name and a period", r.Name, r.Every)
	}
	s := &Schedule{rule: r, lambda: l, stop: make(chan struct{})}
	return s, l.begin(s.run)
}

func (s *Schedule) run() {
	tick := time.NewTicker(s.rule.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := s.Tick(); err != nil && s.lambda.ctx.Err() == nil {
				s.lambda.problem("rule %s: %v", s.rule.Name, err)
			}
		case <-s.stop:
			return
		case <-s.lambda.ctx.Done():
			return
		}
	}
}

// Tick invokes the function now, beside the schedule, and returns the request
// ID.
func (s *Schedule) Tick() (string, error) {
	payload := []byte(s.rule.Input)
	if payload == nil {
		var err error
		if payload, err = json.Marshal(s.event(time.Now())); err != nil {
			return "", err
		}
	}
	return s.lambda.InvokeAsync(s.rule.Function, payload)
}

// event is what EventBridge sends.
func (s *Schedule) event(now time.Time) map[string]any {
	o := s.lambda.opts
	return map[string]any{
		"version": "0", "id": newRequestID(), "detail-type": "Scheduled Event", "source": "aws.events",
		"account": o.Account, "region": o.Region, "time": now.UTC().Format(time.RFC3339), "detail": map[string]any{},
		"resources": []string{fmt.Sprintf("arn:aws:events:%s:%s:rule/%s", o.Region, o.Account, s.rule.Name)},
	}
}

// Stop ends the schedule. Events that were accepted are still delivered.
func (s *Schedule) Stop() { s.once.Do(func() { close(s.stop) }) }
