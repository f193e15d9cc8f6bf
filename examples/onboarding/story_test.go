package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
	"github.com/clewdev/clew/store/mem"
)

// story is an onboarding in virtual time.
type story struct {
	answers
	e   *durable.Engine
	ctx context.Context
	s   *saga.Saga[Hire, Welcome]
}

// days lets time pass.
func (s *story) days(n float64) { time.Sleep(time.Duration(n * float64(s.w.day))) }

// beat is the identity provider at work for so many days.
func (s *story) beat(days int) {
	for range days {
		s.days(1)
		s.provider("working")
	}
}

// tell runs a story to its end.
func tell(t *testing.T, h Hire, happens func(s *story)) (*story, *durable.Record) {
	t.Helper()
	var s *story
	var rec *durable.Record
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24 * time.Hour)
		d, err := newDesk(mem.New(), deps{outside: w, day: w.day}, nil, durable.Options{PollMax: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			_ = d.engine.Run(ctx) // fails only when run twice
		}()
		defer func() { stop(); <-ran }()
		s = &story{over(t, d.engine, w), d.engine, ctx, d.saga}
		x, err := d.saga.Start(ctx, d.engine, h.ID, h)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		happens(s)
		_, _ = x.Wait(ctx) // the head says what it came to
		if _, rec, err = load(ctx, d.engine, h.ID); err != nil {
			t.Fatal(err)
		}
	})
	return s, rec
}

// TestThreeWeeks: what becomes of a hire, and when who is reminded.
func TestThreeWeeks(t *testing.T) {
	modern, old := ada, ada
	old.Laptop = discontinued
	for _, c := range []struct {
		name      string
		hire      Hire
		happens   func(s *story)
		status    string
		reminders []string // days
		says      string   // the saga's error
	}{
		{"at once", modern, func(s *story) {
			s.provider("pass")
			s.days(0.1)
			s.manager("approve")
		}, "committed/none", nil, ""},
		{"a slow provider, and a manager who approves on day 20", modern, func(s *story) {
			s.beat(2)
			s.days(0.5)
			s.provider("pass")
			s.days(17.5)
			s.manager("approve")
		}, "committed/none", []string{"1.0", "2.0", "9.5", "16.5"}, ""},
		{"a provider who falls silent", modern, func(s *story) {}, "failed/complete", []string{"1.0"}, "want of a heartbeat"},
		{"a provider who falls silent later", modern, func(s *story) { s.beat(1) }, "failed/complete", []string{"1.0", "2.0"}, "want of a heartbeat"},
		{"a provider who never ends", modern, func(s *story) { s.beat(2) }, "failed/complete", []string{"1.0", "2.0"}, "callback timed out"},
		{"a false identity", modern, func(s *story) { s.beat(1); s.provider("fail") }, "rejected/complete", []string{"1.0"}, "not confirmed by identity provider"},
		{"a manager who refuses", modern, func(s *story) {
			s.provider("pass")
			s.days(8)
			s.manager("refuse")
		}, "rejected/complete", []string{"7.0"}, "refused by grace@example.com"},
		{"a manager who forgets", modern, func(s *story) { s.provider("pass") }, "failed/complete", []string{"7.0", "14.0"}, "callback timed out"},
		{"a laptop that is discontinued", old, func(s *story) {
			s.provider("pass")
			s.days(0.1)
			s.manager("approve")
		}, "rejected/complete", nil, "discontinued"},
		{"stopped while the provider is at work", modern, func(s *story) {
			if err := s.e.Cancel(s.ctx, ada.ID, "grace", "we hire nobody any more"); err != nil {
				s.t.Errorf("cancel: %v", err)
			}
		}, "cancelled/complete", nil, "we hire nobody any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, rec := tell(t, c.hire, c.happens)
			if got := saga.StatusOf(&rec.Head).String(); got != c.status {
				t.Errorf("status %s, want %s: %v", got, c.status, rec.Error)
			}
			if got := s.w.when(kindReminder); !slices.Equal(got, c.reminders) {
				t.Errorf("reminded on days %v, want %v", got, c.reminders)
			}
			if err := s.w.whole(ada.ID, c.status == "committed/none"); err != nil {
				t.Error(err)
			}
			if rec.Error != nil && !strings.Contains(rec.Error.Message, c.says) || (rec.Error == nil) != (c.says == "") {
				t.Errorf("it ended with %v, want %q", rec.Error, c.says)
			}
		})
	}
}

// TestOrder: nothing is provided before the approval, and the welcome comes last.
func TestOrder(t *testing.T) {
	s, _ := tell(t, ada, func(s *story) {
		s.provider("pass")
		s.days(1)
		s.manager("approve")
	})
	var order []string
	for _, line := range s.w.told {
		_, what, _ := strings.Cut(line, " ")
		order = append(order, what)
	}
	if len(order) == len(kinds) {
		slices.Sort(order[3:6]) // beside each other
	}
	if !slices.Equal(order, []string{kindAccount, kindCheck, kindRequest, kindDirectory, kindLaptop, kindMailbox, kindWelcome}) {
		t.Errorf("done in order %q", order)
	}
}

// TestLinks: a second click, a late one, a forged link and one to something else
// each get a page of their own, and change nothing.
func TestLinks(t *testing.T) {
	answered := func(s *story) {
		s.provider("pass")
		s.days(0.1)
		s.manager("approve")
		s.days(0.1)
	}
	for _, c := range []struct {
		name    string
		happens func(s *story)
		link    func(s *story) string
		answer  string
		status  int
		says    string
		becomes string
	}{
		{"as long as a book", func(s *story) {}, checkLink, "pass&reason=" + strings.Repeat("no", 600), http.StatusBadRequest, "up to 1000 bytes", "failed/complete"},
		{"second click", answered, approvalLink, "approve", http.StatusConflict, "approved by grace@example.com", "committed/none"},
		{"another mind", answered, approvalLink, "refuse", http.StatusConflict, "The first answer counts", "committed/none"},
		{"a second result", answered, checkLink, "fail", http.StatusConflict, "confirmed by identity provider", "committed/none"},
		{"after a refusal", func(s *story) { s.provider("pass"); s.days(0.1); s.manager("refuse"); s.days(0.1) },
			approvalLink, "approve", http.StatusConflict, "refused by grace@example.com", "rejected/complete"},
		{"late", func(s *story) { s.provider("pass"); s.days(22) }, approvalLink, "approve", http.StatusGone, "Too late", "failed/complete"},
		{"a late heartbeat", func(s *story) { s.days(2) }, checkLink, "working", http.StatusGone, "Too late", "failed/complete"},
		{"stopped", func(s *story) {
			s.provider("pass")
			s.days(0.1)
			if err := s.e.Cancel(s.ctx, ada.ID, "grace", "no"); err != nil {
				s.t.Errorf("cancel: %v", err)
			}
			s.days(0.1)
		}, approvalLink, "approve", http.StatusGone, "No longer needed", "cancelled/complete"},
		{"forged", func(s *story) {}, func(*story) string { return "/approvals/ada/YWRhAGNiNC1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ" },
			"approve", http.StatusNotFound, "not valid", "failed/complete"},
		{"cut off", func(s *story) {}, func(s *story) string { return checkLink(s)[:30] }, "pass", http.StatusNotFound, "not valid", "failed/complete"},
		{"of nobody", func(s *story) {}, func(s *story) string { return "/identity/bob/" + s.w.callback(kindCheck) }, "pass", http.StatusNotFound, "not valid", "failed/complete"},
		{"a provider's link as a manager's", func(s *story) {}, func(s *story) string { return linkOf(stepApproval, ada.ID, s.w.callback(kindCheck)) },
			"approve", http.StatusNotFound, "not valid", "failed/complete"},
		{"no such answer", func(s *story) {}, checkLink, "approve", http.StatusBadRequest, "pass, fail or working", "failed/complete"},
		{"no answer", func(s *story) {}, checkLink, "", http.StatusBadRequest, "pass, fail or working", "failed/complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, rec := tell(t, ada, func(s *story) {
				c.happens(s)
				link := c.link(s)
				got := serveOne(s.h, newPost(link, "answer="+c.answer))
				if got.Code != c.status || !strings.Contains(got.Body.String(), c.says) {
					t.Errorf("status %d, want %d and %q: %s", got.Code, c.status, c.says, got.Body)
				}
				if strings.HasPrefix(link, "/approvals/") && c.status != http.StatusBadRequest {
					if page := get(s.h, link); page.Code != c.status || !strings.Contains(page.Body.String(), c.says) {
						t.Errorf("its page has status %d, want %d and %q: %s", page.Code, c.status, c.says, page.Body)
					}
				}
			})
			if got := saga.StatusOf(&rec.Head).String(); got != c.becomes {
				t.Errorf("it became %s, want %s", got, c.becomes)
			}
			if err := s.w.whole(ada.ID, c.becomes == "committed/none"); err != nil {
				t.Error(err)
			}
		})
	}
}

func approvalLink(s *story) string { return linkOf(stepApproval, ada.ID, s.w.callback(kindRequest)) }
func checkLink(s *story) string    { return linkOf(stepCheck, ada.ID, s.w.callback(kindCheck)) }

// TestOpeningTheLinkDecidesNothing: mail scanners open links.
func TestOpeningTheLinkDecidesNothing(t *testing.T) {
	_, rec := tell(t, ada, func(s *story) {
		s.provider("pass")
		s.days(0.1)
		page := get(s.h, approvalLink(s))
		if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), `value="approve"`) || !strings.Contains(page.Body.String(), `value="refuse"`) {
			t.Errorf("status %d, want a page with two buttons: %s", page.Code, page.Body)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
			if got := page.Header().Get(name); got != want {
				t.Errorf("%s is %q, want %q: the link is a secret", name, got, want)
			}
		}
	})
	if got := saga.StatusOf(&rec.Head).String(); got != "failed/complete" {
		t.Errorf("a link that was only opened led to %s", got)
	}
}

// TestOtherSites: a form on another site cannot answer.
func TestOtherSites(t *testing.T) {
	tell(t, ada, func(s *story) {
		r := newPost(checkLink(s), "answer=pass")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if got := serveOne(s.h, r); got.Code != http.StatusForbidden {
			t.Errorf("status %d, want 403", got.Code)
		}
		if got := s.w.when(kindRequest); got != nil {
			t.Error("another site's form was an answer")
		}
	})
}
