package otlptest

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// day is how long a day of an onboarding is here. Whoever is asked to prove an
// identity has to answer within a day and a half, on a machine that may be slow.
const day = 4 * time.Second

// onboarding runs a command of the example.
func (w *world) onboarding(args ...string) string {
	w.t.Helper()
	cmd, out, errs := w.start("onboarding", append(args, "-store", w.store, "-books", w.books)...)
	if err := cmd.Wait(); err != nil {
		w.t.Fatalf("onboarding %v: %v: %s", args, err, errs)
	}
	return out.String()
}

// serve starts a worker of onboardings. It returns the address at which questions
// are answered, and what stops the worker, as those who deploy stop it.
func (w *world) serve() (at string, stop func()) {
	w.t.Helper()
	out, in := io.Pipe()
	w.t.Cleanup(func() { _ = in.Close() })
	var errs bytes.Buffer
	cmd := w.startTo(in, &errs, "onboarding", "-listen", "127.0.0.1:0", "-day", day.String(), "-store", w.store, "-books", w.books)
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, at, ok := strings.Cut(lines.Text(), "open "); ok {
				found <- at
			}
		}
	}()
	select {
	case at = <-found:
	case <-time.After(time.Minute):
		w.t.Fatal("the worker does not serve")
	}
	return at, func() {
		w.t.Helper()
		err := cmd.Process.Signal(syscall.SIGTERM)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			w.t.Fatalf("the worker ends with %v: %s", err, &errs)
		}
	}
}

// until waits until what the store says of an execution is so.
func until(t *testing.T, store durable.Store, id, what string, is func(*durable.Record) bool) *durable.Record {
	t.Helper()
	var rec *durable.Record
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if rec, err = store.Load(t.Context(), id, durable.LoadAll); err == nil && is(rec) {
			return rec
		}
		if err == nil && rec.Status.Ended() {
			break // as something else
		}
	}
	t.Fatalf("%s is never %s: %+v", id, what, rec)
	return nil
}

// asked waits until an onboarding waits at a question, and nothing runs.
func asked(t *testing.T, store durable.Store, id, step string) {
	t.Helper()
	until(t, store, id, "asked for the "+step, func(rec *durable.Record) bool {
		return rec.Status == durable.StatusSuspended && open(rec) == step
	})
}

// open is the step whose callback is open, "" for none.
func open(rec *durable.Record) (step string) {
	names := map[string]string{}
	for e := range durable.History(rec) {
		switch e.Type {
		case "ContextStarted":
			names[e.Operation] = e.Name
		case "CallbackStarted":
			step = names[e.Parent]
		case "CallbackSucceeded", "CallbackFailed", "CallbackTimedOut", "CallbackCancelled":
			step = ""
		}
	}
	return step
}

// reminded tells whether somebody was asked once more.
func reminded(rec *durable.Record) bool {
	ops, err := durable.Operations(rec)
	return err == nil && slices.ContainsFunc(ops, func(op durable.OperationInfo) bool {
		return op.Type == durable.OpStep && op.Name == "reminder" && !op.Ended.IsZero()
	})
}

// ended waits for the end of an execution, which is to be this one.
func ended(t *testing.T, store durable.Store, id, want string) {
	t.Helper()
	rec := until(t, store, id, "at an end", func(rec *durable.Record) bool { return rec.Status.Ended() })
	if rec.Detail != want {
		t.Errorf("%s is %q (%v), want %q", id, rec.Detail, rec.Error, want)
	}
}

// approve opens the link in the mail to a hire's manager, at an address that is up.
func (w *world) approve(hire, at string) {
	w.t.Helper()
	mails := w.onboarding("mails")
	link := regexp.MustCompile(`Please approve that (?i:` + hire + `) joins\.\n  \S+(/approvals/\S+)\n`).FindStringSubmatch(mails)
	if link == nil {
		w.t.Fatalf("no mail about %s has a link:\n%s", hire, mails)
	}
	r, err := http.PostForm(strings.TrimRight(at, "/")+link[1], url.Values{"answer": {"approve"}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	if body, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		w.t.Errorf("approving %s: %d %s", hire, r.StatusCode, body)
	}
}

// hosts are where onboardings run.
type hosts interface {
	// up starts one, and returns the address at which questions are answered.
	up() (at string)
	// down stops it. The next one is another process.
	down()
	// hire begins an onboarding.
	hire(name string)
}

// threeDays are those of Ada, who is welcomed, Bob, whose manager refuses, and Cy,
// who changes his mind. Whoever runs them does not outlive a day.
func (w *world) threeDays(h hosts, store func() durable.Store) {
	t := w.t
	t.Helper()
	h.up()
	all := []string{"ada", "bob", "cy"}
	for _, id := range all {
		h.hire(strings.ToUpper(id[:1]) + id[1:])
	}
	s := store()
	for _, id := range all {
		asked(t, s, id, "identity check")
	}
	h.down()
	ada, err := s.Load(t.Context(), "ada", durable.LoadHead)
	if err != nil {
		t.Fatal(err)
	}
	h.up()
	time.Sleep(time.Until(ada.Created.Add(day / 2))) // so that there is time to answer after the reminder
	for _, id := range all {
		w.onboarding("identity", "working", id)
	}
	for _, id := range all {
		until(t, s, id, "reminded on the first day", reminded)
	}
	w.onboarding("cancel", "cy")
	for _, id := range all[:2] {
		w.onboarding("identity", "pass", id)
	}
	for _, id := range all[:2] {
		asked(t, s, id, "approval")
	}
	ended(t, s, "cy", "cancelled/complete")
	h.down()
	w.onboarding("refuse", "bob", "-reason", "no desk") // while nobody is there
	time.Sleep(time.Until(ada.Created.Add(3 * day)))
	w.approve("ada", h.up())
	ended(t, s, "ada", "committed/none")
	ended(t, s, "bob", "rejected/complete")
	h.down()
}

// wantThreeDays compares what has arrived with the records.
func (w *world) wantThreeDays() {
	w.t.Helper()
	recs := w.records()
	st := newStory(w.t, once(w.t, w.Spans()), nil)
	st.check(recs)
	if len(recs) != 3 {
		w.t.Errorf("%d executions, want 3", len(recs))
	}
	for id, want := range map[string]int{"ada": 3, "bob": 3, "cy": 2} {
		if got := st.hosts(id); len(got) < want {
			w.t.Errorf("%s was in the processes %v, want %d or more", id, got, want)
		}
	}
	for _, rec := range recs {
		if rec.ID == "ada" && rec.Ended.Sub(rec.Created) < 3*day {
			w.t.Errorf("ada took %v, want three days of %v", rec.Ended.Sub(rec.Created), day)
		}
	}
}

// workers are hosts that are processes, one after the other.
type workers struct {
	*world
	stop func()
}

func (w *workers) up() (at string) {
	at, w.stop = w.serve()
	return at
}

func (w *workers) down()            { w.stop() }
func (w *workers) hire(name string) { w.onboarding("hire", name) }

// TestOnboarding: onboardings over three days, that workers have one after the
// other, are one trace each, which is what their records say.
func TestOnboarding(t *testing.T) {
	t.Parallel()
	for store, protocol := range map[string]string{"sqlite": "http/protobuf", "dynamodb": "grpc"} {
		t.Run(store+" "+protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store, protocol)
			w.threeDays(&workers{world: w}, w.open)
			w.wantThreeDays()
		})
	}
}
