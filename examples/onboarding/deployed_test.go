package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/awslocal"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/lambdalocal"
	"github.com/clewdev/clew/saga"
)

// deployment is what a template makes: tables, a queue, functions.
type deployment struct {
	*awslocal.Stack
	t     *testing.T
	books string
	url   string // of the function that answers questions
	dir   string // where commands are run
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{t: t, dir: t.TempDir()}
	_, d.books = booksIn(t, 0)
	// Sweeps come at a thirtieth of the period that they have in earnest.
	d.Stack = awslocal.New(t, awslocal.Options{Sweep: 2 * time.Second, MaxReceives: 5})
	return d
}

// create publishes a version of a function, and moves its alias there. Days are
// hours, unless env says otherwise.
func (d *deployment) create(name, version string, chaos lambdalocal.Chaos, env map[string]string) {
	d.t.Helper()
	all := map[string]string{booksVar: d.books, dayVar: "1h"}
	maps.Copy(all, env)
	d.Publish(lambdalocal.Function{Name: name, Version: version, Bootstrap: binary, Timeout: 10 * time.Second, Chaos: chaos, Env: all})
}

// listen gives a function a URL.
func (d *deployment) listen(function string) { d.url = d.URL(function) }

// where is where everything is, for the program's commands and its workers.
func (d *deployment) where() []string {
	return []string{"-store", dynamolocal.URL(d.t, d.Table), "-books", dynamolocal.URL(d.t, d.books)}
}

func (d *deployment) does(args ...string) string {
	d.t.Helper()
	return does(d.t, d.dir, append(args, d.where()...)...)
}

// starts has a function start an onboarding, and returns what it says of it.
func (d *deployment) starts(function, id string, more map[string]any) *lambdalocal.Result {
	d.t.Helper()
	event := map[string]any{"clew": "start", "definition": definition, "id": id, "input": map[string]string{
		"name": id, "email": id + "@home.example", "manager": "chief-of-" + id + "@example.com", "laptop": laptops[0]}}
	for k, v := range more {
		event[k] = v
	}
	payload, err := json.Marshal(event)
	if err != nil {
		d.t.Fatal(err)
	}
	for {
		r, err := d.Lambda.Invoke(d.t.Context(), function, payload)
		if err == nil {
			return r
		}
		if !errors.Is(err, lambdalocal.ErrThrottled) {
			d.t.Fatalf("%s: %v", id, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// head is what the table says of a hire; nil if it says nothing.
func (d *deployment) head(id string) *durable.Record {
	d.t.Helper()
	rec, err := d.Store.Load(d.t.Context(), id, durable.LoadAll)
	if err != nil && !errors.Is(err, durable.ErrNotFound) {
		d.t.Fatalf("%s: %v", id, err)
	}
	return rec
}

// until waits until what the table says of a hire is so.
func (d *deployment) until(id, what string, is func(rec *durable.Record) bool) *durable.Record {
	d.t.Helper()
	var rec *durable.Record
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if rec = d.head(id); rec != nil && is(rec) {
			return rec
		}
	}
	d.t.Fatalf("%s is never %s: %+v", id, what, rec)
	return nil
}

// ended waits for the end of a hire, which is to be this one.
func (d *deployment) ended(id, status string, activations int64) {
	d.t.Helper()
	rec := d.until(id, "at an end", func(rec *durable.Record) bool { return rec.Status.Ended() || rec.Status == durable.StatusParked })
	if got := saga.StatusOf(&rec.Head).String(); got != status {
		d.t.Errorf("%s is %s, want %s: %v", id, got, status, rec.Error)
	}
	if activations > 0 && rec.Activations != activations {
		d.t.Errorf("%s took %d activations, want %d", id, rec.Activations, activations)
	}
}

// asked waits until a hire waits at a question, and nothing runs.
func (d *deployment) asked(id, step string) (q question) {
	d.t.Helper()
	d.until(id, "asked for the "+step, func(rec *durable.Record) (is bool) {
		q, is = open(rec, step)
		return is && rec.Status == durable.StatusSuspended
	})
	return q
}

// post sends a form to a path of the function's URL.
func (d *deployment) post(path, answer string) (int, string) {
	d.t.Helper()
	return read(d.t)(http.PostForm(d.url+path, url.Values{"answer": {answer}}))
}

// checked has the identity provider answer, by the link of its case.
func (d *deployment) checked(id, answer string) {
	d.t.Helper()
	q := d.asked(id, stepCheck)
	if status, body := d.post(linkOf(stepCheck, id, q.Callback), answer); status != http.StatusOK {
		d.t.Errorf("%s of %s: %d %s", answer, id, status, body)
	}
}

// link is the one in the mail to a hire's manager.
func (d *deployment) link(id string) string {
	d.t.Helper()
	d.asked(id, stepApproval)
	mails := d.does("mails")
	found := regexp.MustCompile(`Please approve that (?i:` + id + `) joins\.\n  (\S+)\n`).FindStringSubmatch(mails)
	if found == nil {
		d.t.Fatalf("no mail about %s has a link:\n%s", id, mails)
	}
	return found[1]
}

// decided has the manager open the link of the mail, and press a button.
func (d *deployment) decided(id, answer string) (link string) {
	d.t.Helper()
	link = d.link(id)
	if status, body := read(d.t)(http.Get(link)); status != http.StatusOK || !strings.Contains(body, `value="approve"`) {
		d.t.Errorf("the manager's page of %s: %d %s", id, status, body)
	}
	if status, body := read(d.t)(http.PostForm(link, url.Values{"answer": {answer}})); status != http.StatusOK {
		d.t.Errorf("%s %s: %d %s", answer, id, status, body)
	}
	return link
}

// audited wants the books to be right.
func (d *deployment) audited(want string) {
	d.t.Helper()
	if out := d.does("audit"); !strings.Contains(out, want+" 0 under way, 0 parked, 0 BROKEN") {
		d.t.Errorf("the audit does not say %q:\n%s", want, out)
	}
}

// TestDeployed: onboardings on the functions of the template: one runs them, the
// other has the URL that links lead to. A wait costs the activation that begins it
// and the one that ends it, and heartbeats cost none.
func TestDeployed(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.create("pages", "1", lambdalocal.Chaos{}, map[string]string{roleVar: "pages", booksVar: ""})
	d.listen("pages:live")
	d.create("sagas", "1", lambdalocal.Chaos{}, map[string]string{roleVar: "sagas", urlVar: d.url + "/"})
	d.Connect("sagas:live")

	if r := d.starts("sagas:live", "ada", nil); r.FunctionError != "" || !strings.Contains(string(r.Payload), `"suspended"`) {
		t.Fatalf("ada: got %s", r.Payload)
	}
	if r := d.starts("sagas:live", "bob", map[string]any{"async": true, "input": map[string]string{
		"name": "Bob", "email": "b@home.example", "manager": "grace@example.com", "laptop": discontinued}}); r.FunctionError != "" {
		t.Fatalf("bob: got %s", r.Payload)
	}
	d.starts("sagas:live", "cy", nil)
	d.starts("sagas:live", "dee", nil)
	d.starts("sagas:live", "eve", nil)
	d.does("hire", "Fay") // which the next sweep finds
	if r := d.starts("sagas:live", "gus", map[string]any{"input": map[string]string{"name": "Gus", "laptop": laptops[0]}}); !strings.Contains(string(r.Payload), "no mail address") {
		t.Errorf("gus has no manager: got %s", r.Payload)
	}
	if r := d.starts("pages:live", "hal", nil); !strings.Contains(string(r.Payload), "call this function by its URL") || d.head("hal") != nil {
		t.Errorf("the pages start something: got %s", r.Payload)
	}

	d.create("lost", "1", lambdalocal.Chaos{}, map[string]string{booksVar: "no-such-table"})
	if r := d.starts("lost:live", "ian", nil); !strings.Contains(string(r.Payload), "no table no-such-table") || d.head("ian") != nil {
		t.Errorf("without books: got %s", r.Payload)
	}

	d.machine("ada")
	for _, id := range []string{"bob", "dee", "fay"} {
		d.checked(id, "pass")
	}
	d.checked("cy", "fail")
	d.asked("eve", stepCheck)
	d.does("cancel", "eve")
	ada := d.decided("ada", "approve")
	d.decided("bob", "approve")
	d.decided("dee", "refuse")
	d.does("approve", "fay")

	d.ended("ada", "committed/none", 3)
	d.ended("bob", "rejected/complete", 3)
	d.ended("cy", "rejected/complete", 2)
	d.ended("dee", "rejected/complete", 3)
	d.ended("eve", "cancelled/complete", 2)
	d.ended("fay", "committed/none", 3)
	d.ended("gus", "rejected/complete", 1)
	d.audited("2 all done, 5 all undone,")
	if status, body := read(t)(http.PostForm(ada, url.Values{"answer": {"refuse"}})); status != http.StatusConflict || !strings.Contains(body, "approved by chief-of-ada@example.com") {
		t.Errorf("a second mind: %d %s", status, body)
	}
	if status, body := read(t)(http.Get(d.url + "/")); status != http.StatusNotFound || strings.Contains(body, "Ada") {
		t.Errorf("the page with everybody's mails: %d %s", status, body)
	}
	if n, err := d.Queue.DLQ.Depth(t.Context()); err != nil || n.Total() != 0 {
		t.Errorf("dead letters: %+v, %v", n, err)
	}
	if s := d.Lambda.Stats("sagas:1"); s.Invocations == 0 || s.Errors+s.Timeouts+s.Exits > 0 {
		t.Errorf("of the sagas' function: %+v", s)
	}
}

// machine has the identity provider answer as programs do: with a heartbeat, and
// then JSON.
func (d *deployment) machine(id string) {
	d.t.Helper()
	at := d.url + "/callbacks/" + d.asked(id, stepCheck).Callback
	before := d.head(id)
	for _, path := range []string{"/heartbeat", "/complete"} {
		status, body := read(d.t)(http.Post(at+path, "application/json", strings.NewReader(`{"by": "id.example"}`)))
		if status != http.StatusNoContent {
			d.t.Errorf("%s of %s: %d %s", path, id, status, body)
		}
		if path == "/complete" {
			return
		}
		after := d.head(id)
		if after.Activations != before.Activations || after.Status != durable.StatusSuspended || !after.Due.Equal(before.Due) {
			d.t.Errorf("a heartbeat makes %d activations of %d, and it is %v, due at %v, not %v", after.Activations, before.Activations, after.Status, after.Due, before.Due)
		}
	}
}

// TestDeployedTimeouts: nobody answers, or the manager does not, in days of a
// second, and no process waits.
func TestDeployedTimeouts(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.create("onboarding", "1", lambdalocal.Chaos{}, map[string]string{dayVar: "1100ms"})
	d.listen("onboarding:live")
	d.Connect("onboarding:live")
	d.starts("onboarding:live", "silent", nil)
	forgotten, n := "", 0
	for ; forgotten == "" && n < 30; n++ { // the provider has to be quick, and this machine may be slow
		id := fmt.Sprint("forgotten-", n)
		d.starts("onboarding:live", id, nil)
		q, is := open(d.head(id), stepCheck)
		if !is {
			continue
		}
		if status, _ := d.post(linkOf(stepCheck, id, q.Callback), "pass"); status == http.StatusOK {
			forgotten = id
		}
	}
	if forgotten == "" {
		t.Fatal("no check was ever passed in time")
	}
	d.ended("silent", "failed/complete", 0)
	d.ended(forgotten, "failed/complete", 0)
	for id, want := range map[string]string{"silent": "heartbeat", forgotten: "timed out"} {
		if rec := d.head(id); rec.Error == nil || !strings.Contains(rec.Error.Message, want) {
			t.Errorf("%s ended with %v, want %q", id, rec.Error, want)
		}
	}
	for i := range n {
		d.ended(fmt.Sprint("forgotten-", i), "failed/complete", 0)
	}
	d.audited(fmt.Sprintf("0 all done, %d all undone,", n+1))
	out := d.does("mails")
	if want := "to chief-of-" + forgotten + "@example.com: " + forgotten + " is still waiting"; !strings.Contains(out, want) {
		t.Errorf("the manager was not reminded:\n%s", out)
	}
	if !strings.Contains(out, "set "+urlVar) || !strings.Contains(d.Lambda.Logs("onboarding"), "set "+urlVar) {
		t.Errorf("nobody says where links lead, or that nobody has:\n%s", out)
	}
}

// TestDeployedLambdaToWorker: invocations are killed in the middle, and a worker goes on
// with what they had.
func TestDeployedLambdaToWorker(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.create("onboarding", "1", lambdalocal.Chaos{Kill: 1, Within: 150 * time.Millisecond}, nil)
	var begun, all []string
	for n := 0; len(begun) < 2 && n < 60; n++ {
		id := fmt.Sprint("hire-", n)
		all = append(all, id)
		d.starts("onboarding:live", id, nil)
		if rec := d.head(id); rec != nil && rec.Status == durable.StatusRunning {
			begun = append(begun, id)
		}
	}
	if len(begun) == 0 {
		t.Fatal("no hire was in the hands of an invocation when it was killed")
	}
	worker := start(t, d.dir, append(d.where(), "-day", "1h")...)
	d.url = worker.url
	// These first: a killed invocation's last request may take a while to arrive, but
	// not as long as its lease. Some made no hire.
	all = slices.DeleteFunc(all, func(id string) bool { return slices.Contains(begun, id) })
	made := map[string]int{}
	for _, id := range slices.Concat(begun, all) {
		if d.head(id) == nil {
			continue
		}
		answer, status := "approve", "committed/none"
		if made["approve"] > made["refuse"] {
			answer, status = "refuse", "rejected/complete"
		}
		made[answer]++
		d.checked(id, "pass")
		d.decided(id, answer)
		d.ended(id, status, 0)
	}
	d.audited(fmt.Sprintf("%d all done, %d all undone,", made["approve"], made["refuse"]))
	s := d.Lambda.Stats("onboarding:1")
	if t.Logf("%v, %d of which a killed invocation had: %+v", made, len(begun), s); s.Kills < len(begun) {
		t.Errorf("%d kills, want %d", s.Kills, len(begun))
	}
}

// TestDeployedWorkerToLambda: workers are killed in the middle, and the function goes on
// with what they had.
func TestDeployedWorkerToLambda(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	slow := append(d.where(), "-day", "1h", "-slow", "400ms", "-lease", "5s", "-url", "http://nobody.example")
	worker := start(t, d.dir, slow...)
	all := []string{"ada", "bob", "cy"}
	for _, id := range all {
		d.does("hire", id)
	}
	d.until("ada", "begun", func(rec *durable.Record) bool { return rec.Status == durable.StatusRunning })
	worker.kill()
	had := map[string]bool{}
	for _, id := range all {
		had[id] = d.head(id).Status == durable.StatusRunning
	}
	if !had["ada"] {
		t.Error("the worker had ended its work on ada when it was killed")
	}

	d.create("onboarding", "1", lambdalocal.Chaos{}, nil) // first, for its URL
	d.listen("onboarding:live")
	d.create("onboarding", "2", lambdalocal.Chaos{}, map[string]string{urlVar: d.url})
	d.Connect("onboarding:live")
	for _, id := range all {
		d.checked(id, "pass")
	}
	// And over to a worker again, in the middle of what the function began.
	d.link("ada")
	worker = start(t, d.dir, slow[:len(slow)-2]...)
	d.decided("bob", "approve")
	d.decided("ada", "approve")
	worker.kill()
	d.decided("cy", "refuse")
	d.ended("ada", "committed/none", 0)
	d.ended("bob", "committed/none", 0)
	d.ended("cy", "rejected/complete", 0)
	d.audited("2 all done, 1 all undone,")
	t.Logf("the killed worker had %v", had)
}
